//! Answers that an author pipes by hand have every step prepared as those that `run` returns (A-167, A-192, A-207).

use std::sync::Arc;

use futures::stream;
use serde_json::{Value, json};
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, Messages, ModelMessage, UiMessage, UiMessageChunk};

use super::inject::noting;
use crate::testing::*;
use crate::{
    Agent, Compaction, CompactionCheck, PendingMessages, PipeOptions, PipeSource, StepCompaction, StreamText, Tool,
    TurnInput, step_count_is,
};

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

/// Whose hand pipes an answer, and what becomes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Hand {
    /// `run` returns it.
    Returned,
    /// `run` pipes it and keeps it in the history.
    Kept,
    /// `run` pipes it and forgets it.
    Forgotten,
}

const HANDS: [Hand; 3] = [Hand::Returned, Hand::Kept, Hand::Forgotten];

/// An agent that answers with this hand.
fn agent(hand: Hand, answer: impl Fn(StreamText) -> StreamText + Clone + Send + Sync + 'static) -> Agent {
    Agent::new("test", move |turn: TurnInput| {
        let stream = answer(turn.stream_text().stop_when(step_count_is(5)));
        async move {
            match hand {
                Hand::Returned => return Ok(crate::Answer::from(stream)),
                Hand::Forgotten => turn.chat.pipe(stream, PipeOptions::new()).await?,
                Hand::Kept => {
                    let captured = turn.chat.pipe_and_capture(stream, PipeOptions::new()).await;
                    let kept: Messages = turn.ui_messages.into_iter().chain(captured.message).collect();
                    turn.chat.history().set(kept);
                }
            }
            Ok(crate::Answer::Nothing)
        }
    })
    .idle_timeout(std::time::Duration::from_secs(5))
}

fn always() -> PendingMessages {
    PendingMessages::new().should_inject(|_| async { Ok(true) })
}

/// A model that calls the tool first, then answers with a count.
fn working(diary: &Diary) -> Arc<FakeModel> {
    noting(diary, |call| if call == 0 { calls("c", "t", json!({})) } else { says(&format!("r{call}")) })
}

#[tokio::test(start_paused = true)]
async fn whoever_pipes_an_answer_messages_join_it_and_are_served_with_it_a192_a167_a166_a207() {
    // D-67.
    for hand in HANDS {
        let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
        session.say("a");
        let new = Diary::default();
        let (tool, told) = (gate.tool(), new.clone());
        let agent = agent(hand, move |stream| stream.tools([tool.clone()]))
            .pending_messages(always().on_received(|event| async move {
                assert!(event.message.id == "s" && event.turn == 0);
                Ok(())
            }))
            .on_turn_complete(move |event| {
                let new = event.new_ui_messages.iter().filter(|message| message.is_user());
                note(&told, new.map(UiMessage::text).collect::<Vec<_>>().join(" "));
                async { Ok(()) }
            });
        let talk = async {
            gate.during(|| {
                let payload = ChatTaskWirePayload::submit("chat", UiMessage::user("s", "s"));
                let store = Some(json!({ "at": 1 }));
                session.send(ChatInputChunk::message(ChatTaskWirePayload { incoming_store: store, ..payload }));
            })
            .await;
            session.until_turns(1).await;
            session.say("b");
        };

        let ((), ()) = tokio::join!(run(&session, agent, working(&diary)), talk);

        let want = "start start-step tool-input-available tool-output-available finish-step \
                    data-pending-message-injected store-snapshot start-step text-start r1 text-end finish-step finish \
                    done(1) ";
        assert!(session.story().starts_with(want), "{hand:?} {}", session.story());
        let steered = "u:a a:tool-call t:tool-result u:s";
        // Of an answer that nobody keeps, the model reads no more than people do.
        let later = if hand == Hand::Forgotten { "u:a u:s u:b".to_owned() } else { format!("{steered} a:r1 u:b") };
        assert_eq!(entries(&diary), ["u:a", steered, &later], "{hand:?}");
        assert_eq!(entries(&new), ["a s", "b"], "{hand:?}");
        let want: &[&str] = if hand == Hand::Forgotten { &["a", "s", "b"] } else { &["a", "s", "r1", "b", "r2"] };
        assert_eq!(session.saved_texts(), want, "{hand:?}");
        assert_eq!(session.state().snapshot.as_ref().unwrap().store, Some(json!({ "at": 1 })));
    }
}

/// Compacts once a turn, between the first two steps of the first turn.
fn first_turn() -> Compaction {
    Compaction::new(
        |check: CompactionCheck| async move { Ok(check.turn == 0 && check.steps.len() == 1) },
        |check: CompactionCheck| async move { Ok(format!("sum of {}", check.messages.len())) },
    )
}

/// An agent's own tool, and a model that calls it twice and then answers with a count.
fn twice(diary: &Diary) -> (Tool, Arc<FakeModel>) {
    let tool = Tool::new("t", "", json!({}), |_, _| async { Ok(json!(1)) });
    let call = |call| if call < 2 { calls(&format!("c{call}"), "t", json!({})) } else { says(&format!("r{call}")) };
    (tool, noting(diary, call))
}

#[tokio::test(start_paused = true)]
async fn whoever_pipes_an_answer_it_goes_on_from_a_summary_and_so_do_the_turns_after_a192_a167_a170_a172() {
    // D-67.
    for hand in HANDS {
        let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
        session.say("a");
        session.say("b");
        let hooks = Diary::default();
        let (preparing, compacting) = (hooks.clone(), hooks.clone());
        let (tool, model) = twice(&diary);
        let agent = agent(hand, move |stream| stream.tools([tool.clone()]))
            .compaction(first_turn())
            .prepare_messages(move |event| {
                note(&preparing, event.reason);
                async { Ok(event.messages) }
            })
            .on_compacted(move |event| {
                note(&compacting, format!("{} {:?} {}", event.summary, event.step_number, event.turn));
                async { Ok(()) }
            });

        run(&session, agent, model).await;

        // The answer that the history has follows the summary whole (A-172); one that it does not have is in the summary alone.
        let answer = "a:tool-call t:tool-result a:tool-call t:tool-result a:r2";
        let later = match hand {
            Hand::Forgotten => "a:[Conversation summary]\n\nsum of 3 u:b".to_owned(),
            _ => format!("a:[Conversation summary]\n\nsum of 3 {answer} u:b"),
        };
        let rebuilt = "u:sum of 3 a:tool-call t:tool-result";
        assert_eq!(entries(&diary), ["u:a", "u:sum of 3", rebuilt, &later], "{hand:?}");
        let want = ["run", "sum of 3 Some(0) 0", "compaction-result", "compaction-rebuild", "run"];
        assert_eq!(entries(&hooks), want, "{hand:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipe_that_is_dropped_has_served_what_joined_it_a166_a207() {
    // D-67.
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let tool = gate.tool();
    let agent = Agent::new("test", move |turn: TurnInput| {
        let stream = turn.stream_text().tools([tool.clone()]).stop_when(step_count_is(5));
        async move {
            let pipe = turn.chat.pipe(stream, PipeOptions::new());
            let in_time = tokio::time::timeout(std::time::Duration::from_secs(1), pipe).await;
            assert!(in_time.is_err(), "the model says nothing more");
            Ok(())
        }
    })
    .pending_messages(always())
    .idle_timeout(std::time::Duration::from_secs(5));
    let model = noting(&diary, |call| if call == 0 { calls("c", "t", json!({})) } else { vec![Said::Silence] });
    let talk = gate.during(|| {
        session.say("s");
    });

    let ((), ()) = tokio::join!(run(&session, agent, model), talk);

    assert_eq!(session.saved_texts(), ["a", "s"]);
    assert!(session.story().ends_with("start-step done(1)"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn the_author_hears_of_messages_while_chunks_are_piped_and_they_have_turns_of_their_own_a163_a207() {
    let (session, heard_of) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let hearing = heard_of.clone();
    let said = session.clone();
    let agent = Agent::new("test", move |turn: TurnInput| {
        let said = said.clone();
        async move {
            let chunks =
                [UiMessageChunk::text_start("t"), UiMessageChunk::text_end("t"), UiMessageChunk::finish("stop")];
            let chunks = stream::unfold(0, move |at| {
                let (chunk, said) = (chunks.get(at).cloned(), said.clone());
                async move {
                    if at == 1 && turn.turn == 0 {
                        said.say("s");
                        heard().await;
                    }
                    chunk.map(|chunk| (chunk, at + 1))
                }
            });
            turn.chat.pipe(PipeSource::chunks(chunks), PipeOptions::new()).await
        }
    })
    .pending_messages(always().on_received(move |event| {
        note(&hearing, format!("{} in {}", event.message.id, event.turn));
        async { Ok(()) }
    }))
    .idle_timeout(std::time::Duration::from_secs(5));

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(entries(&heard_of), ["s in 0"]);
    assert_eq!(session.saved_texts(), ["a", "s"]);
    assert_eq!(session.state().boundaries().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_author_compacts_in_a_step_preparation_of_their_own_a170_a171_a172() {
    // D-67.
    for hand in HANDS {
        let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
        session.say("a");
        session.say("b");
        let (found, preparing, compacting) = (diary.clone(), diary.clone(), diary.clone());
        let (tool, model) = twice(&Diary::default());
        let agent = agent(hand, move |stream| {
            let found = found.clone();
            stream.tools([tool.clone()]).prepare_step(move |step: crate::PrepareStep| {
                let found = found.clone();
                async move {
                    let compaction = step.chat.compact(&step.messages, &step.steps, &first_turn()).await?;
                    let kind = match &compaction {
                        StepCompaction::Skipped => "skipped",
                        StepCompaction::Rebuilt(_) => "rebuilt",
                        StepCompaction::Compacted(_) => "compacted",
                    };
                    let read = compaction.into_messages();
                    let texts = read.iter().flatten().map(|message| message.role.as_str().to_owned() + &message.text());
                    note(&found, format!("{kind} {}", texts.collect::<Vec<_>>().join(" ")));
                    let change = crate::StepChange::none();
                    Ok(if let Some(read) = read { change.messages(read) } else { change })
                }
            })
        })
        .prepare_messages(move |event| {
            note(&preparing, event.reason);
            async { Ok(event.messages) }
        })
        .on_compacted(move |event| {
            note(&compacting, format!("{} {:?} {}", event.summary, event.step_number, event.turn));
            async { Ok(()) }
        })
        .on_turn_start({
            let diary = diary.clone();
            move |event| {
                let first: Vec<_> = event.messages.iter().take(1).map(ModelMessage::text).collect();
                note(&diary, format!("turn {}", first.join("")));
                async { Ok(()) }
            }
        });

        run(&session, agent, model).await;

        let want = [
            "turn a",
            "run",
            "skipped ",
            "sum of 3 Some(0) 0",
            "compaction-result",
            "compacted usersum of 3",
            "compaction-rebuild",
            "rebuilt usersum of 3 assistant tool",
            // The summary is of that turn's answer and not of the next one's, but the next one reads it.
            "turn [Conversation summary]\n\nsum of 3",
            "run",
            "skipped ",
        ];
        assert_eq!(entries(&diary), want, "{hand:?}");
        let chunks = session.story().matches("data-compaction").count();
        assert_eq!(chunks, 2, "compacting and complete: {}", session.story());
    }
}

#[tokio::test(start_paused = true)]
async fn another_answer_of_the_turn_goes_on_from_no_summary_of_the_first_a170() {
    // D-67.
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let kinds = Diary::default();
    let noted = kinds.clone();
    let (tool, _) = twice(&diary);
    let agent = Agent::new("test", move |turn: TurnInput| {
        let (tool, kinds) = (tool.clone(), noted.clone());
        async move {
            for n_messages in [3, 99] {
                let kinds = kinds.clone();
                let brief = Compaction::new(
                    move |check: CompactionCheck| async move { Ok(check.messages.len() == n_messages) },
                    |_| async { Ok("sum".to_owned()) },
                );
                let stream = turn.stream_text().tools([tool.clone()]).stop_when(step_count_is(3));
                let stream = stream.prepare_step(move |step: crate::PrepareStep| {
                    let (brief, kinds) = (brief.clone(), kinds.clone());
                    async move {
                        let compaction = step.chat.compact(&step.messages, &step.steps, &brief).await?;
                        note(&kinds, format!("{} {}", step.step_number, compaction != StepCompaction::Skipped));
                        Ok(crate::StepChange::none())
                    }
                });
                turn.chat.pipe(stream, PipeOptions::new().original_messages(Vec::new())).await?;
            }
            Ok(())
        }
    });
    let model = noting(&diary, |call| calls(&format!("c{call}"), "t", json!({})));

    run(&session, agent, model).await;

    assert_eq!(entries(&kinds), ["0 false", "1 true", "2 true", "0 false", "1 false", "2 false"]);
}

#[tokio::test(start_paused = true)]
async fn a_chat_without_a_run_has_nothing_to_compact_in() {
    let chat = tool_context().chat;

    let refused = chat.compact(&[], &[], &first_turn()).await.unwrap_err();

    assert_eq!(refused.to_string(), "this chat has no run to compact in");
}

#[tokio::test(start_paused = true)]
async fn an_answer_reads_outputs_as_its_own_tools_map_them_a131() {
    for hand in HANDS {
        let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
        session.say("a");
        let noted = diary.clone();
        let model = FakeModel::new(move |prompt| {
            let told = prompt.messages.last().map(|message| serde_json::to_value(message).unwrap()).unwrap_or_default();
            note(&noted, told["content"][0]["output"]["value"].to_string());
            if prompt.step == 0 { calls("c", "t", json!({})) } else { says("r") }
        });
        let tool = Tool::new("t", "", json!({}), |_: Value, _| async { Ok(json!({ "long": "winded" })) });
        let tool = tool.to_model_output(|_| Ok(turnkeep_protocol::ToolResultOutput::Text("short".to_owned())));

        run(&session, agent(hand, move |stream| stream.tools([tool.clone()])), model).await;

        assert_eq!(entries(&diary), ["null", r#""short""#], "{hand:?}");
    }
}
