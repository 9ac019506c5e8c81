//! The order of the steps inside one call (S-66, S-67, S-136).

use turnkeep_protocol::run_api::WaitOutcome;

use super::*;

/// Says what each change since `from` is, as far as the order of an append goes.
fn steps(fixture: &Fixture, from: usize) -> Vec<&'static str> {
    let step = |change: &Change| match change {
        Change::Run { .. } => Some("run"),
        Change::Record { channel: IN, .. } => Some("record"),
        Change::Waitpoint { .. } => Some("wake"),
        _ => None,
    };
    fixture.log[from..].iter().filter_map(step).collect()
}

fn wait(fixture: &mut Fixture, run: &LeasedRun, key: Option<&str>) -> turnkeep_protocol::run_api::CreatedWait {
    let new = NewWait { idempotency_key: key.map(str::to_owned), ..new_wait("chat") };
    let created = fixture.core.create_wait(fixture.now, &writer(run), new, RunLook::NotYet);
    fixture.keep(created).unwrap()
}

#[test]
fn an_append_makes_sure_of_a_run_before_it_stores_its_record_s66() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.end(&run, RunOutcome::Completed).unwrap();
    let before = fixture.log.len();

    assert_eq!(fixture.send(), 0);

    assert_eq!(steps(&fixture, before), ["run", "record"]);
    // With a run that lives the step does nothing, and the record is stored all the same.
    let before = fixture.log.len();
    assert_eq!(fixture.send(), 1);
    assert_eq!(steps(&fixture, before), ["record"]);
}

#[test]
fn an_append_wakes_behind_its_record_and_is_stored_whoever_is_there_to_wake_s67() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let waiting = wait(&mut fixture, &run, None);
    let before = fixture.log.len();

    assert_eq!(fixture.send(), 0);

    assert_eq!(steps(&fixture, before), ["record", "wake"]);
    assert_eq!(fixture.core.outcome(&waiting.waitpoint_id), Ok(Some(WaitOutcome::Record)));
    // Nobody is left to wake: neither is that a failure.
    let before = fixture.log.len();
    assert_eq!(fixture.send(), 1);
    assert_eq!(steps(&fixture, before), ["record"]);
}

#[test]
fn a_wait_is_registered_and_checked_in_one_step_so_no_order_loses_the_wake_s136() {
    for is_append_first in [true, false] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        if is_append_first {
            fixture.send();
        }

        let created = wait(&mut fixture, &run, Some("key"));
        if !is_append_first {
            assert_eq!(fixture.core.outcome(&created.waitpoint_id), Ok(None));
            fixture.send();
        }

        assert_eq!(fixture.core.outcome(&created.waitpoint_id), Ok(Some(WaitOutcome::Record)));
        let again = wait(&mut fixture, &run, Some("key"));
        assert_eq!((again.waitpoint_id, again.is_cached), (created.waitpoint_id, true), "found, not made again");
    }
}
