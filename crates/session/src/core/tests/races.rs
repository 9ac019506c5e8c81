//! Races of S §9 as steps: every interleaving is an order of commands, since each command is one step (D-47).

use super::*;

/// Runs `steps` in every order, each on a fresh fixture; `prepare` comes first, `check` last.
fn in_every_order(steps: &[&dyn Fn(&mut Fixture)], prepare: impl Fn() -> Fixture, check: impl Fn(&Fixture)) {
    fn orders(left: &[usize], taken: &mut Vec<usize>, all: &mut Vec<Vec<usize>>) {
        if left.is_empty() {
            all.push(taken.clone());
        }
        for &next in left {
            taken.push(next);
            let rest: Vec<_> = left.iter().copied().filter(|other| *other != next).collect();
            orders(&rest, taken, all);
            taken.pop();
        }
    }
    let mut all = Vec::new();
    orders(&(0..steps.len()).collect::<Vec<_>>(), &mut Vec::new(), &mut all);
    for order in all {
        let mut fixture = prepare();
        order.iter().for_each(|step| steps[*step](&mut fixture));
        check(&fixture);
    }
}

fn ended_chat() -> Fixture {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.end(&run, RunOutcome::Completed).unwrap();
    fixture
}

fn live_runs(fixture: &Fixture) -> usize {
    fixture.runs().iter().filter(|run| run.status.is_live()).count()
}

#[test]
fn create_gives_the_run_and_a_second_create_gives_the_same_s17_s20_sr1() {
    let mut fixture = Fixture::new();

    let one = fixture.create(json!({})).unwrap();
    let two = fixture.create(json!({})).unwrap();

    assert_eq!((one.run, one.is_cached, two.is_cached), (two.run, false, true));
    assert_eq!(live_runs(&fixture), 1);
}

#[test]
fn racing_appends_and_creates_on_a_dead_run_start_one_run_sr4_i1() {
    let append = |fixture: &mut Fixture| _ = fixture.send();
    let create = |fixture: &mut Fixture| _ = fixture.create(json!({})).unwrap();

    in_every_order(&[&append, &append, &create], ended_chat, |fixture| {
        assert_eq!(live_runs(fixture), 1);
        assert_eq!(fixture.records(IN).len(), 2);
        assert_eq!(fixture.runs().len(), 2, "no run was triggered in vain");
    });
}

#[test]
fn a_swap_an_append_and_the_runs_end_in_any_order_leave_one_live_run_sr11_i1() {
    let first = |fixture: &Fixture| {
        let run = fixture.runs().into_iter().find(|run| run.reason == RunReason::Initial).unwrap();
        (run.id.clone(), run.attempt)
    };
    let swap = |fixture: &mut Fixture| {
        let (run, attempt) = first(fixture);
        let writer = Some(Writer { run: run.clone(), attempt });
        match fixture.swap_as(NewSwap { writer, ..new_swap(&run) }) {
            Ok(_) | Err(Refused::LeaseLost) => {}
            Err(other) => panic!("{other:?}"),
        }
    };
    let append = |fixture: &mut Fixture| _ = fixture.send();
    let end = |fixture: &mut Fixture| {
        let (run, attempt) = first(fixture);
        let end = EndRun { outcome: RunOutcome::Completed, settled_cursor: None, consumed_cursor: None };
        let ended = fixture.core.end(fixture.now, &Writer { run, attempt }, end);
        _ = fixture.keep(ended);
    };
    let leased = || {
        let mut fixture = Fixture::with_chat();
        fixture.lease();
        fixture
    };

    in_every_order(&[&swap, &append, &end], leased, |fixture| {
        assert_eq!(live_runs(fixture), 1);
        assert_eq!(fixture.records(IN).len(), 1);
        assert!(fixture.runs().len() <= 3, "no run was triggered in vain");
    });
}

#[test]
fn a_close_and_a_swap_in_any_order_leave_no_run_sr10_s41() {
    let swap = |fixture: &mut Fixture| {
        let run = fixture.core.find("chat").unwrap().row.current_run.clone().unwrap();
        match fixture.swap_as(new_swap(&run)) {
            Ok(_) | Err(Refused::Closed { .. }) => {}
            Err(other) => panic!("{other:?}"),
        }
    };
    let close = |fixture: &mut Fixture| fixture.close(None);

    in_every_order(&[&swap, &close], ended_chat, |fixture| {
        assert_eq!(live_runs(fixture), 0);
        assert_eq!(fixture.out().iter().filter(|word| *word == "session-closed").count(), 1);
    });
}

#[test]
fn an_append_right_after_create_reuses_the_fresh_run_sr5_rc12() {
    let mut fixture = Fixture::with_chat();

    fixture.send();

    assert_eq!(fixture.runs().len(), 1);
}

#[test]
fn a_message_and_the_runs_end_in_any_order_leave_a_run_for_the_message_sr9() {
    let send = |fixture: &mut Fixture| _ = fixture.send();
    let end = |fixture: &mut Fixture| {
        let run = fixture.live_run().unwrap().clone();
        let run = Writer { run: run.id, attempt: run.attempt };
        let end = EndRun { outcome: RunOutcome::Completed, settled_cursor: None, consumed_cursor: None };
        let ended = fixture.core.end(fixture.now, &run, end);
        fixture.keep(ended).unwrap();
    };
    let leased = || {
        let mut fixture = Fixture::with_chat();
        fixture.lease();
        fixture
    };

    in_every_order(&[&send, &end], leased, |fixture| assert_eq!(live_runs(fixture), 1));
}

#[test]
fn close_and_append_in_any_order_leave_no_run_and_no_late_record_sr10() {
    let close = |fixture: &mut Fixture| fixture.close(None);
    let append = |fixture: &mut Fixture| match fixture.append(IN, &message("submit-message"), None) {
        Ok(_) | Err(Refused::Closed { .. }) => {}
        Err(other) => panic!("{other:?}"),
    };

    in_every_order(&[&close, &append, &append], ended_chat, |fixture| {
        assert_eq!(live_runs(fixture), 0);
        assert_eq!(fixture.out(), ["session-closed"]);
    });
}

#[test]
fn two_appends_of_one_part_id_are_one_record_in_any_order_sr15() {
    let append = |fixture: &mut Fixture| _ = fixture.append(IN, "x", Some("p")).unwrap();
    let other = |fixture: &mut Fixture| _ = fixture.append(IN, "y", Some("q")).unwrap();

    in_every_order(&[&append, &append, &other], Fixture::with_chat, |fixture| {
        assert_eq!(fixture.records(IN).len(), 2);
    });
}

#[test]
fn a_send_while_the_old_boundary_is_at_the_tail_is_not_settled_sr21_sr22() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.write(&run, vec![turn_complete(0), NewRecord::trim(SeqNum::ZERO)]).unwrap();

    fixture.send();
    let sender = fixture.core.open("chat", OUT, Some(SeqNum::ZERO), false).unwrap();
    let reloader = fixture.core.open("chat", OUT, Some(SeqNum::ZERO), true).unwrap();

    assert!(!sender.settled && !reloader.settled);
}

#[test]
fn a_lapse_and_the_late_workers_report_in_any_order_keep_one_run_d36_i1() {
    let lapse = |fixture: &mut Fixture| fixture.pass(LEASE);
    let send = |fixture: &mut Fixture| _ = fixture.send();
    let take = |fixture: &mut Fixture| _ = fixture.try_lease();

    in_every_order(&[&lapse, &send, &take, &take], Fixture::with_chat, |fixture| {
        assert_eq!(live_runs(fixture), 1);
        assert_eq!(fixture.runs().len(), 1);
    });
}
