//! How snapshot, `out` and `in` make one history (A-50…A-59, C.9…C.11).

use super::*;

fn found(out: &[Vec<Value>], input: Vec<InputRecord>) -> Found {
    Found { out: script(out), input, ..Found::default() }
}

/// Merges the messages of a snapshot with those of `out`; gives `id:text` of each.
fn merged(saved: &[UiMessage], out: &[Vec<Value>]) -> String {
    let found = Found { snapshot: snapshot(saved, Some(50), None), ..found(out, vec![]) };
    let replayed = replay(&found);
    assert_eq!(found.snapshot.unwrap().messages, *saved, "what was read stays as it was (AA-122)");
    let told = |message: &UiMessage| format!("{}:{}", message.id, message.text());
    replayed.settled.messages().iter().map(told).collect::<Vec<_>>().join(" ")
}

fn said(id: &str, text: &str) -> UiMessage {
    UiMessage::assistant(id, vec![turnkeep_protocol::UiPart::text(text)])
}

#[test]
fn a_snapshot_and_what_was_streamed_since_make_one_history_a58_aa112_aa113_aa114_aa115_aa118_aa122() {
    let saved = [UiMessage::user("u1", "hi"), said("a1", "x")];

    assert_eq!(merged(&saved, &[]), "u1:hi a1:x");
    assert_eq!(merged(&[], &[text("a1", "y"), done(0)]), "a1:y");
    assert_eq!(merged(&[], &[]), "");
    assert_eq!(merged(&saved, &[text("a2", "y"), text("a3", "z"), done(0)]), "u1:hi a1:x a2:y a3:z");
}

#[test]
fn of_equal_ids_the_newest_counts_where_the_first_stood_a58_aa116_aa117_aa120_aa121() {
    // S-201.
    let saved = [said("a1", "x"), UiMessage::user("u1", "hi"), said("a2", "y")];

    // What goes on with a stored message goes on from its parts; a person's messages are nobody's to stream.
    assert_eq!(merged(&saved, &[text("a1", "1"), done(0)]), "a1:x1 u1:hi a2:y");
    assert_eq!(merged(&saved, &[text("a3", "1"), text("a3", "2"), done(0)]), "a1:x u1:hi a2:y a3:12");
    assert_eq!(merged(&saved, &[text("u1", "no"), done(0)]), "a1:x u1:no a2:y");
}

#[test]
fn out_gives_one_assistant_message_a_text_turn_aa100_aa101_aa103() {
    let one = replay(&found(&[text("a0", "x"), done(0)], vec![]));
    let two = replay(&found(&[text("a0", "x"), done(0), text("a1", "y"), done(1)], vec![]));

    assert_eq!((ids(one.settled.messages()), ids(two.settled.messages())), ("a0".to_owned(), "a0 a1".to_owned()));
    assert!(two.settled.messages().iter().all(UiMessage::is_assistant));
}

#[test]
fn a_message_without_its_end_is_kept_raw_and_cleaned_a51_a59() {
    // S-201.
    let call = json!({ "type": "tool-input-start", "toolCallId": "c", "toolName": "t" });
    let replayed = replay(&found(&[text("a0", "x"), done(0), begun("a1", "hal"), vec![call]], vec![]));

    let partial = replayed.open_turn.unwrap().partial.unwrap();
    let kinds = |message: &UiMessage| message.parts.iter().map(|part| part.kind().into_owned()).collect::<Vec<_>>();
    assert_eq!(kinds(&partial.raw), ["step-start", "text", "tool-t"]);
    assert_eq!(kinds(&partial.cleaned), ["step-start", "text"]);
    assert_eq!((partial.raw.text(), partial.cleaned.text()), ("hal".to_owned(), "hal".to_owned()));
}

#[test]
fn a_message_in_flight_keeps_its_place_and_its_metadata_a53_a59_aa89() {
    let payload = ChatTaskWirePayload {
        metadata: Some(json!({ "user": 1 })),
        ..ChatTaskWirePayload::submit("c", UiMessage::user("u1", "hi"))
    };
    let replayed = replay(&found(&[], vec![stop(0), input(1, ChatInputChunk::message(payload))]));

    let owed = &replayed.in_flight[0];
    let message = owed.payload.message.as_ref().map(|message| message.id.as_str());
    assert_eq!(
        (owed.seq_num, message, owed.payload.metadata.clone()),
        (Some(seq(1)), Some("u1"), Some(json!({ "user": 1 })))
    );
}
