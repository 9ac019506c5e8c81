//! Leases that nobody knows of: their worker was gone when it was given the run (D-35, D-36).

use turnkeep_protocol::run_api::Mark;

use super::*;
use crate::SnapshotId;
use crate::core::runs::MAX_UNCONFIRMED_LAPSES;
use crate::{RunRow, RunStatus};

fn row(fixture: &Fixture, run: &LeasedRun) -> RunRow {
    fixture.core.state().run(&run.run_id).unwrap().clone()
}

#[test]
fn a_lease_without_a_sign_of_life_lapses_at_no_cost_d35() {
    let mut fixture = Fixture::with_chat();
    let ghost = fixture.lease();
    fixture.pass(LEASE);

    let run = fixture.lease();

    assert_eq!((&run.run_id, &run.payload, run.attempt), (&ghost.run_id, &ghost.payload, 2));
    assert_eq!((row(&fixture, &run).tries, row(&fixture, &run).unconfirmed_lapses), (0, 1));
    for tries in 1..=3 {
        assert_eq!(row(&fixture, &run).tries, tries - 1);
        assert!(fixture.live_run().is_some(), "all three tries are left");
        let held = if tries == 1 { run.clone() } else { fixture.lease() };
        fixture.lose(&held);
    }
    assert!(matches!(row(&fixture, &run).status, RunStatus::Crashed { .. }));
}

#[test]
fn a_ghost_that_comes_back_is_fenced_whether_the_run_was_leased_again_or_not_d36() {
    let mut fixture = Fixture::with_chat();
    let ghost = fixture.lease();
    fixture.pass(LEASE);

    assert_eq!(fixture.heartbeat(&ghost), Err(Refused::LeaseLost));
    let run = fixture.lease();
    assert_eq!(fixture.heartbeat(&ghost), Err(Refused::LeaseLost));
    assert_eq!(fixture.write(&ghost, vec![data("ghost")]), Err(Refused::LeaseLost));
    assert_eq!(fixture.end(&ghost, RunOutcome::Completed), Err(Refused::LeaseLost));

    assert_eq!(fixture.heartbeat(&run), Ok(false));
}

#[test]
fn unconfirmed_lapses_beyond_the_bound_count_as_tries_d35() {
    let mut fixture = Fixture::with_chat();
    let mut leases = 0;

    while fixture.try_lease().is_some() {
        leases += 1;
        assert!(leases <= MAX_UNCONFIRMED_LAPSES + 3, "the bound is gone");
        fixture.pass(LEASE);
    }

    assert_eq!(leases, MAX_UNCONFIRMED_LAPSES + 3);
    assert!(fixture.live_run().is_none());
}

#[test]
fn a_reported_crash_counts_without_any_sign_of_life_before_it_d35() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();

    fixture.end(&run, crashed()).unwrap();

    assert_eq!((row(&fixture, &run).tries, row(&fixture, &run).unconfirmed_lapses), (1, 0));
}

#[test]
fn every_fenced_call_is_a_sign_of_life_and_prolongs_nothing_but_the_heartbeat_d35_d36() {
    type Sign = fn(&mut Fixture, &LeasedRun);
    let signs: [(&str, Sign); 7] = [
        ("heartbeat", |fixture, run| _ = fixture.heartbeat(run).unwrap()),
        ("batch", |fixture, run| _ = fixture.write(run, vec![data("start")]).unwrap()),
        ("append", |fixture, run| {
            let appended = fixture.core.append(fixture.now, "chat", OUT, "x", None, Some(writer(run)), None);
            _ = fixture.keep(appended).unwrap();
        }),
        ("mark", |fixture, run| {
            let marked = fixture.core.mark(fixture.now, "chat", &writer(run), Mark::Preloaded);
            fixture.keep(marked).unwrap();
        }),
        ("snapshot", |fixture, run| {
            let id = run.session_id.clone();
            let stored = fixture.core.put_snapshot(fixture.now, &id, Some(&writer(run)), None, SnapshotId(1));
            fixture.keep(stored).unwrap();
        }),
        ("metadata", |fixture, run| {
            let set = fixture.core.set_run_metadata(fixture.now, &writer(run), Default::default());
            fixture.keep(set).unwrap();
        }),
        ("wait", |fixture, run| {
            let created = fixture.core.create_wait(fixture.now, &writer(run), new_wait("chat"), RunLook::NotYet);
            _ = fixture.keep(created).unwrap();
        }),
    ];
    for (name, sign) in signs {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        fixture.pass(LEASE / 2);

        sign(&mut fixture, &run);

        let left = if name == "heartbeat" { LEASE } else { LEASE / 2 };
        assert_eq!(fixture.core.next_deadline(), Some(fixture.now.plus(left)), "{name}");
        fixture.pass(left);
        assert_eq!((row(&fixture, &run).tries, row(&fixture, &run).unconfirmed_lapses), (1, 0), "{name}");
    }
}
