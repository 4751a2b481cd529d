//! SQL audit logs of a database.

use super::random::Random;

pub(super) fn fields(random: &mut Random, second: u64) -> Vec<(&'static str, String)> {
    let id = random.between(1, 9_999_999);
    let sql = match random.below(5) {
        0 => format!("SELECT id, status FROM orders WHERE customer = '张伟' AND id > {id}"),
        1 => format!("UPDATE orders SET status = 'paid', note = 'it''s done' WHERE id = {id}"),
        2 => format!("INSERT INTO audit (id, path) VALUES ({id}, 'C:\\\\export\\\\{id}.csv')"),
        3 => format!("SELECT count(*) FROM payments\nWHERE created > now() - interval {id} second"),
        _ => format!("DELETE FROM sessions WHERE token = \"{}\"", random.hex(32)),
    };
    let failed = random.chance(3);
    let text = |text: &str| text.to_owned();
    vec![
        ("owner_id", text("1234567890123456")),
        ("region", text("cn-beijing")),
        ("instance_name", text("orders-db")),
        ("instance_id", text("rm-2zeexample0000001")),
        ("db_type", text("mysql")),
        ("db_version", text("8.0")),
        ("check_rows", random.below(1000).to_string()),
        ("db", text("orders")),
        ("fail", text(if failed { "1" } else { "0" })),
        ("client_ip", random.address()),
        ("latency", random.between(80, 90_000).to_string()),
        ("origin_time", (second * 1_000_000 + random.below(1_000_000)).to_string()),
        ("return_rows", random.below(200).to_string()),
        ("sql", sql),
        ("thread_id", random.between(1000, 99_999).to_string()),
        ("user", text(random.pick(&["app_rw", "app_ro", "dba", "报表"]))),
        ("update_rows", random.below(20).to_string()),
    ]
}
