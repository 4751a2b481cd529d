"""Consumes a logstore with the official SDK's unmodified ConsumerWorker.

Reads its settings as one JSON object from the first line of standard input. Prints one JSON object per
processed batch: {"shard": 0, "ids": ["00000001", ...], "others": [{...}, ...]}, where logs without a field
`seq` are printed whole. Leaves the group in good order when standard input ends, and then prints
{"stopped": true}.
"""

import json
import logging
import sys
import threading

from aliyun.log import PullLogResponse
from aliyun.log.consumer import ConsumerProcessorBase, ConsumerWorker, LogHubConfig

_one_line_at_a_time = threading.Lock()


def say(message):
    with _one_line_at_a_time:
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()


class Reporter(ConsumerProcessorBase):
    """Prints what it is given, then saves the checkpoint at once."""

    def process(self, log_groups, check_point_tracker):
        logs = PullLogResponse.loggroups_to_flattern_list(
            log_groups, time_as_str=True, decode_bytes=True
        )
        say(
            {
                "shard": self.shard_id,
                "ids": [log["seq"] for log in logs if "seq" in log],
                "others": [log for log in logs if "seq" not in log],
            }
        )
        self.save_checkpoint(check_point_tracker, force=True)


def main():
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    settings = json.loads(sys.stdin.readline())
    config = LogHubConfig(
        settings["endpoint"],
        settings["access_key_id"],
        settings["access_key_secret"],
        settings["project"],
        settings["logstore"],
        settings["group"],
        settings["consumer"],
        heartbeat_interval=settings["heartbeat_interval"],
        data_fetch_interval=settings["data_fetch_interval"],
        in_order=settings["in_order"],
        max_fetch_log_group_size=settings["max_fetch_log_group_size"],
        auth_version=settings["auth_version"],
        region=settings["region"],
        cursor_start_time="begin",
    )
    worker = ConsumerWorker(Reporter, consumer_option=config)
    worker.start()
    sys.stdin.read()
    worker.shutdown()
    worker.join()
    say({"stopped": True})


if __name__ == "__main__":
    main()
