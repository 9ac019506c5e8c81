//! Reads its history from the author's own database at every turn: the runtime restores nothing and stores no snapshot of its own
//! . What the database says is what the model reads, so an edit there counts from the next turn on.

use std::sync::Arc;

use serde_json::json;
use turnkeep_agent::protocol::{Trigger, UiMessage};
use turnkeep_agent::{Agent, HookError, HydrateMessages, TurnComplete, TurnInput};

use crate::persisted::Database;

/// Makes the agent.
pub fn agent(database: Database) -> Agent {
    let database = Arc::new(database);
    let at_end = database.clone();
    Agent::new("hydrated", |turn: TurnInput| async move { Ok(turn.stream_text()) })
        .hydrate_messages(move |event: HydrateMessages| hydrate(database.clone(), event))
        .on_turn_complete(move |event: TurnComplete| store_answer(at_end.clone(), event))
}

/// Reads the chat, with the question stored before the answer streams (C-235).
async fn hydrate(database: Arc<Database>, event: HydrateMessages) -> Result<Vec<UiMessage>, HookError> {
    let (mut messages, _) = database.load(event.chat.id()).await?;
    let is_new = event.upsert_into(&mut messages);
    if event.trigger == Trigger::RegenerateMessage {
        // The answer to redo is the author's to drop.
        while messages.pop_if(|last| last.is_assistant()).is_some() {}
    }
    if is_new || event.trigger == Trigger::RegenerateMessage {
        database.store(event.chat.id(), &json!({ "messages": messages })).await?;
    }
    Ok(messages)
}

/// Stores the answer together with the cursor that belongs to it (C-236).
async fn store_answer(database: Arc<Database>, event: TurnComplete) -> Result<(), HookError> {
    let fields = json!({ "messages": event.ui_messages, "lastEventId": event.last_event_id });
    database.store(event.chat.id(), &fields).await
}
