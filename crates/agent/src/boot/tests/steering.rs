//! Messages that had joined an answer belong to its turn, however that ended.

use super::*;

/// An answer that `ids` joined after its first word.
fn steered(id: &str, ids: &[&str]) -> Vec<Value> {
    let injected = json!({ "type": "data-pending-message-injected", "id": "d", "data": { "messageIds": ids } });
    [begun(id, "hal"), vec![json!({ "type": "finish-step" }), injected, json!({ "type": "start-step" })]].concat()
}

fn finished() -> Vec<Value> {
    vec![json!({ "type": "finish-step" }), json!({ "type": "finish" })]
}

#[test]
fn a_message_that_joined_a_whole_answer_stands_in_front_of_it_a166_a48() {
    let found = Found {
        out: script(&[steered("a0", &["s"]), finished(), done(1)]),
        input: vec![user(0, "u0"), user(1, "s"), user(2, "u2")],
        ..Found::default()
    };

    check(&found, "u0 s a0", "u2", None);
}

#[test]
fn a_message_that_joined_an_answer_above_the_cursor_is_not_answered_twice_a166_a30() {
    // An action waits between the message that was served and the one that joined it.
    let found = Found {
        out: script(&[steered("a0", &["s"]), finished(), done(0)]),
        input: vec![user(0, "u0"), trigger(1, Trigger::Action), user(2, "s"), user(3, "s")],
        ..Found::default()
    };

    let plan = check(&found, "u0 s a0", "Action s", None);

    assert_eq!(plan.finished, [seq(2)]);
    assert_eq!(plan.recovered[1].seq_num, Some(seq(3)), "only the duplicate still wants its boundary (D-42)");
}

#[test]
fn a_message_that_joined_an_answer_that_died_goes_with_it_a166_d31() {
    let found = Found {
        out: script(&[steered("a0", &["s"])]),
        input: vec![user(0, "u0"), user(1, "u1"), user(2, "s")],
        ..Found::default()
    };

    let plan = check(&found, "u0 s a0", "u1", ABORTS);

    assert_eq!(plan.finished, [seq(0), seq(2)]);
}

#[test]
fn a_message_that_joined_before_the_first_word_runs_again_with_its_turn_a166_a290() {
    let injected = json!({ "type": "data-pending-message-injected", "id": "d", "data": { "messageIds": ["s"] } });
    let found = Found {
        out: script(&[vec![json!({ "type": "start", "messageId": "a0" }), injected]]),
        input: vec![user(0, "u0"), user(1, "s")],
        ..Found::default()
    };

    check(&found, "", "u0 s", None);
}

#[test]
fn a_message_that_joined_a_continued_answer_stands_in_front_of_it_a166_a205() {
    let answer = ChatInputChunk::message(ChatTaskWirePayload::submit("c", asking("a0", "output-available")));
    let found = |cursor: &[Vec<Value>]| Found {
        snapshot: snapshot(&[UiMessage::user("u0", ""), asking("a0", "input-available")], Some(50), Some(0)),
        out: script(&[vec![steered("a0", &["s"])], cursor.to_vec()].concat()),
        input: vec![input(1, answer.clone()), user(2, "s")],
        ..Found::default()
    };

    check(&found(&[finished(), done(2)]), "u0 s a0", "", None);
    check(&found(&[]), "u0 s a0", "", ABORTS);
}
