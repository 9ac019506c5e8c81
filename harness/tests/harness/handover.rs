//! The agent's side of a head start: the wait for the warm server's signal and the turn that takes its first step over (A §14.2, C.7).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use turnkeep_agent::{
    Agent, BeforeTurnComplete, Boot, ChatStart, HydrateMessages, Preload, Tool, ToolContext, TurnComplete, TurnInput,
    TurnStart, step_count_is,
};
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{Handover, MockChat, MockChatAgent, MockMode, MockOutcome};
use turnkeep_protocol::{ContentPart, ModelMessage, ToolState, UiMessage, UiMessageChunk, UiPart};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// Notes each hook of a run's first turn.
fn noting_all(agent: Agent, diary: &Diary) -> Agent {
    agent
        .on_boot(noting::<Boot>(diary, "boot"))
        .on_preload(noting::<Preload>(diary, "preload"))
        .on_chat_start(noting::<ChatStart>(diary, "chat-start"))
        .on_turn_start(noting::<TurnStart>(diary, "turn-start"))
        .on_before_turn_complete(noting::<BeforeTurnComplete>(diary, "before-complete"))
        .on_turn_complete(noting::<TurnComplete>(diary, "complete"))
}

/// Calls tools for as long as the model asks for it, and has one: `forecast`, which notes its inputs.
fn forecaster(diary: &Diary) -> Agent {
    let diary = diary.clone();
    let forecast = Tool::new("forecast", "Looks up the forecast", json!({}), move |input: Value, _: ToolContext| {
        diary.note(format!("forecast({})", input["city"].as_str().unwrap_or_default()));
        async { Ok(json!({ "sky": "clear" })) }
    });
    Agent::new("plain", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(5))) })
        .tools([forecast])
}

/// What hooks are told of a turn that is over.
type Told = Arc<Mutex<Vec<TurnComplete>>>;

fn telling(agent: Agent, told: &Told) -> Agent {
    let told = told.clone();
    agent.on_turn_complete(move |event: TurnComplete| {
        told.lock().unwrap().push(event);
        async { Ok(()) }
    })
}

async fn begin(agent: Agent, model: &MockLanguageModel) -> MockChatAgent {
    let mut chat = MockChat::new(agent).mode(MockMode::HandoverPrepare).start(model).await;
    chat.send_head_start([UiMessage::user("u-1", "Oslo?")]).await;
    chat
}

fn chunk(value: Value) -> UiMessageChunk {
    UiMessageChunk::from_value(value).unwrap()
}

/// The first step as the warm server streams it.
fn text_step(id: &str, text: &str) -> Vec<UiMessageChunk> {
    vec![
        UiMessageChunk::start(id),
        UiMessageChunk::start_step(),
        chunk(json!({ "type": "text-start", "id": "t" })),
        chunk(json!({ "type": "text-delta", "id": "t", "delta": text })),
        chunk(json!({ "type": "text-end", "id": "t" })),
        chunk(json!({ "type": "finish-step" })),
    ]
}

fn call_step(id: &str) -> Vec<UiMessageChunk> {
    let call = json!({ "type": "tool-input-available", "toolCallId": "c1", "toolName": "forecast",
        "input": { "city": "Oslo" } });
    let finish = chunk(json!({ "type": "finish-step" }));
    vec![UiMessageChunk::start(id), UiMessageChunk::start_step(), chunk(call), finish]
}

/// The first step's messages with an open call, as the wire has them (C-190).
fn open_call() -> Vec<ModelMessage> {
    let said = json!({ "role": "assistant", "content": [
        { "type": "text", "text": "Let me look. " },
        { "type": "tool-call", "toolCallId": "c1", "toolName": "forecast", "input": { "city": "Oslo" } },
        { "type": "tool-approval-request", "approvalId": "handover-approval-1", "toolCallId": "c1" },
    ] });
    let granted = json!({ "role": "tool", "content": [
        { "type": "tool-approval-response", "approvalId": "handover-approval-1", "approved": true },
    ] });
    [said, granted].map(|message| serde_json::from_value(message).unwrap()).into()
}

fn said(text: &str) -> [ModelMessage; 1] {
    [ModelMessage::assistant(vec![ContentPart::text(text)])]
}

#[tokio::test(start_paused = true)]
async fn a_skip_ends_the_run_without_hooks_chunks_or_boundary_and_keeps_the_message_aa53_a225_ca88() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("Clear.")]);
    let mut chat = begin(noting_all(plain(), &diary), &model).await;
    chat.stream_first_step(text_step("a-1", "Half a st")).await;

    chat.send_handover_skip().await;
    chat.advance(SECOND).await;

    assert_eq!((diary.read().as_str(), chat.outcome()), ("boot", Some(MockOutcome::Ok)));
    assert_eq!(chat.all_raw_chunks().len(), 6, "nothing was written behind the first step");
    assert_eq!(texts(&chat.get_snapshot().await.unwrap().messages), ["Oslo?"]);
    // What the warm server has left is nobody's answer: who speaks next gets one.
    chat.send("And now?").await.assert_text("Clear.");
    model.assert_prompt(0).reads(&["user: Oslo?", "user: And now?"]);
    chat.finish().await;
}

fn texts<'m>(messages: impl IntoIterator<Item = &'m UiMessage>) -> Vec<String> {
    messages.into_iter().map(UiMessage::text).collect()
}

#[tokio::test(start_paused = true)]
async fn a_final_text_gets_every_hook_and_no_model_call_aa54_a224_a231_c201_ca88() {
    let (diary, told) = (Diary::default(), Told::default());
    let model = MockLanguageModel::new();
    let agent = telling(noting_all(plain(), &diary), &told).on_turn_complete({
        let (diary, told) = (diary.clone(), told.clone());
        move |event: TurnComplete| {
            diary.note("complete");
            told.lock().unwrap().push(event);
            async { Ok(()) }
        }
    });
    let mut chat = begin(agent, &model).await;
    chat.stream_first_step(text_step("a-1", "Clear skies.")).await;

    let turn = chat.send_handover(Handover::new(said("Clear skies.")).message_id("a-1").is_final()).await;

    assert_eq!(diary.read(), "boot chat-start turn-start before-complete complete");
    turn.assert_records(&["turn-complete"]);
    let told = told.lock().unwrap().pop().unwrap();
    let response = told.response_message.clone().unwrap();
    assert_eq!(told.new_ui_messages.iter().map(|message| message.id.as_str()).collect::<Vec<_>>(), ["u-1", "a-1"]);
    assert_eq!((response.id.as_str(), response.text().as_str()), ("a-1", "Clear skies."));
    assert_eq!(told.finish_reason.as_ref().unwrap().as_str(), "stop");
    // Whoever keeps an event keeps its chat.
    drop(told);
    let saved = chat.get_snapshot().await.unwrap();
    assert_eq!(texts(&saved.messages), ["Oslo?", "Clear skies."]);
    assert_eq!((saved.last_in_event_id, saved.last_out_event_id), (turn.input(), turn.last_event_id()));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_call_runs_on_the_agent_and_the_answer_goes_on_under_the_same_id_aa55_aa64_a232_a233_d17_ca88() {
    let (diary, told) = (Diary::default(), Told::default());
    let model = MockLanguageModel::new().step([say("Clear skies.")]);
    let mut chat = begin(telling(forecaster(&diary), &told), &model).await;
    chat.stream_first_step(call_step("a-1")).await;

    let turn = chat.send_handover(Handover::new(open_call()).message_id("a-1")).await;

    assert_eq!(diary.read(), "forecast(Oslo)");
    turn.assert_records(&[
        "start",
        "tool-output-available",
        "start-step",
        "text-start",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
        "turn-complete",
    ]);
    assert_eq!(turn.chunks()[0], UiMessageChunk::start("a-1"));
    let call = [
        "user: Oslo?",
        "assistant: Let me look.  calls forecast {\"city\":\"Oslo\"}",
        "tool: forecast gives {\"sky\":\"clear\"}",
    ];
    model.assert_prompt(0).reads(&call);
    assert_eq!(model.calls()[0].prompt.step, 0, "the handler's step is not counted");
    // The answer has taken the place of the step.
    let saved = chat.get_snapshot().await.unwrap().messages;
    assert_eq!(texts(&saved), ["Oslo?", "Let me look. Clear skies."]);
    let part = saved[1].tool_part("c1").unwrap();
    assert_eq!((part.state, part.approval.as_ref()), (ToolState::OutputAvailable, None));
    assert_eq!(told.lock().unwrap().pop().unwrap().new_ui_messages.len(), 2);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn reasoning_keeps_its_metadata_aa56_a229_c202() {
    let model = MockLanguageModel::new();
    let mut chat = begin(plain(), &model).await;
    let partial: ModelMessage = serde_json::from_value(json!({ "role": "assistant", "content": [
        { "type": "reasoning", "text": "Hm.", "providerOptions": { "anthropic": { "signature": "s" } } },
        { "type": "text", "text": "Clear." },
    ] }))
    .unwrap();

    chat.send_handover(Handover::new([partial]).message_id("a-1").is_final()).await;

    let saved = chat.get_snapshot().await.unwrap().messages;
    let reasoning = saved[1].parts.iter().find_map(|part| match part {
        UiPart::Reasoning(_) => Some(json!(part)),
        _ => None,
    });
    let want = json!({ "text": "Hm.", "state": "done", "providerMetadata": { "anthropic": { "signature": "s" } } });
    assert_eq!(
        reasoning.map(|mut part| {
            part.as_object_mut().unwrap().remove("type");
            part
        }),
        Some(want)
    );
    chat.finish().await;
}

/// An author's own history: what comes in is kept, and told.
#[derive(Clone, Default)]
struct Database(Arc<Mutex<Vec<UiMessage>>>);

impl Database {
    /// Reads the history from here and stores what each turn leaves.
    fn keeps(&self, agent: Agent) -> Agent {
        let (reads, writes) = (self.clone(), self.clone());
        agent
            .hydrate_messages(move |event: HydrateMessages| {
                let mut rows = reads.0.lock().unwrap();
                for message in event.incoming_messages {
                    if !rows.iter().any(|row| row.id == message.id) {
                        rows.push(message);
                    }
                }
                let rows = rows.clone();
                async move { Ok(rows) }
            })
            .on_turn_complete(move |event: TurnComplete| {
                *writes.0.lock().unwrap() = event.ui_messages.to_vec();
                async { Ok(()) }
            })
    }

    fn texts(&self) -> Vec<String> {
        texts(&*self.0.lock().unwrap())
    }
}

#[tokio::test(start_paused = true)]
async fn a_final_text_is_kept_by_an_author_who_keeps_the_history_aa57_a228_ar30_ca88() {
    // AR-30: 1 the run has the partial; 2 turn 0 hydrates, and the author's history replaces the chain; 3 the partial must be in it.
    let (database, asked) = (Database::default(), Diary::default());
    let model = MockLanguageModel::new();
    let told = asked.clone();
    let agent = database.keeps(plain()).on_validate_messages(move |event: turnkeep_agent::ValidateMessages| {
        told.note(format!("{:?}", texts(&event.messages)));
        async move { Ok(event.messages) }
    });
    let mut chat = MockChat::new(agent).mode(MockMode::HandoverPrepare).start(&model).await;
    let history = [UiMessage::user("u-0", "Hi"), UiMessage::user("u-1", "Oslo?")];
    chat.send_head_start(history).await;

    chat.send_handover(Handover::new(said("Clear skies.")).message_id("a-1").is_final()).await;

    assert_eq!(asked.read(), r#"["Hi", "Oslo?"]"#);
    assert_eq!(database.texts(), ["Hi", "Oslo?", "Clear skies."]);
    assert!(chat.get_snapshot().await.is_none());
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_open_call_runs_once_over_an_authors_own_history_aa58_a229_a230_ar30_ca88() {
    let (database, diary) = (Database::default(), Diary::default());
    let model = MockLanguageModel::new().step([say("Clear skies.")]);
    let mut chat = begin(database.keeps(forecaster(&diary)), &model).await;
    chat.stream_first_step(call_step("a-1")).await;

    let turn = chat.send_handover(Handover::new(open_call()).message_id("a-1")).await;

    turn.assert_text("Clear skies.");
    assert_eq!(diary.read(), "forecast(Oslo)");
    assert_eq!(database.texts(), ["Oslo?", "Let me look. Clear skies."]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn no_hook_of_the_turn_runs_before_the_signal_aa59_a224_ca88() {
    let diary = Diary::default();
    let model = MockLanguageModel::new();
    let mut chat = begin(noting_all(plain(), &diary), &model).await;
    chat.stream_first_step(text_step("a-1", "Clear.")).await;
    chat.advance(SECOND * 20).await;
    assert_eq!(diary.read(), "boot");

    chat.send_handover(Handover::new(said("Clear.")).message_id("a-1").is_final()).await;

    assert_eq!(diary.read(), "boot chat-start turn-start before-complete complete");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_hears_nothing_ends_at_its_idle_time_and_never_sleeps_aa60_a225_a226_af16_c200_ca88() {
    let second = |idle: Option<u64>| idle.map(Duration::from_secs);
    // The agent's own time, then the payload's, then a minute.
    for (agents, payloads, want) in [(None, None, 60), (None, Some(20), 20), (Some(7), Some(20), 7)] {
        let (diary, model) = (Diary::default(), MockLanguageModel::new());
        let mut agent = noting_all(plain(), &diary).on_chat_suspend(noting(&diary, "suspend"));
        if let Some(idle) = second(agents) {
            agent = agent.idle_timeout(idle);
        }
        let mut chat = MockChat::new(agent).mode(MockMode::HandoverPrepare);
        if let Some(idle) = payloads {
            chat = chat.payload("idleTimeoutInSeconds", json!(idle));
        }
        let mut chat = chat.start(&model).await;
        let began = Instant::now();
        chat.send_head_start([UiMessage::user("u-1", "Oslo?")]).await;

        while chat.outcome().is_none() {
            chat.advance(SECOND / 10).await;
        }

        assert!((began.elapsed().as_secs_f64() - want as f64).abs() < 1.0, "{:?} for {want} s", began.elapsed());
        assert_eq!((diary.read().as_str(), chat.outcome()), ("boot", Some(MockOutcome::Ok)));
        assert!(chat.all_raw_chunks().is_empty());
        assert_eq!(texts(&chat.get_snapshot().await.unwrap().messages), ["Oslo?"]);
        chat.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_step_joins_the_history_that_the_run_began_with_aa65_aa13_a73() {
    let (diary, model) = (Diary::default(), MockLanguageModel::new().step([say("Rain.")]));
    let told = diary.clone();
    let agent = plain().on_turn_start(move |event: TurnStart| {
        told.note(format!("{:?}", texts(&event.ui_messages)));
        async { Ok(()) }
    });
    let mut chat = MockChat::new(agent).mode(MockMode::HandoverPrepare).start(&model).await;
    let history = [UiMessage::user("u-0", "Hi"), UiMessage::assistant("a-0", vec![UiPart::text("Hello")])];
    chat.send_head_start(history.into_iter().chain([UiMessage::user("u-1", "Oslo?")])).await;

    chat.send_handover(Handover::new(said("Clear.")).message_id("a-1").is_final()).await;
    chat.send("And Rome?").await.assert_text("Rain.");

    assert!(diary.read().starts_with(r#"["Hi", "Hello", "Oslo?", "Clear."]"#), "{}", diary.read());
    model.assert_prompt(0).reads(&[
        "user: Hi",
        "assistant: Hello",
        "user: Oslo?",
        "assistant: Clear.",
        "user: And Rome?",
    ]);
    chat.finish().await;
}
