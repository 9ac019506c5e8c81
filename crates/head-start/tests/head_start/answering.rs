//! The response form while all goes well (C §5.2).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_head_start::HeadStartRequest;
use turnkeep_model::{StreamPart, ToolSpec};
use turnkeep_protocol::UiMessage;

use crate::net;
use crate::rig::{CHAT, Rig, Say, Seen, call, kinds, question, text};

#[tokio::test(start_paused = true)]
async fn a_text_is_streamed_handed_over_as_final_and_closed_by_the_agents_boundary_ca80_ca82_c185_c187_cr29_cr30() {
    let rig = Rig::start(text(["Rain, ", "4 degrees."])).await;

    let mut answer = rig.ask().await;
    let first = answer.until("finish").await;
    let handover = rig.handover().await;
    rig.agent_ends(0).await;
    let asked = tokio::time::Instant::now();
    let last = answer.rest().await;

    assert_eq!(answer.header("content-type"), "text/event-stream");
    assert_eq!(answer.header("cache-control"), "no-cache, no-transform");
    assert_eq!(answer.header("connection"), "keep-alive");
    assert_eq!(answer.header("x-vercel-ai-ui-message-stream"), "v1");
    assert_eq!(answer.header("x-trigger-chat-id"), CHAT);
    assert!(answer.header("x-trigger-chat-access-token").len() > 20);
    let want = ["start", "start-step", "text-start", "text-delta", "text-delta", "text-end", "finish-step", "finish"];
    assert_eq!(kinds(&first), want);
    assert_eq!(handover["isFinal"], json!(true));
    assert_eq!(handover["messageId"], first[0]["messageId"], "one id for browser, run and storage");
    let said = json!([{ "role": "assistant", "content": [{ "type": "text", "text": "Rain, 4 degrees." }] }]);
    assert_eq!(handover["partialAssistantMessage"], said);
    let state = json!({ "type": "trigger:session-state", "lastEventId": "8" });
    assert_eq!(last, [json!({ "type": "trigger:turn-complete" }), state]);
    assert!(asked.elapsed() < Duration::from_secs(1), "a boundary ends the response at once");
}

#[tokio::test(start_paused = true)]
async fn a_call_is_handed_over_with_consent_and_the_agents_first_record_is_the_next_one_c189_ca90_cr28_ca82() {
    let rig = Rig::running(
        call(),
        |head_start| head_start,
        |step, model| {
            let spec = ToolSpec { name: "forecast".to_owned(), description: None, input_schema: json!({}) };
            Ok(step.stream_text(model).system("Be brief.").tools([spec]))
        },
    )
    .await;

    let mut answer = rig.ask().await;
    let first = answer.until("finish-step").await;
    let handover = rig.handover().await;
    let output = json!({ "type": "tool-output-available", "toolCallId": "t1", "output": 4 });
    rig.agent_says(&[output.clone(), json!({ "type": "start-step" })]).await;
    rig.agent_ends(0).await;
    let last = answer.rest().await;

    assert_eq!(kinds(&first), ["start", "start-step", "tool-input-available", "finish-step"]);
    assert_eq!(handover["isFinal"], json!(false));
    let [said, granted] = &handover["partialAssistantMessage"].as_array().unwrap()[..] else { panic!("{handover}") };
    assert_eq!(kinds(said["content"].as_array().unwrap()), ["tool-call", "tool-approval-request"]);
    let response = json!({ "type": "tool-approval-response", "approvalId": "handover-approval-1", "approved": true });
    assert_eq!(granted["content"], json!([response]));
    assert_eq!(last[0], output, "no record is skipped and none comes twice");
    assert_eq!(kinds(&last[1..]), ["start-step", "trigger:turn-complete", "trigger:session-state"]);
    let prompts = rig.model.prompts.lock().unwrap();
    assert_eq!((prompts[0].system.as_deref(), prompts[0].tools.len()), (Some("Be brief."), 1));
    assert_eq!(
        prompts[0].messages[0].text(),
        "What is it like in Oslo?",
        "converted before the author is asked (C-181)"
    );
}

#[tokio::test(start_paused = true)]
async fn the_step_is_on_out_in_a_few_batches_before_the_run_is_told_c188_ar33() {
    let seen = Arc::new(Seen::default());
    let mut step = vec![Say::Part(StreamPart::text_start("1"))];
    for n in 0..20 {
        step.push(Say::Part(StreamPart::text_delta("1", n.to_string())));
        step.push(Say::Wait(Duration::from_millis(50)));
    }
    step.extend(text(["a", "b"]).split_off(3));
    let watch = seen.clone();
    let rig = Rig::with(step, |head_start| head_start.fetch(watch.fetch(|_, _| false))).await;

    let mut answer = rig.ask().await;
    answer.until("finish").await;
    let handover = rig.handover().await;
    let out = rig.out_kinds().await;

    assert_eq!(handover["kind"], json!("handover"));
    assert_eq!(out.len(), 26, "{out:?}");
    assert_eq!(out.last().map(String::as_str), Some("finish"));
    let n_batches = seen.count("/out/batch");
    assert!((4..=7).contains(&n_batches), "a second of words in {n_batches} batches");
}

#[tokio::test(start_paused = true)]
async fn a_browser_sees_each_word_before_it_is_on_out_c188() {
    let mut step = text(["Rain", "."]);
    step.insert(2, Say::Wait(Duration::from_secs(5)));
    let rig = Rig::start(step).await;

    let mut answer = rig.ask().await;
    answer.until("text-delta").await;

    assert_eq!(rig.out_kinds().await.len(), 0, "nothing waits for `out`");
    tokio::time::sleep(Duration::from_millis(250)).await;
    assert_eq!(rig.out_kinds().await.len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_slow_browser_slows_the_model_down_c214() {
    let mut step = vec![Say::Part(StreamPart::text_start("1"))];
    step.extend((0..1000).map(|n| Say::Part(StreamPart::text_delta("1", n.to_string()))));
    step.push(Say::Hang);
    let rig = Rig::start(step).await;

    let answer = rig.ask().await;
    tokio::time::sleep(Duration::from_secs(10)).await;

    let n_written = rig.out_kinds().await.len();
    assert!((64..80).contains(&n_written), "{n_written} chunks for a browser that takes none");
    drop(answer);
}

#[tokio::test(start_paused = true)]
async fn a_stitched_read_outlives_its_windows_c197_cf5() {
    let rig = Rig::start(call()).await;
    let mut answer = rig.ask().await;
    answer.until("finish-step").await;
    rig.handover().await;

    // Longer than two read windows.
    tokio::time::sleep(Duration::from_secs(300)).await;
    rig.agent_says(&[json!({ "type": "tool-output-available", "toolCallId": "t1", "output": 4 })]).await;
    rig.agent_ends(0).await;

    let last = answer.rest().await;
    assert_eq!(kinds(&last), ["tool-output-available", "trigger:turn-complete", "trigger:session-state"]);
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_says_nothing_is_given_up_without_a_turns_end_c197() {
    let rig = Rig::start(call()).await;
    let mut answer = rig.ask().await;
    answer.until("finish-step").await;
    let asked = tokio::time::Instant::now();

    let last = answer.rest().await;

    assert_eq!(last, [json!({ "type": "trigger:session-state", "lastEventId": "3" })]);
    assert!(asked.elapsed() > Duration::from_secs(600), "a tool may be silent for long");
    assert!(rig.heard()[0].starts_with("retries exhausted"), "{:?}", rig.heard());
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_is_there_gets_an_ordinary_turn_and_no_model_is_asked_c198_cr32() {
    let rig = Rig::start(text(["Rain", "."])).await;
    rig.ask().await.until("finish").await;
    rig.handover().await;
    rig.agent_ends(0).await;

    let again = HeadStartRequest::new(CHAT, [UiMessage::user("u1", "Hi"), UiMessage::user("u2", "And tomorrow?")]);
    let mut answer = crate::rig::Answer::new(rig.head_start.respond(again).await.unwrap());
    net::settle().await;
    rig.agent_ends(0).await;
    rig.agent_says(&[json!({ "type": "start", "messageId": "a2" })]).await;
    rig.agent_ends(1).await;
    let all = answer.rest().await;

    assert_eq!(rig.model.prompts.lock().unwrap().len(), 1);
    let asked = &rig.inputs().await[1];
    assert_eq!((&asked["kind"], &asked["payload"]["trigger"]), (&json!("message"), &json!("submit-message")));
    assert_eq!(asked["payload"]["message"]["id"], json!("u2"));
    let want = ["trigger:session-state", "start", "trigger:turn-complete", "trigger:session-state"];
    assert_eq!(kinds(&all), want, "nothing of the turn before, and its late boundary ends nothing");
    assert_eq!((&all[0]["lastEventId"], &all[3]["lastEventId"]), (&json!("8"), &json!("11")));
    assert!(answer.header("x-trigger-chat-access-token").len() > 20);
}

#[tokio::test(start_paused = true)]
async fn the_session_is_made_for_a_handover_with_the_pages_history_and_data_a221_c211() {
    let rig = Rig::start(text(["Rain", "."])).await;
    let request = question().with_metadata(json!({ "user": "u7" }));

    let mut answer = crate::rig::Answer::new(rig.head_start.respond(request).await.unwrap());
    let chunks = answer.until("finish").await;

    let session = rig.sessions.retrieve(CHAT).await.unwrap();
    let payload = Value::Object(session.trigger_config.base_payload);
    assert_eq!(payload["trigger"], json!("handover-prepare"));
    assert_eq!(payload["headStartMessages"], json!(question().messages()));
    assert_eq!(payload["metadata"], json!({ "user": "u7" }));
    assert_eq!(session.trigger_config.options.tags, Some(vec![format!("chat:{CHAT}")]));
    assert!(!json!(chunks).to_string().contains("u7"), "client data never comes back");
}
