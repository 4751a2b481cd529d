//! Flow logs of a virtual network.

use super::random::Random;

pub(super) fn fields(random: &mut Random, second: u64) -> Vec<(&'static str, String)> {
    let packets = random.between(1, 4000);
    let (protocol, port) =
        random.pick(&[("6", "443"), ("6", "22"), ("6", "3389"), ("17", "53"), ("1", "0")]);
    let text = |text: &str| text.to_owned();
    vec![
        ("version", text("1")),
        ("account-id", text("1234567890123456")),
        ("eni-id", text("eni-bp1example00000001")),
        ("vm-id", text("i-bp1example0000000001")),
        ("vswitch-id", text("vsw-bp1example0000001")),
        ("vpc-id", text("vpc-bp1example0000001")),
        ("srcaddr", random.address()),
        ("srcport", random.between(1024, 65_535).to_string()),
        ("dstaddr", random.address()),
        ("dstport", text(port)),
        ("protocol", text(protocol)),
        ("direction", text(random.pick(&["in", "out"]))),
        ("packets", packets.to_string()),
        ("bytes", (packets * random.between(40, 1500)).to_string()),
        ("start", (second - 60).to_string()),
        ("end", second.to_string()),
        ("log-status", text("OK")),
        ("action", text(random.pick(&["ACCEPT", "ACCEPT", "ACCEPT", "REJECT"]))),
    ]
}
