use std::sync::Arc;

use serde_json::{Value, json};
use turnkeep_model::{FinishReason, GenerationEvent, ModelError, StreamPart, UiStreamOptions};
use turnkeep_protocol::Messages;

use crate::testing::*;
use crate::{Action, Agent, Tool, TurnComplete, TurnInput, step_count_is};

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

fn saved(session: &FakeSession) -> Messages {
    session.state().snapshot.as_ref().unwrap().messages.clone()
}

/// Tells the model at the start, the tokens of each step, and the end.
fn metadata(event: &GenerationEvent) -> Option<Value> {
    match event {
        GenerationEvent::Start => Some(json!({ "model": "fake", "at": { "start": 1 } })),
        GenerationEvent::FinishStep { usage, .. } => Some(json!({ "tokens": usage.total_tokens })),
        GenerationEvent::Finish { .. } => Some(json!({ "at": { "end": 2 } })),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn an_authors_metadata_is_told_along_the_way_and_kept_with_the_message_a121_a125() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    session.send(action(json!("go")));
    let agent = talker()
        .ui_options(UiStreamOptions::new().message_metadata(metadata))
        .on_action(|event: Action| async move { Ok(event.stream_text()) });

    run(&session, agent, FakeModel::echo()).await;

    let one = "start start-step text-start re hi text-end finish-step message-metadata finish";
    assert_eq!(session.story(), format!("{one} done(0) {one} done(1)"));
    let want = json!({ "model": "fake", "at": { "start": 1, "end": 2 }, "tokens": 3 });
    for message in saved(&session).iter().skip(1) {
        assert_eq!(message.metadata, Some(want.clone()));
    }
}

#[tokio::test(start_paused = true)]
async fn one_answers_options_win_over_the_agents_one_by_one_and_only_once_a121() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let stream = turn.stream_text();
        Ok(if turn.turn == 0 { stream.ui_options(UiStreamOptions::new().send_reasoning(true)) } else { stream })
    })
    .ui_options(UiStreamOptions::new().send_reasoning(false).generate_message_id(|| "fixed".to_owned()))
    .on_turn_start(|event| async move {
        event.chat.history().remove("fixed");
        Ok(())
    });
    let model = FakeModel::new(|_| {
        let reasoning = StreamPart::ReasoningStart { id: "r".to_owned(), provider_metadata: None };
        [vec![part(reasoning)], says("x")].concat()
    });

    run(&session, agent, model).await;

    let want = "start start-step reasoning-start text-start x text-end finish-step finish done(0) \
                start start-step text-start x text-end finish-step finish done(1)";
    assert_eq!(session.story(), want);
    assert_eq!(session.saved_ids().last().unwrap(), "fixed");
}

#[tokio::test(start_paused = true)]
async fn reasoning_that_no_reader_gets_goes_into_the_next_step_with_its_signature_a118_a121() {
    // D-65.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let signed = || Some(serde_json::from_value(json!({ "anthropic": { "signature": "s" } })).unwrap());
    let model = FakeModel::new(move |prompt| {
        let told: Vec<_> = prompt.messages.iter().map(|message| serde_json::to_value(message).unwrap()).collect();
        let last = prompt.messages.last().unwrap().text();
        match last.as_str() {
            "a" => [
                vec![
                    part(StreamPart::ReasoningStart { id: "r".to_owned(), provider_metadata: None }),
                    part(StreamPart::ReasoningDelta {
                        id: "r".to_owned(),
                        delta: "hm".to_owned(),
                        provider_metadata: None,
                    }),
                    part(StreamPart::ReasoningEnd { id: "r".to_owned(), provider_metadata: signed() }),
                ],
                calls("c", "t", json!({})),
            ]
            .concat(),
            "b" => says("again"),
            // The step behind the call: what the model thought comes first in its own message.
            _ => {
                let thought = &told[told.len() - 2]["content"][0];
                says(&format!("{} {} {}", thought["type"], thought["text"], thought["providerOptions"]))
            }
        }
    });
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let tool = Tool::new("t", "", json!({}), |_: Value, _| async { Ok(json!(1)) });
        Ok(turn.stream_text().tools([tool]).stop_when(step_count_is(5)))
    })
    .ui_options(UiStreamOptions::new().send_reasoning(false));

    run(&session, agent, model).await;

    assert!(!session.story().contains("reasoning-"), "{}", session.story());
    let answer = &saved(&session)[1];
    assert_eq!(answer.text(), r#""reasoning" "hm" {"anthropic":{"signature":"s"}}"#);
    assert!(answer.parts.iter().all(|part| part.kind() != "reasoning"), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn reasoning_that_no_reader_gets_comes_back_with_the_outcome_of_a_call_that_waited_a118_a121_a134_d68() {
    for (decides, is_next_run) in [(true, false), (true, true), (false, false)] {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        let signed = || Some(serde_json::from_value(json!({ "anthropic": { "signature": "s" } })).unwrap());
        let thoughts = |prompt: &turnkeep_model::Prompt| {
            let parts = prompt.messages.iter().flat_map(|message| &message.content);
            let kinds: Vec<_> = parts.map(turnkeep_protocol::ContentPart::kind).collect();
            kinds.join(" ")
        };
        let model = FakeModel::new(move |prompt| {
            let mut said = vec![part(StreamPart::ReasoningStart { id: "r".to_owned(), provider_metadata: None })];
            said.push(part(StreamPart::ReasoningEnd { id: "r".to_owned(), provider_metadata: signed() }));
            match prompt.messages.len() {
                1 => said.extend(calls("c", "t", json!({}))),
                _ => said.extend(says(&thoughts(prompt))),
            }
            said
        });
        let agent = || {
            Agent::new("test", |turn: TurnInput| async move {
                let tool = Tool::new("t", "", json!({}), |_: Value, _| async { Ok(json!(1)) }).needs_approval();
                Ok(turn.stream_text().tools([tool]).stop_when(step_count_is(5)))
            })
            .ui_options(UiStreamOptions::new().send_reasoning(false))
            .idle_timeout(std::time::Duration::from_secs(5))
        };
        let talk = async {
            session.until_turns(1).await;
            if !is_next_run {
                session.send(decision(&saved(&session)[1], "c", decides));
                session.until_turns(2).await;
                session.say("b");
            }
        };
        tokio::join!(run(&session, agent(), model.clone()), talk);
        if is_next_run {
            session.send(decision(&saved(&session)[1], "c", decides));
            session.say("b");
            let next = lease(&session, 1, json!({ "continuation": true }));
            serve(&session, agent(), model, next).await.expect("the run ends well");
        }

        // With its signature, an empty thought is one that the provider has kept to itself.
        let want = "text reasoning tool-call tool-approval-request tool-approval-response tool-result";
        assert_eq!(saved(&session)[1].text(), want, "{decides} {is_next_run}");
        // The answer is done with: later turns read what people have.
        let later = "text tool-call tool-approval-request tool-approval-response tool-result text text";
        assert_eq!(saved(&session)[3].text(), later, "{decides} {is_next_run}");
        assert!(!session.story().contains("reasoning-"), "{}", session.story());
        let snapshot = session.state().snapshot.clone().unwrap();
        assert!(snapshot.withheld.is_none() && !serde_json::to_string(&snapshot).unwrap().contains("signature"));
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_masked_and_ends_left_out_as_the_author_chooses_a121_a122_d14() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let options = UiStreamOptions::new().on_error(|_| "something went wrong".to_owned());
    let hooked = Diary::default();
    let agent = talker().ui_options(options.send_start(false).send_finish(false)).on_turn_complete(noted(
        &hooked,
        "on_turn_complete",
        |event: TurnComplete| async move {
            // The author reads the real reason.
            let want = (event.turn == 0).then_some("overloaded at host 7");
            assert_eq!(event.error.as_deref(), want);
            Ok(())
        },
    ));
    let model = FakeModel::new(|prompt| match prompt.messages.len() {
        1 => vec![part(StreamPart::Error(ModelError::unavailable("overloaded at host 7")))],
        _ => [says("sure"), vec![ends(FinishReason::Stop)]].concat(),
    });

    run(&session, agent, model).await;

    assert_eq!(entries(&hooked).len(), 2);
    let want = "start-step error(something went wrong) done(0) start-step text-start sure text-end finish-step done(1)";
    assert_eq!(session.story(), want);
    assert_eq!(session.saved_texts(), ["a", "b", "sure"]);
}

/// Fails for a reason that is no client's business.
fn failing() -> Tool {
    Tool::new("t", "", json!({ "type": "object", "required": ["of"] }), |_: Value, _| async {
        Err("port 7 is shut".into())
    })
}

/// A model that makes a call, by turns a good one and one without its input, and then says what it reads of the outcome.
fn asking_why(tool: &'static str, input: Value) -> Arc<FakeModel> {
    FakeModel::new(move |prompt| {
        let newest = prompt.messages.last().unwrap();
        match newest.content.iter().find(|part| part.kind() == "tool-result") {
            None if newest.text() == "a" => calls("c", tool, input.clone()),
            None => {
                let outcomes = prompt.messages.iter().flat_map(|message| &message.content);
                let told: Vec<_> = outcomes.filter(|part| part.kind() == "tool-result").collect();
                says(&serde_json::to_string(&told).unwrap())
            }
            Some(outcome) => says(&serde_json::to_string(outcome).unwrap()),
        }
    })
}

#[tokio::test(start_paused = true)]
async fn the_model_reads_why_a_call_failed_whatever_the_client_is_told_a119_a122() {
    // D-65.
    let invalid = "invalid input for tool `t`";
    for (tool, input, why) in [
        ("t", json!({ "of": 1 }), "port 7 is shut"),
        ("t", json!({}), invalid),
        ("x", json!({}), "there is no tool `x`"),
    ] {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        session.say("b");
        let agent = Agent::new("test", |turn: TurnInput| async move {
            Ok(turn.stream_text().tools([failing()]).stop_when(step_count_is(5)))
        })
        .ui_options(UiStreamOptions::new().on_error(|_| "something went wrong".to_owned()));

        run(&session, agent, asking_why(tool, input)).await;

        let (answer, later) = (&saved(&session)[1], &saved(&session)[3]);
        assert!(answer.text().contains(why) && !answer.text().contains("went wrong"), "{}", answer.text());
        // What stays is what people were told, and later turns read that.
        assert_eq!(answer.tool_part("c").unwrap().error_text.as_deref(), Some("something went wrong"));
        assert!(later.text().contains("went wrong") && !later.text().contains(why), "{}", later.text());
    }
}

#[tokio::test(start_paused = true)]
async fn the_model_reads_why_an_approved_call_failed_whatever_the_client_is_told_a119_a122_a134() {
    // D-65.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        Ok(turn.stream_text().tools([failing().needs_approval()]).stop_when(step_count_is(5)))
    })
    .ui_options(UiStreamOptions::new().on_error(|_| "something went wrong".to_owned()))
    .idle_timeout(std::time::Duration::from_secs(5));
    let talk = async {
        session.until_turns(1).await;
        session.send(decision(&saved(&session)[1], "c", true));
    };

    tokio::join!(run(&session, agent, asking_why("t", json!({ "of": 1 }))), talk);

    let answer = &saved(&session)[1];
    assert!(answer.text().contains("port 7 is shut"), "{}", answer.text());
    assert_eq!(answer.tool_part("c").unwrap().error_text.as_deref(), Some("something went wrong"));
}
