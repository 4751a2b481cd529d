//! ActionTrail: who called which API, as JSON text.

use serde_json::{Value, json};

use super::random::Random;

/// An API call that the trail records.
#[derive(Debug, Clone, Copy, Default)]
struct TrailCall {
    name: &'static str,
    service: &'static str,
    host: &'static str,
    version: &'static str,
    /// Type of the resource touched, and the beginning of its name.
    resource: (&'static str, &'static str),
}

const fn call(
    name: &'static str,
    service: &'static str,
    host: &'static str,
    version: &'static str,
    resource: (&'static str, &'static str),
) -> TrailCall {
    TrailCall { name, service, host, version, resource }
}

const READS: &[TrailCall] = &[
    call("DescribeInstances", "Ecs", "ecs", "2014-05-26", ("ACS::ECS::Instance", "i-bp1")),
    call(
        "DescribeSecurityGroups",
        "Ecs",
        "ecs",
        "2014-05-26",
        ("ACS::ECS::SecurityGroup", "sg-bp1"),
    ),
    call("DescribeDBInstances", "Rds", "rds", "2014-08-15", ("ACS::RDS::DBInstance", "rm-2ze")),
    call("GetUser", "Ram", "ram", "2015-05-01", ("ACS::RAM::User", "user-")),
    call("ListAccessKeys", "Ram", "ram", "2015-05-01", ("ACS::RAM::User", "user-")),
    call("GetBucketAcl", "Oss", "oss", "2013-10-15", ("ACS::OSS::Bucket", "example-")),
    call("DescribeKey", "Kms", "kms", "2016-01-20", ("ACS::KMS::Key", "key-hzz")),
];

const WRITES: &[TrailCall] = &[
    call(
        "AuthorizeSecurityGroup",
        "Ecs",
        "ecs",
        "2014-05-26",
        ("ACS::ECS::SecurityGroup", "sg-bp1"),
    ),
    call("RunInstances", "Ecs", "ecs", "2014-05-26", ("ACS::ECS::Instance", "i-bp1")),
    call("StopInstance", "Ecs", "ecs", "2014-05-26", ("ACS::ECS::Instance", "i-bp1")),
    call("CreateUser", "Ram", "ram", "2015-05-01", ("ACS::RAM::User", "user-")),
    call("AttachPolicyToUser", "Ram", "ram", "2015-05-01", ("ACS::RAM::Policy", "policy-")),
    call("PutBucketAcl", "Oss", "oss", "2013-10-15", ("ACS::OSS::Bucket", "example-")),
    call("DeleteBucket", "Oss", "oss", "2013-10-15", ("ACS::OSS::Bucket", "example-")),
    call("ScheduleKeyDeletion", "Kms", "kms", "2016-01-20", ("ACS::KMS::Key", "key-hzz")),
];

const REGIONS: &[&str] = &["cn-hangzhou", "cn-shanghai", "cn-beijing", "ap-southeast-1"];
const AGENTS: &[&str] = &[
    "AlibabaCloud (linux; amd64) Golang/1.22 Core/0.01 TeaDSL/1 Terraform-Provider-Alicloud/1.237",
    "AlibabaCloud (Linux; aarch64) Java/17.0.9+9-LTS Core/4.6.4 HTTPClient/ApacheHttpClient",
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/128.0.0.0",
    "aliyun-cli/3.0.218 (linux; amd64) Golang/1.21 Core/1.62",
];
const PEOPLE: &[&str] = &["alice", "bob", "carol", "ci-deploy", "张伟", "josé"];
const NOTES: &[&str] = &[
    "opened for the quarterly restore exercise, see change request 4711",
    "安全组：允许堡垒机访问生产环境",
    "temporary; remove after the migration \"phase 2\" is done",
    "path C:\\temp\\export\tcolumns",
];

/// The JSON text of one event.
pub(super) fn event(random: &mut Random, second: u64) -> String {
    let read = random.chance(50);
    let call = random.pick(if read { READS } else { WRITES });
    let region = random.pick(REGIONS);
    let id = random.uuid();
    let (resource_type, prefix) = call.resource;
    let resource = format!("{prefix}{}", random.hex(16).to_lowercase());
    let host = format!("{}.{region}.aliyuncs.com", call.host);
    let mut event = json!({
        "eventId": id,
        "eventVersion": "1",
        "eventName": call.name,
        "eventType": "ApiCall",
        "eventCategory": "Management",
        "eventRW": if read { "Read" } else { "Write" },
        "eventTime": utc(second),
        "eventSource": host,
        "serviceName": call.service,
        "acsRegion": region,
        "apiVersion": call.version,
        "requestId": id,
        "recipientAccountId": "1234567890123456",
        "isGlobal": false,
        "sourceIpAddress": source_address(random),
        "userAgent": random.pick(AGENTS),
        "requestParameters": parameters(random, call, region, &resource),
        "requestParameterJson": "",
        "responseElements": { "RequestId": id, "TotalCount": random.below(500) },
        "referencedResources": { resource_type: [resource.as_str()] },
        "resourceType": resource_type,
        "resourceName": resource,
        "eventAttributes": { "SensitiveAction": !read, "sessionId": random.hex(32).to_lowercase() },
        "userIdentity": identity(random, second),
    });
    // The trail repeats the parameters as text: JSON in JSON in a field.
    let text = event.get("requestParameters").map(Value::to_string).unwrap_or_default();
    if let Some(object) = event.as_object_mut() {
        object.insert("requestParameterJson".to_owned(), text.into());
        if random.chance(8) {
            object.insert("errorCode".to_owned(), "NoPermission".into());
            let message = "You are not authorized to do this action. Resource: acs:ecs:*:*:*";
            object.insert("errorMessage".to_owned(), message.into());
        }
    }
    event.to_string()
}

fn parameters(random: &mut Random, call: TrailCall, region: &str, resource: &str) -> Value {
    json!({
        "RegionId": region,
        "ResourceId": resource,
        "ClientToken": random.uuid().to_lowercase(),
        "Description": random.pick(NOTES),
        "PageSize": "50",
        "PageNumber": random.between(1, 20).to_string(),
        "AcsHost": format!("{}.{region}.aliyuncs.com", call.host),
        "AcsProduct": call.service,
        "Tag.1.Key": "cost-center",
    })
}

fn identity(random: &mut Random, second: u64) -> Value {
    let name = random.pick(PEOPLE);
    let id = random.between(200_000_000_000_000_000, 299_999_999_999_999_999);
    let (kind, principal, user) = if random.chance(30) {
        ("assumed-role", format!("{id}:{name}"), format!("deploy-role:{name}"))
    } else {
        ("ram-user", id.to_string(), name.to_owned())
    };
    let minutes = random.between(1, 600);
    json!({
        "type": kind,
        "principalId": principal,
        "accountId": "1234567890123456",
        "accessKeyId": format!("LTAIexample{}", random.hex(13)),
        "userName": user,
        "sessionContext": {
            "attributes": {
                "mfaAuthenticated": if random.chance(70) { "true" } else { "false" },
                "creationDate": utc(second - 60 * minutes),
            },
        },
    })
}

fn source_address(random: &mut Random) -> String {
    if random.chance(10) {
        return format!("2001:db8:{:x}::{:x}", random.below(0xffff), random.between(1, 0xffff));
    }
    random.address()
}

/// `2026-01-02T03:04:05Z`
fn utc(second: u64) -> String {
    let second = i64::try_from(second).unwrap_or_default();
    jiff::Timestamp::from_second(second).unwrap_or_default().to_string()
}
