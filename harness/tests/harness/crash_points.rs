//! A crash at every place of a turn, before and after each numbered step of A §4.2 (AA-166).

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use turnkeep_agent::{Agent, BeforeTurnComplete, Boot, ChatStart, PrepareMessages, TurnComplete, TurnStart};
use turnkeep_harness::model::{MockLanguageModel, RunsOut, say};
use turnkeep_harness::{At, MockChatAgent, Restart};
use turnkeep_protocol::UiMessage;

use crate::support::*;

/// The author's own history: what a database would hold.
type Store = Arc<Mutex<Vec<UiMessage>>>;

/// An agent with every hook of a turn; with a store it keeps the history itself.
fn agent(diary: &Diary, store: Option<&Store>) -> Agent {
    let agent = plain()
        .on_boot(noting::<Boot>(diary, "boot"))
        .on_validate_messages(|event| async move { Ok(event.messages) })
        .on_chat_start(noting::<ChatStart>(diary, "chat-start"))
        .on_turn_start(noting::<TurnStart>(diary, "turn-start"))
        .prepare_messages(|event: PrepareMessages| async move { Ok(event.messages) })
        .on_before_turn_complete(noting::<BeforeTurnComplete>(diary, "before-complete"));
    let Some(store) = store else {
        return agent.on_turn_complete(noting::<TurnComplete>(diary, "complete"));
    };
    let (reads, writes, notes) = (store.clone(), store.clone(), diary.clone());
    agent
        .hydrate_messages(move |event| {
            let mut rows = reads.lock().unwrap();
            event.upsert_into(&mut rows);
            let messages = rows.clone();
            async move { Ok(messages) }
        })
        .on_turn_complete(move |event: TurnComplete| {
            notes.note("complete");
            *writes.lock().unwrap() = event.ui_messages.to_vec();
            async { Ok(()) }
        })
}

/// Every place that a turn comes to, in its order.
fn places(is_hydrated: bool) -> Vec<At> {
    let around = |hook: &str| [At::before(hook), At::after(hook)];
    let mut places = Vec::new();
    places.extend(around("on_validate_messages"));
    if is_hydrated {
        places.extend(around("hydrate_messages"));
    }
    for hook in ["on_chat_start", "on_turn_start", "prepare_messages", "run"] {
        places.extend(around(hook));
    }
    for record in ["start", "text-delta", "finish"] {
        places.extend([At::before_record(record), At::after_record(record)]);
    }
    places.extend(around("on_before_turn_complete"));
    places.extend([At::before_record("turn-complete"), At::after_record("turn-complete")]);
    places.extend(around("on_turn_complete"));
    if !is_hydrated {
        places.extend([At::before_snapshot(), At::after_snapshot()]);
    }
    places.push(At::turn_end());
    places
}

async fn crashes_at(at: At, is_hydrated: bool) {
    let told = format!("crash {at}, hydrated: {is_hydrated}");
    let (diary, store) = (Diary::default(), Store::default());
    let model = MockLanguageModel::new().step([say("answered")]).when_it_runs_out(RunsOut::RepeatLast);
    let mut chat = MockChatAgent::start(agent(&diary, is_hydrated.then_some(&store)), &model).await;
    let barrier = chat.barrier(at);

    let posted = chat.send("one").completed().through_crashes().begin().await;
    barrier.reached().await;
    let (_, before) = chat.run_attempt().expect("a run is there");
    chat.restart(Restart::Crash).await;
    barrier.release();
    posted.turn().await;
    chat.send("two").await;

    assert_eq!(chat.run_attempt().map(|(_, attempt)| attempt), Some(before + 1), "{told}: the crash has happened");
    let kept = match is_hydrated {
        true => store.lock().unwrap().clone(),
        false => chat.get_snapshot().await.expect("a snapshot").messages.to_vec(),
    };
    let texts: Vec<String> = kept.iter().filter(|message| message.is_user()).map(UiMessage::text).collect();
    assert_eq!(texts, ["one", "two"], "{told}: each message once");
    let ids: BTreeSet<&str> = kept.iter().map(|message| message.id.as_str()).collect();
    assert_eq!(ids.len(), kept.len(), "{told}: ids are unique");
    assert!(kept.last().is_some_and(UiMessage::is_assistant), "{told}");
    assert!(diary.read().contains("chat-start"), "{told}: the chat's first hook had its turn");
    let asked = model.prompts();
    let last = asked.last().expect("the last message was answered");
    let n_asked = |text: &str| last.messages.iter().filter(|message| message.text() == text).count();
    assert_eq!((n_asked("one"), n_asked("two")), (1, 1), "{told}: the model reads each once");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_place_of_a_turn_loses_no_message_and_serves_none_twice_aa166_ar11() {
    for at in places(false) {
        crashes_at(at, false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_any_place_loses_nothing_where_the_author_keeps_the_history_aa166_a87() {
    for at in places(true) {
        crashes_at(at, true).await;
    }
}
