//! An agent whose tool asks another agent, both served by workers of one session server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_agent::{Agent, AskAgent, Signal, Tool, ToolContext, TurnComplete, TurnInput, last_text, step_count_is};
use turnkeep_client::ChatStream;
use turnkeep_harness::model::{MockLanguageModel, call, fail, say, stall};
use turnkeep_protocol::{ToolState, UiMessage, UiMessageChunk};

use crate::stage::{KEY, Stage, chat};

const CHILD_CHAT: &str = "child-chat";

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Topic {
    topic: String,
}

/// The agent that people talk to; its only tool asks the researcher in `child_chat`.
fn editor(child_chat: &'static str) -> Agent {
    let research = Tool::streaming("research", "Researches a topic", move |input: Topic, ctx: ToolContext| {
        let chat = chat(ctx.chat.host(), "researcher", child_chat);
        AskAgent::new(chat, input.topic).end_run().answer(&ctx)
    });
    Agent::new("editor", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(3))) })
        .tools([research.to_model_output(last_text)])
}

type Told = Arc<Mutex<Vec<String>>>;

/// The agent that is asked; tells how its turns and runs go.
fn researcher(told: &Told) -> Agent {
    let (turns, told) = (told.clone(), told.clone());
    Agent::new("researcher", |turn: TurnInput| async move { Ok(turn.stream_text()) })
        .on_turn_complete(move |event: TurnComplete| {
            let stopped = if event.stopped { " stopped" } else { "" };
            let text = event.response_message.map(|message| message.text()).unwrap_or_default();
            turns.lock().unwrap().push(format!("{}: {text}{stopped}", event.chat.id()));
            async { Ok(()) }
        })
        .on_chat_suspend(move |_| {
            told.lock().unwrap().push("sleeps".to_owned());
            async { Ok(()) }
        })
}

fn asking(topic: &str) -> MockLanguageModel {
    MockLanguageModel::new().step([call("research", json!({ "topic": topic }))])
}

/// Reads a reply to its end: the outputs of the tool as the page saw them, and the message.
async fn read(mut stream: ChatStream) -> (Vec<Value>, Vec<bool>, UiMessage) {
    let (mut outputs, mut preliminary) = (Vec::new(), Vec::new());
    let mut message = turnkeep_protocol::reduce::MessageReducer::new();
    while let Some(delivered) = stream.next().await {
        let chunk = delivered.unwrap().chunk;
        if let UiMessageChunk::ToolOutputAvailable(output) = &chunk {
            outputs.push(output.output.clone().unwrap());
            preliminary.push(output.preliminary == Some(true));
        }
        message.apply(&chunk).unwrap();
    }
    (outputs, preliminary, message.into_message())
}

fn text(message: &Value) -> String {
    serde_json::from_value::<UiMessage>(message.clone()).unwrap().text()
}

#[tokio::test(start_paused = true)]
async fn each_state_of_the_other_agents_message_is_shown_and_the_model_reads_its_text_a219() {
    let told = Told::default();
    let (asks, answers) =
        (asking("otters").step([say("They hold hands.")]), [say("Otters "), say("hold "), say("hands.")]);
    let researches = MockLanguageModel::new().step(answers);
    let stage = Stage::new([(editor(CHILD_CHAT), asks.clone()), (researcher(&told), researches.clone())]).await;

    let stream = stage.chat("editor", "chat").send_message("Tell me of otters").await.unwrap();
    let (outputs, preliminary, message) = read(stream).await;

    let texts: Vec<String> = outputs.iter().map(text).collect();
    let growing = ["Otters ", "Otters hold ", "Otters hold hands."];
    for state in growing {
        assert!(texts.iter().any(|text| text == state), "{state} is missing in {texts:?}");
    }
    assert!(texts.is_sorted_by(|one, next| next.starts_with(one.as_str())), "{texts:?}");
    assert!(outputs.windows(2).rev().skip(1).all(|pair| pair[0] != pair[1]), "no state is shown twice");
    assert!(preliminary[..preliminary.len() - 1].iter().all(|preliminary| *preliminary));
    assert_eq!(preliminary.last(), Some(&false), "the last one is final");
    assert_eq!(texts.last().unwrap(), "Otters hold hands.");
    assert_eq!(message.text(), "They hold hands.");
    // What the editor's model read of it is one text; what people keep is the whole message.
    let read = format!("{:?}", asks.prompts()[1].messages.last().unwrap());
    assert!(read.contains("Otters hold hands.") && !read.contains("parts"), "{read}");
    assert!(message.tool_parts().next().unwrap().output.as_ref().unwrap()["parts"].is_array());
    assert_eq!(researches.prompts()[0].messages.last().unwrap().text(), "otters");
    assert_eq!(*told.lock().unwrap(), ["child-chat: Otters hold hands."], "it has a chat of its own");
}

#[tokio::test(start_paused = true)]
async fn a_stop_of_the_tool_stops_the_other_agent_a219() {
    let told = Told::default();
    let researches = MockLanguageModel::new().step([say("Otters "), stall()]);
    let stage = Stage::new([(editor(CHILD_CHAT), asking("otters")), (researcher(&told), researches)]).await;
    let talk = stage.chat("editor", "chat");
    let mut stream = talk.send_message("Tell me of otters").await.unwrap();
    let is_half = |chunk: &UiMessageChunk| match chunk {
        UiMessageChunk::ToolOutputAvailable(output) => text(output.output.as_ref().unwrap()) == "Otters ",
        _ => false,
    };
    while !is_half(&stream.next().await.unwrap().unwrap().chunk) {}

    talk.stop().await;

    let stopped = async {
        while told.lock().unwrap().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), stopped).await.expect("the other agent's turn ends");
    assert_eq!(*told.lock().unwrap(), ["child-chat: Otters  stopped"]);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_other_agent_is_the_calls_and_its_run_ends_a219() {
    let told = Told::default();
    let asks = asking("otters").step([say("I could not find out.")]);
    let researches = MockLanguageModel::new().step([fail("no library")]);
    let stage = Stage::new([(editor(CHILD_CHAT), asks), (researcher(&told), researches)]).await;

    let stream = stage.chat("editor", "chat").send_message("Tell me of otters").await.unwrap();
    let (_, _, message) = read(stream).await;

    let part = message.tool_parts().next().unwrap();
    assert_eq!((part.state, part.error_text.as_deref()), (ToolState::OutputError, Some("no library")));
    assert_eq!(message.text(), "I could not find out.");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(told.lock().unwrap().len(), 1, "a run that was asked to end does not sleep: {told:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_in_the_chat_that_is_being_answered_a219() {
    let asks = asking("otters").step([say("Never mind.")]);
    let stage = Stage::new([(editor("chat"), asks)]).await;

    let stream = stage.chat("editor", "chat").send_message("Tell me of otters").await.unwrap();
    let (_, _, message) = read(stream).await;

    let part = message.tool_parts().next().unwrap();
    assert!(part.error_text.as_ref().unwrap().contains("a chat id of its own"), "{part:?}");
    assert_eq!(message.text(), "Never mind.");
}

/// An editor whose tool is stopped by itself: before it asks, or while its question is on its way.
fn hasty(is_asked: bool) -> Agent {
    let research = Tool::streaming("research", "Researches a topic", move |input: Topic, ctx: ToolContext| {
        let stop = Signal::new();
        let ctx = ToolContext { stop_signal: stop.clone(), ..ctx };
        if !is_asked {
            stop.set("enough");
        }
        let answer = AskAgent::new(chat(ctx.chat.host(), "researcher", CHILD_CHAT), input.topic).answer(&ctx);
        futures::stream::once(async move {
            tokio::task::yield_now().await;
            stop.set("enough");
            drop(answer);
            Ok(())
        })
    });
    Agent::new("editor", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(3))) })
        .tools([research])
}

#[tokio::test(start_paused = true)]
async fn a_question_on_its_way_at_the_stop_is_stopped_when_it_arrives_a219() {
    let told = Told::default();
    let researches = MockLanguageModel::new().step([say("Otters "), stall()]);
    let asks = asking("otters").step([say("Never mind.")]);
    let stage = Stage::new([(hasty(true), asks), (researcher(&told), researches)]).await;

    let mut stream = stage.chat("editor", "chat").send_message("Tell me of otters").await.unwrap();
    assert_eq!(stream.text().await.unwrap(), "Never mind.");

    tokio::time::sleep(Duration::from_secs(5)).await;
    let told = told.lock().unwrap().clone();
    assert!(matches!(&told[..], [only] if only.starts_with("child-chat:") && only.ends_with(" stopped")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_after_the_stop_a219() {
    let told = Told::default();
    let researches = MockLanguageModel::new();
    let asks = asking("otters").step([say("Never mind.")]);
    let stage = Stage::new([(hasty(false), asks), (researcher(&told), researches.clone())]).await;

    let mut stream = stage.chat("editor", "chat").send_message("Tell me of otters").await.unwrap();
    assert_eq!(stream.text().await.unwrap(), "Never mind.");

    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(researches.prompts().is_empty() && told.lock().unwrap().is_empty());
    assert_eq!(stage.sessions(KEY).retrieve(CHILD_CHAT).await.unwrap_err().status(), Some(404));
}
