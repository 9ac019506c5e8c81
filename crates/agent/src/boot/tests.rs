//! The decision table of A §3.8 and the faults of recovery, row by row.

mod apart;
mod choice;
mod cut;
mod history;
mod hydrated;
mod steering;

use serde_json::{Value, json};
use turnkeep_protocol::session_api::DrainedRecord;
use turnkeep_protocol::{
    ANSWERS_NOTHING, ChatInputChunk, ChatSnapshot, ChatTaskWirePayload, Header, InputRecord, Messages,
    SESSION_IN_EVENT_ID, SeqNum, Trigger, UiMessage,
};

use super::plan::{BootPlan, Choice, Closing, pending_tool_calls, plan};
use super::replay::{Found, Replay, drain_from, replay};

fn seq(number: u64) -> SeqNum {
    SeqNum::new(number)
}

/// Writes `out` from a short script: a JSON object is a chunk (with `apart`, of a message that answers nothing), a number is a `turn-complete` with that cursor, `-1` one without.
fn out(script: &[Value]) -> Vec<DrainedRecord> {
    let records = script.iter().enumerate().map(|(at, word)| {
        let headers = match word.as_i64() {
            Some(-1) => vec![Header::new("trigger-control", "turn-complete")],
            Some(cursor) => {
                vec![
                    Header::new("trigger-control", "turn-complete"),
                    Header::new(SESSION_IN_EVENT_ID, cursor.to_string()),
                ]
            }
            None => Vec::new(),
        };
        let mut data = if headers.is_empty() { word.clone() } else { json!("") };
        let is_apart = data.as_object_mut().and_then(|chunk| chunk.remove("apart")).is_some();
        let headers = if is_apart { vec![Header::new(ANSWERS_NOTHING, "true")] } else { headers };
        DrainedRecord { data, id: String::new(), seq_num: seq(at as u64 + 100), headers }
    });
    records.collect()
}

/// A text message's chunks, up to and with `finish`.
fn text(id: &str, text: &str) -> Vec<Value> {
    let mut chunks = begun(id, text);
    chunks.extend([
        json!({ "type": "text-end", "id": "t" }),
        json!({ "type": "finish-step" }),
        json!({ "type": "finish" }),
    ]);
    chunks
}

/// A text message's chunks, cut in the middle of the text.
fn begun(id: &str, text: &str) -> Vec<Value> {
    vec![
        json!({ "type": "start", "messageId": id }),
        json!({ "type": "start-step" }),
        json!({ "type": "text-start", "id": "t" }),
        json!({ "type": "text-delta", "id": "t", "delta": text }),
    ]
}

fn script(pieces: &[Vec<Value>]) -> Vec<DrainedRecord> {
    out(&pieces.concat())
}

fn done(cursor: i64) -> Vec<Value> {
    vec![json!(cursor)]
}

fn user(number: u64, id: &str) -> InputRecord {
    input(number, ChatInputChunk::message(ChatTaskWirePayload::submit("c", UiMessage::user(id, id))))
}

fn trigger(number: u64, trigger: Trigger) -> InputRecord {
    input(number, ChatInputChunk::message(ChatTaskWirePayload::new("c", trigger)))
}

fn stop(number: u64) -> InputRecord {
    input(number, ChatInputChunk::Stop { message: None })
}

fn input(number: u64, input: ChatInputChunk) -> InputRecord {
    InputRecord { seq_num: seq(number), timestamp: 0, input: Some(input) }
}

fn snapshot(messages: &[UiMessage], out: Option<u64>, input: Option<u64>) -> Option<ChatSnapshot> {
    Some(ChatSnapshot::new(0, messages.to_vec(), out.map(seq), input.map(seq)))
}

fn continuation() -> ChatTaskWirePayload {
    ChatTaskWirePayload { trigger: None, continuation: Some(true), ..ChatTaskWirePayload::new("c", Trigger::Preload) }
}

fn boot(found: &Found) -> BootPlan {
    plan(replay(found), &continuation(), None)
}

fn ids(messages: &Messages) -> String {
    messages.iter().map(|message| message.id.as_str()).collect::<Vec<_>>().join(" ")
}

/// Says what runs first: message ids, or the trigger of a record without one.
fn runs(plan: &BootPlan) -> String {
    let name = |payload: &ChatTaskWirePayload| match &payload.message {
        Some(message) => message.id.clone(),
        None => format!("{:?}", payload.trigger.unwrap()),
    };
    plan.recovered.iter().map(|owed| name(&owed.payload)).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(found: &Found, chain: &str, first: &str, closing: Option<Closing>) -> BootPlan {
    let plan = boot(found);
    assert_eq!(ids(&plan.chain), chain, "chain");
    assert_eq!(runs(&plan), first, "runs first");
    assert_eq!(plan.closing, closing, "closing");
    plan
}

const ABORTS: Option<Closing> = Some(Closing { aborts: true, tells: false, ends: true });
const ONLY_CLOSES: Option<Closing> = Some(Closing { aborts: false, tells: false, ends: true });
const TELLS: Option<Closing> = Some(Closing { aborts: false, tells: true, ends: true });

#[test]
fn a_clean_continuation_waits_with_its_history() {
    // S-201.
    let found = Found {
        snapshot: snapshot(&[UiMessage::user("u0", "")], Some(99), Some(0)),
        out: script(&[text("a1", "x"), done(1)]),
        input: vec![user(1, "u1")],
        ..Found::default()
    };

    let plan = check(&found, "u0 u1 a1", "", None);

    assert_eq!(plan.cursor, Some(seq(1)));
}

#[test]
fn nothing_found_is_nothing_to_do_aa95_aa99() {
    let plan = check(&Found::default(), "", "", None);

    assert_eq!((plan.cursor, plan.finished, plan.ends_after_recovered), (None, vec![], false));
}

#[test]
fn unread_messages_run_in_order_a65_aa82() {
    let found = Found {
        out: script(&[text("a0", "x"), done(0)]),
        input: vec![user(0, "u0"), user(1, "u1"), user(2, "u2")],
        ..Found::default()
    };

    check(&found, "u0 a0", "u1 u2", None);
}

#[test]
fn a_partial_stays_under_its_message_and_the_rest_runs_a65_d31_aa83() {
    // S-201.
    let found = Found {
        out: script(&[text("a0", "x"), done(0), begun("a1", "hal")]),
        input: vec![user(0, "u0"), user(1, "u1"), user(2, "u2")],
        ..Found::default()
    };

    let plan = check(&found, "u0 a0 u1 a1", "u2", ABORTS);

    assert_eq!(plan.finished, [seq(1)]);
    assert_eq!(plan.chain[3].text(), "hal");
}

#[test]
fn a_partial_alone_is_dropped_but_its_stream_is_closed_a65_d31() {
    let found = Found { out: script(&[begun("a1", "hal")]), ..Found::default() };

    check(&found, "", "", ABORTS);
}

#[test]
fn an_answer_that_had_said_nothing_runs_again_whole_a290_d31_aa107() {
    let bare = vec![json!({ "type": "start", "messageId": "a1" }), json!({ "type": "start-step" })];
    let call = json!({ "type": "tool-input-start", "toolCallId": "c", "toolName": "t" });
    for cut in [bare[..1].to_vec(), bare.clone(), [bare, vec![call]].concat()] {
        let found = Found { out: script(&[cut]), input: vec![user(0, "u0")], ..Found::default() };

        check(&found, "", "u0", None);
    }
}

/// An assistant message with one call.
fn asking(id: &str, state: &str) -> UiMessage {
    let call = json!({ "type": "tool-ask", "toolCallId": "c", "state": state, "input": 1, "output": 2 });
    serde_json::from_value(json!({ "id": id, "role": "assistant", "parts": [call] })).unwrap()
}

#[test]
fn a_finished_answer_is_closed_and_not_given_again_ar47_a65() {
    let found =
        Found { out: script(&[text("a0", "x")]), input: vec![user(0, "u0"), user(1, "u1")], ..Found::default() };

    let plan = check(&found, "u0 a0", "u1", ONLY_CLOSES);

    assert_eq!(plan.finished, [seq(0)]);
}

#[test]
fn a_stopped_or_failed_answer_without_its_boundary_is_closed_too_a52_af4() {
    let abort = vec![json!({ "type": "abort" })];
    let error = vec![json!({ "type": "error", "errorText": "no" })];
    for end in [abort, error.clone()] {
        let found = Found { out: script(&[begun("a0", "x"), end]), input: vec![user(0, "u0")], ..Found::default() };
        check(&found, "u0 a0", "", ONLY_CLOSES);
    }
    // An error before any answer: the message has had its turn.
    let found = Found { out: script(&[error]), input: vec![user(0, "u0")], ..Found::default() };
    check(&found, "u0", "", ONLY_CLOSES);
}

#[test]
fn a_stopped_turn_is_no_crash_partial_a52_af4() {
    let end = vec![json!({ "type": "abort" }), json!(0)];
    let found = Found { out: script(&[begun("a0", "x"), end]), input: vec![user(0, "u0")], ..Found::default() };

    check(&found, "u0 a0", "", None);
}

#[test]
fn the_boundary_wins_over_an_older_snapshot_cursor_ar48_a48_s202_sr51() {
    let found = Found {
        snapshot: snapshot(&[UiMessage::user("u0", ""), UiMessage::assistant("a0", vec![])], Some(50), Some(5)),
        out: script(&[text("a1", "x"), done(6)]),
        input: vec![user(6, "u1")],
        ..Found::default()
    };

    let plan = check(&found, "u0 a0 u1 a1", "", None);

    assert_eq!(plan.cursor, Some(seq(6)));
}

#[test]
fn messages_pair_with_the_answers_of_their_own_turns_a48() {
    let found = Found {
        out: script(&[text("a0", "x"), done(0), text("a1", "y"), done(2), text("a3", "z"), done(3)]),
        input: vec![user(0, "u0"), user(1, "u1"), stop(2), user(3, "u3"), user(4, "u4")],
        ..Found::default()
    };

    check(&found, "u0 a0 u1 a1 u3 a3", "u4", None);
}

#[test]
fn the_boot_cursor_is_the_highest_of_row_snapshot_and_boundary_d32() {
    for (row, saved, published, want) in [(9, 5, 6, 9), (1, 8, 6, 8), (1, 5, 6, 6)] {
        let found = Found {
            row_settled: Some(seq(row)),
            snapshot: snapshot(&[], Some(1), Some(saved)),
            out: script(&[done(published)]),
            ..Found::default()
        };
        assert_eq!(replay(&found).cursor, Some(seq(want)));
    }
}

#[test]
fn the_last_boundary_counts_and_one_without_cursor_does_not_aa96_aa97_aa98() {
    let cursor = |pieces: &[Vec<Value>]| replay(&Found { out: script(pieces), ..Found::default() }).cursor;

    assert_eq!(cursor(&[done(1), done(4), done(-1)]), Some(seq(4)));
    assert_eq!(cursor(&[done(-1)]), None);
    assert_eq!(cursor(&[]), None);
}

#[test]
fn regenerates_and_actions_run_in_their_place_ar38_a54_aa91() {
    let found = Found {
        input: vec![user(0, "u0"), trigger(1, Trigger::RegenerateMessage), user(2, "u2"), trigger(3, Trigger::Action)],
        ..Found::default()
    };

    check(&found, "", "u0 RegenerateMessage u2 Action", None);
}

#[test]
fn stops_of_the_dead_run_are_dropped_ar46_a55_d41_aa90() {
    // SR-43.
    let found = Found {
        input: vec![
            stop(0),
            user(1, "u1"),
            stop(2),
            input(3, ChatInputChunk::HandoverSkip),
            trigger(4, Trigger::Preload),
        ],
        ..Found::default()
    };

    let plan = check(&found, "", "u1", None);

    assert_eq!(plan.finished, [seq(0), seq(2), seq(3), seq(4)]);
}

#[test]
fn a_close_found_at_boot_waits_for_the_recovered_turns_d32_a39() {
    let found = Found { input: vec![trigger(0, Trigger::Close), user(1, "u1")], ..Found::default() };

    let plan = check(&found, "", "u1", None);

    assert!(plan.ends_after_recovered);
    assert_eq!(plan.finished, [seq(0)]);
}

#[test]
fn records_without_a_message_or_a_readable_body_are_no_work_aa92_aa93() {
    let unreadable = InputRecord { seq_num: seq(1), timestamp: 0, input: None };
    let found = Found { input: vec![trigger(0, Trigger::SubmitMessage), unreadable], ..Found::default() };

    let plan = check(&found, "", "", TELLS);

    assert_eq!(plan.finished, [seq(1), seq(0)]);
}

#[test]
fn an_unusable_record_is_covered_by_a_boundary_d33_d59() {
    let broken = |number| {
        input(number, crate::record::decode(json!({ "kind": "message", "payload": { "trigger": "action" } })).unwrap())
    };
    let found = |out, input| Found { out: script(out), input, ..Found::default() };
    // What it runs behind covers it: nothing needs to be written first.
    check(&found(&[], vec![user(0, "u0"), broken(1)]), "", "u0", None);
    check(&found(&[], vec![broken(0), user(1, "u1")]), "", "u1", TELLS);
    // An error whose boundary was cut off answers the broken record, not the one after it.
    let told = vec![json!({ "type": "error", "errorText": "no" })];
    let plan = check(&found(&[told], vec![broken(0), user(1, "u1")]), "", "u1", ONLY_CLOSES);
    assert_eq!(plan.finished, [seq(0)]);
}

#[test]
fn a_human_answer_in_flight_advances_its_message_a70() {
    let call = json!([{ "type": "tool-ask", "toolCallId": "c", "state": "input-available", "input": 1 }]);
    let answer = json!([{ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": 2 }]);
    let message = |parts: &Value| {
        serde_json::from_value::<UiMessage>(json!({ "id": "a0", "role": "assistant", "parts": parts })).unwrap()
    };
    let found = Found {
        snapshot: snapshot(&[UiMessage::user("u0", ""), message(&call)], Some(50), Some(0)),
        out: script(&[begun("a0", "thank")]),
        input: vec![input(1, ChatInputChunk::message(ChatTaskWirePayload::submit("c", message(&answer))))],
        ..Found::default()
    };

    let plan = check(&found, "u0 a0", "", ABORTS);

    let whole = &plan.chain[1];
    assert_eq!(whole.tool_part("c").unwrap().output, Some(json!(2)));
    assert_eq!(whole.text(), "thank");
}

#[test]
fn a_continued_message_is_rebuilt_on_what_was_stored_ar23() {
    let found = Found {
        snapshot: snapshot(
            &[UiMessage::assistant("a0", vec![turnkeep_protocol::UiPart::text("first ")])],
            Some(50),
            Some(0),
        ),
        out: script(&[text("a0", "second"), done(1)]),
        ..Found::default()
    };

    assert_eq!(boot(&found).chain[0].text(), "first second");
}

#[test]
fn chunks_that_are_no_content_are_skipped_a50_a19_aa102_aa109_aa110() {
    let noise = vec![
        json!("text"),
        json!(null),
        json!({ "x": 1 }),
        json!({ "type": 7 }),
        json!({ "type": "trigger:turn-complete" }),
    ];
    let found = Found { out: script(&[noise.clone(), text("a0", "x"), noise.clone(), done(0)]), ..Found::default() };
    check(&found, "a0", "", None);

    // Nor do they open a turn.
    let found = Found { out: script(&[text("a0", "x"), done(0), noise]), ..Found::default() };
    check(&found, "a0", "", None);
}

#[test]
fn a_malformed_segment_is_skipped_and_the_others_survive_a50_aa111() {
    let broken = vec![
        json!({ "type": "start", "messageId": "a1" }),
        json!({ "type": "text-delta", "id": "t", "delta": "x" }),
        json!({ "type": "finish" }),
    ];
    let found = Found { out: script(&[text("a0", "x"), broken, text("a2", "y"), done(0)]), ..Found::default() };

    let replayed = replay(&found);

    assert_eq!(replayed.n_malformed, 1);
    assert_eq!(ids(replayed.settled.messages()), "a0 a2");
}

#[test]
fn data_before_start_joins_the_message_that_follows_a52() {
    let data = vec![json!({ "type": "data-plan", "data": 1 })];
    let found = Found {
        out: script(&[data.clone(), text("a0", "x"), data.clone(), text("a1", "y"), data, done(0)]),
        ..Found::default()
    };

    let plan = check(&found, "a0 a1", "", None);

    let n_data = |message: &UiMessage| message.parts.iter().filter(|part| part.as_data().is_some()).count();
    assert_eq!((n_data(&plan.chain[0]), n_data(&plan.chain[1])), (1, 2));
}

#[test]
fn a_complete_answer_keeps_its_open_calls_and_a_cut_one_does_not_aa106_aa108() {
    let call = json!({ "type": "tool-input-available", "toolCallId": "c", "toolName": "ask", "input": 1 });
    let start = json!({ "type": "start", "messageId": "a0" });
    let whole = vec![start.clone(), call.clone(), json!({ "type": "finish" })];
    let cut = vec![
        start,
        json!({ "type": "text-start", "id": "t" }),
        json!({ "type": "text-delta", "id": "t", "delta": "x" }),
        call,
    ];

    let plan = check(&Found { out: script(&[whole, done(0)]), ..Found::default() }, "a0", "", None);
    assert!(plan.chain[0].tool_part("c").is_some());

    let found = Found { out: script(&[cut]), input: vec![user(0, "u0")], ..Found::default() };
    let plan = check(&found, "u0 a0", "", ABORTS);
    assert!(plan.chain[1].tool_part("c").is_none());
    // The hook sees the call all the same (A-62, AF-15, AA-80).
    let raw = replay(&found).open_turn.unwrap().partial.unwrap().raw;
    let pending = pending_tool_calls(&raw);
    assert_eq!((pending.len(), pending[0].part_index, &pending[0].input), (1, 1, &json!(1)));
}

#[test]
fn recovered_turns_keep_their_own_metadata_and_get_the_boots_fields_a68() {
    let payload = ChatTaskWirePayload {
        metadata: Some(json!("own")),
        ..ChatTaskWirePayload::submit("c", UiMessage::user("u0", ""))
    };
    let found = Found { input: vec![input(0, ChatInputChunk::message(payload))], ..Found::default() };
    let boot = ChatTaskWirePayload {
        metadata: Some(json!("boot")),
        previous_run_id: Some("run_0".to_owned()),
        ..continuation()
    };

    let plan = plan(replay(&found), &boot, None);

    let recovered = &plan.recovered[0].payload;
    assert_eq!((recovered.metadata.clone(), recovered.message_id.as_deref()), (Some(json!("own")), Some("u0")));
    assert_eq!((recovered.continuation, recovered.previous_run_id.as_deref()), (Some(true), Some("run_0")));
}

#[test]
fn a_payload_message_is_no_work_of_its_own_ar9_ar10_ar36_d38_a71() {
    let boot = ChatTaskWirePayload::submit("c", UiMessage::user("u0", ""));

    let plan = plan(Replay::default(), &boot, None);

    assert_eq!(plan.recovered, []);
}

#[test]
fn in_is_drained_from_where_history_may_need_it_a48_s202() {
    let saved = ChatSnapshot::new(0, vec![], Some(seq(9)), Some(seq(3)));

    assert_eq!(drain_from(Some(seq(7)), Some(&saved), &[]), Some(seq(3)));
    assert_eq!(drain_from(Some(seq(7)), None, &[]), Some(seq(7)));
    assert_eq!(drain_from(Some(seq(7)), None, &script(&[text("a0", "x"), done(0)])), None);
}
