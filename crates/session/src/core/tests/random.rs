//! Random orders of everything that can happen, and what must be true after each step.

use proptest::prelude::*;

use super::facts::Facts;
use super::*;
use crate::RunStatus;
use crate::core::Session;
use crate::standing::trim_target;
use crate::trims::TRIM_GRACE;

#[derive(Clone, Debug)]
enum Op {
    Send,
    Stop,
    Retry(u8),
    Lease(u8),
    Heartbeat(Option<u64>),
    Pass(u64),
    Batch(usize, Option<u8>),
    Boundary(u64),
    Trim(u64),
    Swap(bool),
    Wait(Option<u64>),
    End(u8, bool),
    StaleWrite,
    Create(Option<u8>),
    Close,
    Cancel,
    Restart,
    /// The server dies in a commit: all of these are durable or none, and nobody hears how they went.
    Crash(Vec<Op>, bool),
}

fn op() -> impl Strategy<Value = Op> {
    let group = || proptest::collection::vec(step(), 1..4);
    prop_oneof![
        12 => step(),
        1 => Just(Op::Restart),
        1 => (group(), any::<bool>()).prop_map(|(group, durable)| Op::Crash(group, durable)),
    ]
}

/// What happens while the server lives.
fn step() -> impl Strategy<Value = Op> {
    let version = || (0..6_u8).prop_map(|n| 1 + u8::from(n == 0));
    prop_oneof![
        5 => Just(Op::Send),
        1 => Just(Op::Stop),
        3 => (0..4_u8).prop_map(Op::Retry),
        6 => version().prop_map(Op::Lease),
        2 => proptest::option::of(0..9_u64).prop_map(Op::Heartbeat),
        3 => (1..12_u64).prop_map(Op::Pass),
        1 => (20..70_u64).prop_map(Op::Pass),
        4 => (1..4_usize, proptest::option::of(0..4_u8)).prop_map(|(n, part)| Op::Batch(n, part)),
        3 => (0..9_u64).prop_map(Op::Boundary),
        2 => (0..30_u64).prop_map(Op::Trim),
        2 => any::<bool>().prop_map(Op::Swap),
        2 => proptest::option::of(0..9_u64).prop_map(Op::Wait),
        4 => (0..4_u8, any::<bool>()).prop_map(|(outcome, settles)| Op::End(outcome, settles)),
        1 => Just(Op::StaleWrite),
        1 => proptest::option::of(version()).prop_map(Op::Create),
        1 => (0..6_u8).prop_map(|n| if n == 0 { Op::Close } else { Op::Send }),
        1 => (0..3_u8).prop_map(|n| if n == 0 { Op::Cancel } else { Op::Batch(1, None) }),
    ]
}

/// What the outside world would know.
#[derive(Default)]
struct Outside {
    held: Option<LeasedRun>,
    stale: Option<LeasedRun>,
    restarts: u64,
    facts: Facts,
}

/// Restarts the server from what is durable.
fn restart(fixture: &mut Fixture, outside: &mut Outside) {
    outside.restarts += 1;
    fixture.core = fixture.reloaded(100 + outside.restarts, LEASE);
}

fn crash(fixture: &mut Fixture, outside: &mut Outside, group: &[Op], durable: bool) {
    let n_durable = fixture.log.len();
    let (heard, facts) = ((outside.held.clone(), outside.stale.clone()), outside.facts.clone());
    group.iter().for_each(|op| run_op(fixture, outside, op));
    (outside.held, outside.stale) = heard;
    if !durable {
        fixture.log.truncate(n_durable);
        outside.facts = facts;
    }
    restart(fixture, outside);
    // What fell due meanwhile happens before anything else.
    fixture.pass(Duration::ZERO);
}

/// Creates the chat again, its later runs bound to a version or not.
fn create(fixture: &mut Fixture, version: Option<u8>) {
    let mut new = new_session(Some("chat"), json!({ "chatId": "chat" }));
    new.trigger_config.options.lock_to_version = version.map(|version| version.to_string());
    _ = fixture.create_as(new);
}

fn lease(fixture: &mut Fixture, version: u8) -> Option<LeasedRun> {
    let run = fixture.lease_as("agent", &version.to_string())?;
    let wanted = run.options.lock_to_version.as_deref();
    assert!(wanted.is_none_or(|wanted| wanted == version.to_string()), "a run of another version (D-9)");
    Some(run)
}

/// Tells whether a run has its lease still.
fn holds(fixture: &Fixture, run: &LeasedRun) -> bool {
    let is_its_lease = |live: &RunRow| {
        let until = if let RunStatus::Leased { expires_at, .. } = &live.status { Some(*expires_at) } else { None };
        live.id == run.run_id && live.attempt == run.attempt && until.is_some_and(|at| at > fixture.now.into())
    };
    fixture.live_run().is_some_and(is_its_lease)
}

fn run_op(fixture: &mut Fixture, outside: &mut Outside, op: &Op) {
    let held = outside.held.clone();
    match (op, held) {
        (Op::Send, _) => outside.facts.send(fixture, "submit-message", None),
        (Op::Stop, _) => outside.facts.append(fixture, r#"{"kind":"stop"}"#, None),
        (Op::Retry(n), _) => outside.facts.send(fixture, "action", Some(&n.to_string())),
        (Op::Lease(version), _) => {
            if let Some(run) = lease(fixture, *version) {
                outside.stale = outside.held.replace(run);
            }
        }
        (Op::Pass(seconds), _) => fixture.pass(Duration::from_secs(*seconds)),
        (Op::Create(version), _) => create(fixture, *version),
        (Op::Close, _) => {
            fixture.close(Some("enough"));
            outside.facts.closed = true;
        }
        (Op::Cancel, held) => {
            let run = fixture.core.find("chat").unwrap().row.current_run.clone().expect("create has made a run");
            fixture.cancel(&run).unwrap();
            assert!(
                fixture.live_run().is_none_or(|live| live.id != run),
                "a run lives on after it was cancelled (A-199)"
            );
            if let Some(held) = held {
                assert!(fixture.write(&held, vec![data("ghost")]).is_err(), "a cancelled run wrote (D-36)");
            }
        }
        (Op::Restart, _) => restart(fixture, outside),
        (Op::Crash(group, durable), _) => crash(fixture, outside, group, *durable),
        (Op::StaleWrite, _) => {
            if let Some(stale) = outside.stale.clone() {
                let attempt_is_current = outside.held.as_ref().is_some_and(|held| writer(held) == writer(&stale));
                let written = outside.facts.write(fixture, &stale, 1, None);
                assert!(attempt_is_current || !written, "a fenced attempt wrote (D-36)");
            }
        }
        (Op::Heartbeat(settled), Some(run)) => {
            let beaten =
                fixture.core.heartbeat(fixture.now, &writer(&run), settled.map(SeqNum::new), None, RunLook::NotYet);
            _ = fixture.keep(beaten);
        }
        (Op::Batch(n, part), Some(run)) => {
            let (part, may) = (part.map(|part| part.to_string()), holds(fixture, &run));
            let written = outside.facts.write(fixture, &run, *n, part.as_deref());
            assert_eq!(written, may, "only who holds the lease writes, and then it does (D-36)");
        }
        (Op::Boundary(seq), Some(run)) => _ = fixture.write(&run, vec![turn_complete(*seq)]),
        (Op::Trim(seq), Some(run)) => _ = fixture.write(&run, vec![NewRecord::trim(SeqNum::new(*seq))]),
        (Op::Swap(names_itself), Some(run)) => {
            let writer = names_itself.then(|| writer(&run));
            if fixture.swap_as(NewSwap { writer, ..new_swap(&run.run_id) }).is_ok_and(|it| it.swapped) {
                assert!(fixture.write(&run, vec![data("late")]).is_err(), "a run wrote after its swap (D-36)");
            }
        }
        (Op::Wait(after), Some(run)) => {
            let new = NewWait {
                expires_at: Some(fixture.now.plus(Duration::from_secs(4))),
                after: after.map(SeqNum::new),
                ..new_wait("chat")
            };
            let created = fixture.core.create_wait(fixture.now, &writer(&run), new, RunLook::NotYet);
            _ = fixture.keep(created);
        }
        (Op::End(outcome, settles), Some(run)) => {
            let outcome =
                [RunOutcome::Completed, failed(), crashed(), RunOutcome::OutOfMemory][usize::from(*outcome)].clone();
            let last = fixture.core.find("chat").unwrap().input.last().map(SeqNum::get);
            _ = fixture.end_at(&run, outcome, last.filter(|_| *settles));
        }
        (_, None) => {}
    }
}

/// What must be true after every step.
fn check(fixture: &Fixture, cursor_before: Option<SeqNum>) {
    let state = fixture.core.state();
    for session in state.sessions() {
        let live: Vec<_> = state.runs().filter(|run| run.session == session.row.id && run.status.is_live()).collect();
        assert!(live.len() <= 1, "more than one live run (I1)");
        assert!(
            live.iter().all(|run| Some(&run.id) == session.row.current_run.as_ref()),
            "a live run outside the slot (I1)"
        );
        if !session.row.is_closed() {
            assert!(session.last_owed().is_none() || !live.is_empty(), "owed input and nobody to answer it (D-3)");
        } else {
            assert!(live.iter().all(|run| run.status.is_leased()), "a queued run on a closed session (D-2)");
            assert!(session.summary.announced || !live.is_empty(), "the close was never announced (D-37)");
        }
        for channel in [&session.input, &session.output] {
            let seqs: Vec<_> = channel.from(SeqNum::ZERO).map(|record| record.seq_num.get()).collect();
            let dense = seqs.windows(2).all(|pair| pair[1] == pair[0] + 1);
            assert!(dense && seqs.last().is_none_or(|last| last + 1 == channel.tail().get()), "gaps: {seqs:?} (I3)");
        }
        assert_eq!(
            session.input.from(SeqNum::ZERO).count() as u64,
            session.input.tail().get(),
            "`in` was trimmed (S-90)"
        );
        check_trims(fixture, session);
        assert!(session.summary.settled >= cursor_before, "the settled cursor fell (I4)");
        assert!(session.summary.settled <= session.input.last(), "settled what was never sent (D-32)");
    }
    let queued = state.runs().filter(|run| run.status == RunStatus::Queued).count();
    assert_eq!(state.queued().count(), queued, "the queue and the rows disagree");
    assert_eq!(&fixture.rebuilt(), state, "folding the changes again gives another state");
}

/// Gone is only what was doomed long enough ago, and by twice that time and a second it is (S-89, D-69).
fn check_trims(fixture: &Fixture, session: &Session) {
    let asked = fixture.log.iter().filter_map(|change| match change {
        Change::Record { channel: OUT, record, .. } => {
            let first = trim_target(record.kind(), &record.body)?.min(record.seq_num);
            Some((first, fixture.now.since(Timestamp::from_millis(record.timestamp))))
        }
        _ => None,
    });
    let furthest = |ago: Duration| asked.clone().filter(|(_, at)| *at >= ago).map(|(first, _)| first).max();
    let (at_most, at_least) = (furthest(TRIM_GRACE), furthest(TRIM_GRACE * 2 + Duration::from_secs(1)));
    let first = session.output.shape().first;
    assert!(first <= at_most.unwrap_or_default(), "trimmed to {first}, too early");
    assert!(first >= at_least.unwrap_or_default(), "trimmed to {first} only");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn invariants_hold_and_no_input_is_lost_or_doubled_in_any_order_of_steps_i1_i3_i4_d3_d6_d12_d34_d36(ops in proptest::collection::vec(op(), 1..60)) {
        let mut fixture = Fixture::with_chat();
        let mut outside = Outside::default();

        for op in &ops {
            let cursor_before = fixture.core.find("chat").unwrap().summary.settled;
            run_op(&mut fixture, &mut outside, op);
            outside.facts.check(&fixture);
            check(&fixture, cursor_before);
        }
    }

    #[test]
    fn whatever_happened_every_open_session_settles_once_workers_only_fail_d34_d35(ops in proptest::collection::vec(op(), 1..40)) {
        let mut fixture = Fixture::with_chat();
        let mut outside = Outside::default();
        ops.iter().for_each(|op| run_op(&mut fixture, &mut outside, op));

        // Each owed record may cost two runs of three attempts; there are at most 40 times three.
        // The lease that may be held now costs nothing when it lapses unconfirmed.
        for _ in 0..120 * 6 + 2 {
            if fixture.live_run().is_none() {
                break;
            }
            if let Some(run) = lease(&mut fixture, 1).or_else(|| lease(&mut fixture, 2)) {
                fixture.heartbeat(&run).unwrap();
            }
            fixture.pass(LEASE);
        }

        let session = fixture.core.find("chat").unwrap();
        prop_assert!(fixture.live_run().is_none());
        prop_assert!(session.row.is_closed() || session.last_owed().is_none());
    }
}
