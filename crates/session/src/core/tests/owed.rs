//! Owed and settled (D-33, S-116, S-120, SR-21…SR-23).

use super::*;
use crate::trims::TRIM_GRACE;

#[test]
fn only_messages_that_submit_regenerate_or_act_are_owed_d33() {
    for (body, owed) in [
        (message("submit-message"), true),
        (message("regenerate-message"), true),
        (message("action"), true),
        (message("preload"), false),
        (message("close"), false),
        (message("handover-prepare"), false),
        (json!({ "kind": "stop" }).to_string(), false),
        (json!({ "kind": "handover", "isFinal": true }).to_string(), false),
        (json!({ "kind": "message" }).to_string(), false),
        (json!({ "kind": "message", "payload": { "trigger": "submit-message", "message": 7 } }).to_string(), true),
        // A text that holds a message's text is unpacked once, by server and run alike.
        (Value::String(message("action")).to_string(), false),
        ("not json".to_owned(), false),
        ("7".to_owned(), false),
    ] {
        let mut fixture = Fixture::with_chat();
        fixture.append(IN, &body, None).unwrap();
        assert_eq!(fixture.core.find("chat").unwrap().last_owed().is_some(), owed, "{body}");
    }
}

#[track_caller]
fn check_settled(out: Vec<NewRecord>, want: bool) {
    let words: Vec<_> = out.iter().map(|new| format!("{:?}", new.kind())).collect();
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.write(&run, out).unwrap();
    fixture.pass(TRIM_GRACE);
    assert_eq!(fixture.is_settled(), want, "{words:?}");
}

#[test]
fn settled_means_that_the_newest_record_of_a_turn_is_its_end_s116_sr23_d33() {
    let upgrade = || NewRecord::control(control::UPGRADE_REQUIRED, []);
    let closed = || NewRecord::control(control::SESSION_CLOSED, []);
    let trim = || NewRecord::trim(SeqNum::ZERO);
    check_settled(vec![], false);
    check_settled(vec![trim()], false);
    check_settled(vec![data("start")], false);
    check_settled(vec![turn_complete(0)], true);
    check_settled(vec![turn_complete(0), trim()], true);
    check_settled(vec![turn_complete(0), trim(), trim(), trim()], true);
    check_settled(vec![turn_complete(0), upgrade(), trim()], true);
    check_settled(vec![turn_complete(0), closed()], true);
    check_settled(vec![turn_complete(0), data("start")], false);
    check_settled(vec![turn_complete(0), NewRecord::control("unheard-of", [])], false);
    check_settled(vec![turn_complete(0), NewRecord::trim(SeqNum::new(9))], false);
}

#[test]
fn an_owed_message_unsettles_until_its_boundary_s120_sr22() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.send();
    fixture.write(&run, vec![turn_complete(0)]).unwrap();
    assert!(fixture.is_settled());

    fixture.send();
    assert!(!fixture.is_settled(), "reload between send and first chunk");
    fixture.write(&run, vec![turn_complete(0)]).unwrap();
    assert!(!fixture.is_settled(), "the boundary of another turn");
    fixture.write(&run, vec![data("start"), turn_complete(1)]).unwrap();

    assert!(fixture.is_settled());
}

#[test]
fn a_stop_that_nobody_answers_does_not_unsettle_d33() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.write(&run, vec![turn_complete(0)]).unwrap();

    fixture.append(IN, &json!({ "kind": "stop" }).to_string(), None).unwrap();

    assert!(fixture.is_settled());
}

#[test]
fn nobody_is_settled_without_asking_s115_sr21() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.write(&run, vec![turn_complete(0)]).unwrap();

    assert!(!fixture.core.open("chat", OUT, None, false).unwrap().settled);
    assert!(!fixture.core.open("chat", IN, None, true).unwrap().settled);
}

#[test]
fn a_session_that_does_not_exist_yet_reads_as_empty_under_its_external_id_s57() {
    let fixture = Fixture::new();

    assert!(!fixture.core.open("chat", OUT, Some(SeqNum::ZERO), true).unwrap().settled);
    assert_eq!(fixture.core.read("chat", OUT, SeqNum::ZERO).unwrap().records, []);
    assert_eq!(fixture.drain(OUT, None), []);
    assert_eq!(fixture.core.open("session_x", OUT, None, false), Err(Refused::NoSession));
    assert_eq!(fixture.core.drain("session_x", OUT, None), Err(Refused::NoSession));
}

#[test]
fn a_drain_unwraps_data_keeps_control_and_leaves_commands_out_s97_s98() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    let broken = NewRecord { body: "no json".to_owned(), headers: Vec::new() };
    fixture.write(&run, vec![data("start"), turn_complete(0), NewRecord::trim(SeqNum::ZERO), broken]).unwrap();
    fixture.append(IN, "text", Some("p")).unwrap();

    let out = serde_json::to_value(fixture.drain(OUT, None)).unwrap();
    let after = fixture.drain(OUT, Some(0));
    let input = serde_json::to_value(fixture.drain(IN, None)).unwrap();

    let want = json!([
        { "data": { "type": "start" }, "id": "p", "seqNum": 0 },
        { "data": "", "id": "", "seqNum": 1, "headers": [["trigger-control", "turn-complete"], ["session-in-event-id", "0"]] },
        { "data": "", "id": "", "seqNum": 3 },
    ]);
    assert_eq!(out, want);
    assert_eq!(after.len(), 2);
    assert_eq!(input, json!([{ "data": "text", "id": "p", "seqNum": 0 }]));
}
