//! Messages that answer no record: what hooks have piped, and the answers to what a recovery hook invented (A-65, D-64).

use super::*;

/// Marks a message's chunks as the runtime does.
fn apart(mut chunks: Vec<Value>) -> Vec<Value> {
    for chunk in &mut chunks {
        if chunk["type"] == "start" || chunk["type"] == "error" {
            chunk["apart"] = json!(true);
        }
    }
    chunks
}

const ONLY_ABORTS: Option<Closing> = Some(Closing { aborts: true, tells: false, ends: false });

fn found(out: &[Vec<Value>]) -> Found {
    Found { out: script(out), input: vec![user(0, "u0"), user(1, "u1")], ..Found::default() }
}

#[test]
fn a_message_that_answers_nothing_is_no_records_answer_a65_d31_d64() {
    let greeting = || apart(text("hi", "Hello"));
    let error = || apart(vec![json!({ "type": "error", "errorText": "no" })]);

    check(&found(&[greeting()]), "", "u0 u1", None);
    check(&found(&[error()]), "", "u0 u1", None);
    check(&found(&[greeting(), vec![json!({ "type": "data-x", "data": 1 })]]), "", "u0 u1", None);
    // Beside an answer it changes nothing.
    check(&found(&[greeting(), begun("a0", "hal")]), "u0 a0", "u1", ABORTS);
    check(&found(&[greeting(), text("a0", "x")]), "u0 a0", "u1", ONLY_CLOSES);
    check(&found(&[text("a0", "x"), greeting()]), "u0 a0", "u1", ONLY_CLOSES);
    let bare = || vec![json!({ "type": "start", "messageId": "a0" })];
    check(&found(&[greeting(), bare()]), "", "u0 u1", None);
    check(&found(&[bare(), greeting()]), "", "u0 u1", None);
}

#[test]
fn a_cut_message_that_answers_nothing_is_ended_and_no_record_pays_for_it_a60_a63_d64() {
    let cut = apart(begun("hi", "Hel"));

    let plan = check(&found(std::slice::from_ref(&cut)), "", "u0 u1", ONLY_ABORTS);

    assert_eq!(plan.finished, []);
    let partial = replay(&found(&[cut])).open_turn.unwrap().partial.unwrap();
    assert_eq!(partial.cleaned.text(), "Hel", "a recovery hook hears of it all the same");
}
