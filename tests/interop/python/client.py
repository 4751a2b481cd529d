"""Makes the official SDK's other calls, one after the other, and prints what they answered.

Reads its settings as one JSON object from standard input; prints one JSON object with an entry per call.
"""

import json
import sys
import time

from aliyun.log import LogClient, LogException, LogItem, PutLogsRequest


def code_of(call):
    """The error code of a call that must fail."""
    try:
        call()
    except LogException as error:
        return error.get_error_code()
    return None


def shards_of(response):
    return [(shard["shardID"], shard["status"]) for shard in response.get_shards_info()]


def main():
    settings = json.loads(sys.stdin.readline())
    client = LogClient(
        settings["endpoint"],
        settings["access_key_id"],
        settings["access_key_secret"],
        auth_version=settings["auth_version"],
        region=settings["region"],
    )
    project, logstore, group = "made-by-python", "made-by-python", "made-by-python"
    said = {}

    client.create_project(project, "made by a test")
    client.create_logstore(project, logstore, ttl=1, shard_count=2)
    said["shards"] = shards_of(client.list_shards(project, logstore))

    for compress in (True, False):
        items = [LogItem(int(time.time()), contents=[("compressed", str(compress)), ("text", "日志")])]
        client.put_logs(PutLogsRequest(project, logstore, "topic", "source", items, compress=compress))
    said["pulled"] = []
    for shard in (0, 1):
        begin = client.get_begin_cursor(project, logstore, shard).get_cursor()
        end = client.get_end_cursor(project, logstore, shard).get_cursor()
        pulled = client.pull_logs(project, logstore, shard, begin, 1000)
        said["pulled"].append(
            {
                "logs": pulled.get_flatten_logs_json_auto(),
                "at_end": pulled.get_next_cursor() == end,
                "count": pulled.get_loggroup_count(),
            }
        )
        age = time.time() - client.get_cursor_time(project, logstore, shard, begin).get_cursor_time()
        said["cursor_time_is_now"] = abs(age) < 60

    filtered = client.pull_logs(
        project, logstore, 0, client.get_begin_cursor(project, logstore, 0).get_cursor(), 1000,
        query="* | where compressed = 'neither'",
    )
    said["filtered"] = [filtered.get_loggroup_count(), filtered.raw_log_group_count_before_query]

    said["split"] = shards_of(client.split_shard(project, logstore, 0, "4" + "0" * 31))
    said["merged"] = shards_of(client.merge_shard(project, logstore, 2))

    client.create_consumer_group(project, logstore, group, 10, False)
    again = code_of(lambda: client.create_consumer_group(project, logstore, group, 10, False))
    client.update_consumer_group(project, logstore, group, timeout=20, in_order=True)
    listed = client.list_consumer_group(project, logstore).get_consumer_groups()
    said["groups"] = [
        (each.get_consumer_group_name(), each.get_timeout(), each.is_in_order()) for each in listed
    ]
    said["held"] = client.heart_beat(project, logstore, group, "c", []).get_shards()
    saved = client.get_end_cursor(project, logstore, 0).get_cursor()
    client.update_check_point(project, logstore, group, 0, saved, "c", False)
    checkpoint = client.get_check_point_fixed(project, logstore, group, 0)
    checkpoint = checkpoint.get_consumer_group_check_points()[0]
    said["checkpoint"] = [checkpoint["consumer"], checkpoint["checkpoint"] == saved]

    said["codes"] = {
        "create group again": again,
        "unknown project": code_of(lambda: client.list_shards("nope", logstore)),
        "unknown logstore": code_of(lambda: client.list_shards(project, "nope")),
        "old cursor": code_of(lambda: client.pull_logs(project, logstore, 0, "MQ==", 10)),
        "not ours": code_of(
            lambda: client.update_check_point(project, logstore, group, 0, saved, "stranger", False)
        ),
        "unknown consumer": code_of(lambda: client.heart_beat(project, logstore, group, "x", [0])),
    }
    client.delete_consumer_group(project, logstore, group)
    client.delete_logstore(project, logstore)
    client.delete_project(project)
    said["codes"]["deleted project"] = code_of(lambda: client.list_shards(project, logstore))
    print(json.dumps(said))


if __name__ == "__main__":
    main()
