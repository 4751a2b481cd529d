//! Several forwarders on one host: each its own consumer, nothing delivered twice, names that survive.

use std::collections::BTreeSet;

use crate::child::Running;
use crate::world::World;

fn members(world: &World) -> BTreeSet<String> {
    let assignment = world.sls.assignment("demo", "audit", "siem").unwrap();
    assignment.into_keys().collect()
}

async fn until_members(world: &World, count: usize) -> BTreeSet<String> {
    let all = world.sls.until(|service| {
        let group = service.logstore("demo", "audit").ok()?.group("siem").ok()?;
        let members: BTreeSet<String> = group.assignment().members().map(str::to_owned).collect();
        (members.len() == count).then_some(members)
    });
    tokio::time::timeout(crate::child::PATIENCE, all).await.expect("all consumers join")
}

#[tokio::test]
async fn started_three_times_it_is_three_consumers_and_delivers_nothing_twice() {
    const LOGS: u64 = 20_000;
    let world = World::with(0).await;
    let config = world.config("");
    let mut running: Vec<Running> =
        (1..=3).map(|n| world.start(&config, &format!("instance-{n}"), &[])).collect();
    let names = until_members(&world, 3).await;
    let numbers: Vec<&str> = names.iter().filter_map(|name| name.rsplit('-').next()).collect();
    assert_eq!(numbers, ["1", "2", "3"]);

    // The shards have settled down when each of the three holds two of the six.
    let balanced = world.sls.until(|service| {
        let group = service.logstore("demo", "audit").ok()?.group("siem").ok()?;
        let assignment = group.assignment();
        assignment.members().all(|member| assignment.held_by(member).len() == 2).then_some(())
    });
    tokio::time::timeout(crate::child::PATIENCE, balanced).await.expect("shards are shared");

    let samples = forwarder_emulator::samples::Samples::audit(1);
    let placement = forwarder_emulator::state::logstore::Placement::Balanced;
    world.sls.put("demo", "audit", placement, samples.groups(LOGS)).unwrap();
    world.received(LOGS, &running[0]).await;
    world.settled().await;
    for one in &mut running {
        assert_eq!(one.terminate().await, Some(0), "{}", one.log());
    }
    let received = world.hec.received();
    assert_eq!((received.ids.distinct(), received.ids.total()), (LOGS, LOGS));

    let mut again = world.start(&config, "again", &[]);
    again.says("at work").await;
    let first = names.first().unwrap();
    assert!(again.log().contains(first), "takes the lowest free number again\n{}", again.log());
    assert!(members(&world).contains(first));
    assert_eq!(again.terminate().await, Some(0));
}
