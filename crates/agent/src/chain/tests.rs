use serde_json::{Value, json};

use super::*;

fn user(id: &str) -> UiMessage {
    UiMessage::user(id, id)
}

fn assistant(id: &str, text: &str) -> UiMessage {
    UiMessage::assistant(id, vec![UiPart::text(text)])
}

fn asking(id: &str, call: &str, state: &str) -> UiMessage {
    let part = json!({ "type": "tool-ask", "toolCallId": call, "state": state, "input": 1, "output": 2 });
    serde_json::from_value(json!({ "id": id, "role": "assistant", "parts": [part] })).unwrap()
}

fn ids(chain: &Chain) -> Vec<&str> {
    chain.messages().iter().map(|message| message.id.as_str()).collect()
}

fn absorb(chain: &mut Chain, message: UiMessage) -> Absorbed {
    chain.absorb(message, &ServerTools::default())
}

#[test]
fn a_new_message_is_appended_a90() {
    let mut chain = Chain::seeded(vec![user("u1"), assistant("a1", "x")]);

    assert_eq!(absorb(&mut chain, user("u2")), Absorbed::Appended { refused: vec![] });
    assert_eq!(ids(&chain), ["u1", "a1", "u2"]);
}

#[test]
fn an_answer_to_a_call_is_laid_over_the_stored_message_a90_ar28() {
    let mut chain = Chain::seeded(vec![user("u1"), asking("a1", "c", "input-available")]);

    let answer = asking("a1", "c", "output-available");

    assert_eq!(absorb(&mut chain, answer), Absorbed::Merged { id: "a1".to_owned(), refused: vec![], is_news: true });
    let call = chain.find("a1").unwrap().tool_part("c").unwrap();
    assert_eq!((call.input.clone(), call.output.clone()), (Some(json!(1)), Some(json!(2))));
}

#[test]
fn an_answer_under_a_new_id_finds_its_message_even_in_a_restored_chain_ar15_a91() {
    let mut chain = Chain::seeded(vec![user("u1"), asking("a1", "c", "input-available")]);

    let absorbed = absorb(&mut chain, asking("a2", "c", "output-available"));

    assert_eq!(absorbed, Absorbed::Merged { id: "a1".to_owned(), refused: vec![], is_news: true });
    assert_eq!(ids(&chain), ["u1", "a1"]);
}

#[test]
fn an_answer_for_a_tool_that_runs_here_is_refused_a203_af8() {
    let mut chain = Chain::seeded(vec![asking("a1", "c", "input-available")]);

    let absorbed = chain.absorb(asking("a1", "c", "output-available"), &ServerTools::from_iter(["ask".to_owned()]));

    assert!(matches!(absorbed, Absorbed::Merged { refused, is_news: false, .. } if refused.len() == 1));
    assert_eq!(chain.find("a1"), Some(&asking("a1", "c", "input-available")));
}

#[test]
fn an_answer_that_was_heard_is_no_news_and_one_that_was_not_is_d42_a202() {
    let answer = || asking("a1", "c", "output-available");
    let is_news = |messages: Vec<UiMessage>| match absorb(&mut Chain::seeded(messages), answer()) {
        Absorbed::Merged { is_news, .. } => is_news,
        other => panic!("{other:?}"),
    };
    let with = |part: UiPart| {
        let mut message = answer();
        message.parts.push(part);
        message
    };

    assert!(is_news(vec![asking("a1", "c", "input-available")]));
    // The turn that took it failed before its first word.
    assert!(is_news(vec![answer()]));
    assert!(is_news(vec![with(UiPart::step_start())]));
    assert!(!is_news(vec![with(UiPart::text("thanks"))]));
    assert!(!is_news(vec![answer(), user("u2")]));
}

#[test]
fn a_user_message_that_has_its_answer_does_not_run_again_ar10_a71_d42() {
    let mut chain = Chain::seeded(vec![user("u1"), assistant("a1", "x"), user("u2")]);

    assert_eq!(absorb(&mut chain, user("u1")), Absorbed::AlreadyAnswered);
    assert_eq!(absorb(&mut chain, user("u2")), Absorbed::AlreadyThere);
    assert_eq!(ids(&chain), ["u1", "a1", "u2"]);
}

#[test]
fn messages_without_an_id_are_always_new_a58_aa119() {
    let mut chain = Chain::default();

    absorb(&mut chain, user(""));
    absorb(&mut chain, user(""));

    assert_eq!(chain.messages().len(), 2);
}

#[test]
fn regenerate_keeps_up_to_the_last_user_message_a92_a149() {
    let all = || {
        Chain::seeded(vec![user("u1"), assistant("a1", "x"), user("u2"), assistant("a2", "y"), assistant("a3", "z")])
    };
    let cases: [(Option<&str>, &[&str]); 5] = [
        (None, &["u1", "a1", "u2"]),
        (Some("a2"), &["u1", "a1", "u2"]),
        (Some("a1"), &["u1"]),
        (Some("nobody"), &["u1", "a1", "u2"]),
        // A user message is not an answer to redo.
        (Some("u1"), &["u1", "a1", "u2"]),
    ];
    for (message_id, want) in cases {
        let mut chain = all();
        assert_eq!(chain.regenerate(message_id), Ok(()));
        assert_eq!(ids(&chain), want, "{message_id:?}");
    }
}

#[test]
fn regenerate_without_a_user_message_changes_nothing_a92() {
    let mut chain = Chain::seeded(vec![assistant("a1", "x")]);

    assert_eq!(chain.regenerate(None), Err(NothingToRegenerate));
    assert_eq!(ids(&chain), ["a1"]);
}

#[test]
fn a_response_replaces_its_namesake_in_place_or_is_pushed_a102_a205_aa116_aa117() {
    let mut chain = Chain::seeded(vec![user("u1"), assistant("a1", "x"), user("u2")]);

    assert!(chain.commit(assistant("a1", "better")));
    assert!(chain.commit(assistant("a2", "y")));

    assert_eq!(ids(&chain), ["u1", "a1", "u2", "a2"]);
    assert_eq!(chain.find("a1"), Some(&assistant("a1", "better")));
}

#[test]
fn an_empty_response_is_not_taken_a102_af9() {
    let mut chain = Chain::seeded(vec![user("u1")]);

    assert!(!chain.commit(UiMessage::assistant("a1", vec![])));
    assert!(!chain.commit(UiMessage::assistant("a1", vec![UiPart::step_start()])));

    assert_eq!(ids(&chain), ["u1"]);
}

#[test]
fn history_records_change_the_chain_as_their_turns_did() {
    let mut chain = Chain::seeded(vec![user("u1"), assistant("a1", "x")]);
    let none = ServerTools::default();

    chain.apply_history(&ChatTaskWirePayload::new("c", Trigger::RegenerateMessage), &none);
    assert_eq!(ids(&chain), ["u1"]);
    chain.apply_history(&ChatTaskWirePayload::submit("c", user("u2")), &none);
    assert_eq!(ids(&chain), ["u1", "u2"]);
    chain.apply_history(
        &ChatTaskWirePayload { action: Some(Value::Null), ..ChatTaskWirePayload::new("c", Trigger::Action) },
        &none,
    );
    assert_eq!(ids(&chain), ["u1", "u2"]);
}

#[test]
fn an_unknown_answer_is_taken_without_its_calls_a203() {
    let mut chain = Chain::seeded(vec![user("u1")]);
    let forged = asking("f1", "c", "output-available");
    let mut spoken = forged.clone();
    spoken.id = "f2".to_owned();
    spoken.parts.insert(0, UiPart::text("hi"));

    assert!(matches!(absorb(&mut chain, forged), Absorbed::Refused(refused) if refused.len() == 1));
    assert!(matches!(absorb(&mut chain, spoken), Absorbed::Appended { refused } if refused.len() == 1));
    assert_eq!(chain.messages().len(), 2);
    assert_eq!(chain.messages()[1].parts, [UiPart::text("hi")]);
}
