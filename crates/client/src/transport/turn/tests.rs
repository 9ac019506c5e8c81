//! The turn by rule: one row, one record.

use serde_json::{Value, json};
use turnkeep_protocol::{Header, TRIGGER_CONTROL};

use super::*;

fn turn(baseline: Option<SeqNum>) -> Turn {
    Turn::new(baseline, Span::Turn, Opened::Sent)
}

fn seq(number: u64) -> Option<SeqNum> {
    Some(SeqNum::new(number))
}

fn state() -> ChatSessionState {
    ChatSessionState { is_streaming: Some(true), ..ChatSessionState::new("old") }
}

fn gated(stopped: Option<u64>) -> ChatSessionState {
    ChatSessionState { skip_to_turn_complete: true, superseded_input_seq: stopped.map(SeqNum::new), ..state() }
}

fn data(at: u64, chunk: Value) -> Part {
    Part { seq_num: SeqNum::new(at), timestamp: 1, headers: Vec::new(), part_id: None, chunk: Some(chunk) }
}

fn text(at: u64) -> Part {
    data(at, json!({ "type": "text-delta", "id": "t", "delta": "x" }))
}

fn control(at: u64, subtype: &str, siblings: &[(&str, &str)]) -> Part {
    let mut headers = vec![Header::new(TRIGGER_CONTROL, subtype)];
    headers.extend(siblings.iter().map(|(name, value)| Header::new(*name, *value)));
    Part { seq_num: SeqNum::new(at), timestamp: 1, headers, part_id: None, chunk: None }
}

fn boundary(at: u64, input: &str) -> Part {
    control(at, "turn-complete", &[("session-in-event-id", input)])
}

fn verdict(turn: &mut Turn, state: &mut ChatSessionState, part: Part) -> Verdict {
    turn.on_record(state, part).verdict
}

#[test]
fn every_record_moves_the_cursor_whatever_becomes_of_it_c37() {
    let parts = [text(3), control(4, "upgrade-required", &[]), boundary(5, "1"), data(6, json!("no object"))];
    let mut state = state();
    let mut turn = turn(seq(9));

    for part in parts {
        let at = part.seq_num;
        turn.on_record(&mut state, part);
        assert_eq!(state.last_event_id, Some(at));
    }
}

#[test]
fn a_boundary_is_mine_unless_it_is_certainly_earlier_c82_cr7_ca38_rc10_aa137_aa138_aa139() {
    // S-130.
    let mine = |baseline: Option<u64>, part: Part| {
        let mut state = ChatSessionState { active_input_seq: seq(5), ..state() };
        let verdict = verdict(&mut turn(baseline.map(SeqNum::new)), &mut state, part);
        let is_mine = matches!(verdict, Verdict::Finish { .. });
        assert_eq!(state.is_streaming, Some(!is_mine));
        assert_eq!(state.active_input_seq.is_none(), is_mine);
        is_mine
    };

    assert!(!mine(Some(5), boundary(1, "4")), "below the baseline: an earlier turn's");
    assert!(mine(Some(5), boundary(1, "5")));
    assert!(mine(Some(5), boundary(1, "6")));
    assert!(mine(Some(5), boundary(1, "five")), "a number that cannot be read closes");
    assert!(mine(Some(5), control(1, "turn-complete", &[])), "a missing number closes");
    assert!(mine(None, boundary(1, "4")), "without a baseline the first boundary closes");
}

#[test]
fn a_foreign_boundary_gives_no_token_and_no_news_c82() {
    let part = control(1, "turn-complete", &[("session-in-event-id", "4"), ("public-access-token", "new")]);
    let mut state = state();

    let seen = turn(seq(5)).on_record(&mut state, part);

    assert_eq!((seen.verdict, seen.must_notify), (Verdict::EarlierTurn, false));
    assert_eq!(state.public_access_token, "old");
}

#[test]
fn the_own_boundary_brings_the_new_token_c86_c141() {
    // S-132.
    let part = control(1, "turn-complete", &[("session-in-event-id", "5"), ("public-access-token", "new")]);
    let mut state = state();

    let seen = turn(seq(5)).on_record(&mut state, part);

    assert_eq!((seen.verdict, seen.must_notify), (Verdict::Finish { input: seq(5) }, true));
    assert_eq!(state.public_access_token, "new");
    let mut turn = turn(None);
    turn.on_record(&mut state, boundary(2, "6"));
    assert_eq!(state.public_access_token, "new", "the token is optional");
}

#[test]
fn markers_of_another_age_count_as_controls_c8_ca39() {
    let legacy = data(1, json!({ "type": "trigger:turn-complete", "publicAccessToken": "new" }));
    let mut state = state();

    assert_eq!(verdict(&mut turn(None), &mut state, legacy), Verdict::Finish { input: None });
    assert_eq!(state.public_access_token, "new");
    for kind in ["trigger:upgrade-required", "trigger:later"] {
        assert_eq!(verdict(&mut turn(None), &mut state, data(2, json!({ "type": kind }))), Verdict::Drop);
    }
}

#[test]
fn upgrades_and_unknown_controls_are_invisible_and_reading_goes_on_ca33() {
    // S-82.
    let mut state = state();
    let mut turn = turn(None);

    for subtype in ["upgrade-required", "later"] {
        assert_eq!(verdict(&mut turn, &mut state, control(1, subtype, &[])), Verdict::Drop);
    }

    assert!(matches!(verdict(&mut turn, &mut state, text(2)), Verdict::Deliver { is_first: true, .. }));
    assert!(matches!(verdict(&mut turn, &mut state, text(3)), Verdict::Deliver { is_first: false, .. }));
}

#[test]
fn chunks_are_delivered_unchanged_c88_d25() {
    let chunk = json!({ "type": "start", "messageId": "m1", "later": { "x": null } });
    let got = verdict(&mut turn(None), &mut state(), data(7, chunk.clone()));

    let Verdict::Deliver { delivered, .. } = got else { panic!("{got:?}") };
    assert_eq!(delivered.seq_num, Some(SeqNum::new(7)));
    assert_eq!(serde_json::to_value(delivered.chunk).unwrap(), chunk);
}

#[test]
fn the_first_record_of_any_kind_counts_as_connected_c87() {
    let mut turn = turn(seq(5));

    assert!(turn.on_record(&mut state(), boundary(1, "4")).is_connected);
    assert!(!turn.on_record(&mut state(), text(2)).is_connected);
}

#[test]
fn data_on_an_unknown_session_tells_that_it_streams_c89() {
    let mut unknown = ChatSessionState::new("t");

    turn(None).on_record(&mut unknown, control(1, "upgrade-required", &[]));
    assert_eq!(unknown.is_streaming, None);
    turn(None).on_record(&mut unknown, text(2));
    assert_eq!(unknown.is_streaming, Some(true));
}

#[test]
fn the_gate_discards_up_to_the_stopped_boundary_and_not_beyond_c107_cr17() {
    let mut state = gated(Some(5));
    let mut turn = turn(seq(8));

    assert_eq!(verdict(&mut turn, &mut state, text(1)), Verdict::Drop);
    assert_eq!(verdict(&mut turn, &mut state, boundary(2, "4")), Verdict::Drop);
    assert!(state.skip_to_turn_complete, "a boundary below the stopped input does not clear (C-110)");
    let seen = turn.on_record(&mut state, boundary(3, "6"));
    assert_eq!((seen.verdict, seen.must_notify), (Verdict::Drop, true));
    assert_eq!((state.skip_to_turn_complete, state.superseded_input_seq), (false, None));
    assert_eq!(state.is_streaming, Some(true), "the new turn is not finished by it");

    assert!(matches!(verdict(&mut turn, &mut state, text(4)), Verdict::Deliver { .. }));
    assert_eq!(verdict(&mut turn, &mut state, boundary(5, "8")), Verdict::Finish { input: seq(8) });
}

#[test]
fn equal_above_missing_and_unreadable_numbers_clear_the_gate_c110() {
    let clears = |stopped: Option<u64>, part: Part| {
        let mut state = gated(stopped);
        turn(seq(9)).on_record(&mut state, part);
        !state.skip_to_turn_complete
    };

    assert!(!clears(Some(5), boundary(1, "4")));
    assert!(clears(Some(5), boundary(1, "5")));
    assert!(clears(Some(5), boundary(1, "6")));
    assert!(clears(Some(5), control(1, "turn-complete", &[])));
    assert!(clears(Some(5), boundary(1, "x")));
    assert!(clears(None, boundary(1, "0")), "an unknown stopped input is ended by any boundary");
}

#[test]
fn a_gate_that_ate_the_reply_is_an_error_c111_ca60() {
    for (input, want) in [("7", Verdict::Drop), ("8", Verdict::OutputLost), ("9", Verdict::OutputLost)] {
        let mut state = ChatSessionState { active_input_seq: seq(8), ..gated(Some(5)) };
        let seen = turn(seq(8)).on_record(&mut state, boundary(3, input));

        assert!(!state.skip_to_turn_complete);
        assert_eq!(state.is_streaming, Some(seen.verdict == Verdict::Drop), "flags are clean after a loss");
        assert_eq!(seen.verdict, want, "boundary {input}");
    }
}

#[test]
fn a_closed_session_ends_the_stream_even_behind_the_gate_c85_c107_ca71() {
    let closing = [
        control(1, "session-closed", &[("session-closed-reason", "done")]),
        control(
            1,
            "turn-complete",
            &[("session-in-event-id", "3"), ("session-closed", "true"), ("session-closed-reason", "done")],
        ),
    ];
    for part in closing {
        for mut state in [state(), gated(Some(4))] {
            let seen = turn(seq(9)).on_record(&mut state, part.clone());

            assert_eq!((seen.verdict, seen.is_closed_news, seen.must_notify), (Verdict::Closed, true, true));
            assert_eq!((state.closed, state.closed_reason.as_deref()), (true, Some("done")));
            assert!(!state.skip_to_turn_complete);
        }
    }
}

#[test]
fn closing_on_the_own_boundary_still_completes_the_turn_d37() {
    let part = control(1, "turn-complete", &[("session-in-event-id", "9"), ("session-closed", "true")]);
    let mut state = state();

    let seen = turn(seq(9)).on_record(&mut state, part);

    assert_eq!((seen.verdict, seen.is_closed_news), (Verdict::Finish { input: seq(9) }, true));
    assert!(state.closed);
}

#[test]
fn a_pending_version_passes_the_gate_c107() {
    let seen = turn(None).on_record(&mut gated(Some(1)), control(1, "pending-version", &[]));

    assert_eq!((seen.verdict, seen.pending_version), (Verdict::Drop, Some(PendingSource::Send)));
}

#[test]
fn an_unsettled_end_in_mid_turn_resubscribes_five_times_then_fails_c93_c94_c95_cr10_ca45() {
    // S-131.
    let mut state = state();
    let mut turn = turn(None);
    let mut waits = Vec::new();

    let end = loop {
        match turn.on_body_end(&mut state, false, Duration::ZERO, 0.0) {
            BodyEnd::Resubscribe { after } => waits.push(after.as_millis()),
            end => break end,
        }
    };

    assert_eq!(waits, [100, 200, 400, 800, 1600]);
    assert_eq!(end, BodyEnd::Exhausted { windows: 6 });
    assert_eq!(state.is_streaming, Some(false));
}

#[test]
fn the_wait_is_between_half_and_all_of_its_step_c94() {
    let wait = |unit| match turn(None).on_body_end(&mut state(), false, Duration::ZERO, unit) {
        BodyEnd::Resubscribe { after } => after.as_millis(),
        end => panic!("{end:?}"),
    };

    assert_eq!((wait(0.0), wait(0.5)), (100, 75));
    assert!(wait(0.999_999) >= 50);
}

#[test]
fn one_record_per_window_never_spends_the_budget_c94_cr11_ca44() {
    // S-131.
    let mut state = state();
    let mut turn = turn(seq(9));

    for at in 0..20 {
        // Even a record that is dropped shows that the turn is alive.
        turn.on_record(&mut state, boundary(at, "1"));
        assert!(matches!(turn.on_body_end(&mut state, false, Duration::ZERO, 0.0), BodyEnd::Resubscribe { .. }));
    }
}

#[test]
fn a_settled_end_is_final_and_told_only_when_it_streamed_c93_c96_ca43() {
    let mut streaming = state();
    assert_eq!(turn(None).on_body_end(&mut streaming, true, Duration::ZERO, 0.0), BodyEnd::Close { must_notify: true });
    assert_eq!(streaming.is_streaming, Some(false));

    let mut unknown = ChatSessionState::new("t");
    assert_eq!(turn(None).on_body_end(&mut unknown, true, Duration::ZERO, 0.0), BodyEnd::Close { must_notify: false });
    let mut unknown = ChatSessionState::new("t");
    assert_eq!(turn(None).on_body_end(&mut unknown, false, Duration::ZERO, 0.0), BodyEnd::Close { must_notify: false });
}

#[test]
fn a_settled_end_leaves_no_gate_behind_ca57() {
    let mut state = gated(Some(5));

    assert_eq!(turn(None).on_body_end(&mut state, true, Duration::ZERO, 0.0), BodyEnd::Close { must_notify: true });

    assert_eq!((state.skip_to_turn_complete, state.superseded_input_seq), (false, None));
}

#[test]
fn a_watcher_reads_on_over_boundaries_and_tells_each_turn_anew_c121_cr22() {
    let mut state = state();
    let mut turn = Turn::new(None, Span::Watch, Opened::Resumed);

    for (at, input) in [(0, "4"), (2, "5")] {
        assert!(matches!(verdict(&mut turn, &mut state, text(at)), Verdict::Deliver { is_first: true, .. }));
        assert_eq!(state.is_streaming, Some(true), "a stop has something to cut");
        let seen = turn.on_record(&mut state, boundary(at + 1, input));
        assert_eq!((seen.verdict, seen.must_notify), (Verdict::NextTurn { input: SeqNum::parse_cursor(input) }, true));
        assert_eq!(state.is_streaming, Some(false));
    }
}

#[test]
fn a_watcher_survives_any_number_of_quiet_windows_c121_cr22_ca49() {
    let mut idle = ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("t") };
    let mut turn = Turn::new(None, Span::Watch, Opened::Resumed);

    for _ in 0..1_000 {
        let end = turn.on_body_end(&mut idle, false, Duration::from_secs(120), 0.0);
        assert_eq!(end, BodyEnd::Resubscribe { after: Duration::from_millis(100) }, "no wait grows (RC-15)");
    }

    assert_eq!(turn.on_body_end(&mut idle, true, Duration::ZERO, 0.0), BodyEnd::Close { must_notify: false });
}

#[test]
fn a_watcher_backs_off_from_a_server_that_ends_at_once_rc15() {
    let mut idle = ChatSessionState { is_streaming: Some(false), ..ChatSessionState::new("t") };
    let mut turn = Turn::new(None, Span::Watch, Opened::Resumed);
    let mut wait = |lasted| match turn.on_body_end(&mut idle, false, lasted, 0.0) {
        BodyEnd::Resubscribe { after } => after.as_millis(),
        end => panic!("{end:?}"),
    };

    let quick: Vec<_> = (0..9).map(|_| wait(Duration::from_millis(2))).collect();

    assert_eq!(quick, [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000]);
    assert_eq!(wait(Duration::from_secs(60)), 100, "a whole window starts again");
}

#[test]
fn a_run_that_waits_for_its_version_says_whose_doing_it_was_c144() {
    let mut turn = turn(None);
    let pending = |turn: &mut Turn| turn.on_record(&mut state(), control(1, "pending-version", &[])).pending_version;

    assert_eq!(pending(&mut turn), Some(PendingSource::Send));
    turn.on_record(&mut state(), control(2, "upgrade-required", &[]));
    assert_eq!(pending(&mut turn), Some(PendingSource::Upgrade));
}
