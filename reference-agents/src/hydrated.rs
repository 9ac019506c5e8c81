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

#[cfg(test)]
mod tests {
    use turnkeep_agent::protocol::UiPart;
    use turnkeep_harness::app::AppDatabase;
    use turnkeep_harness::model::{MockLanguageModel, say};
    use turnkeep_harness::{MockChatAgent, offline_host};

    use super::*;
    use crate::testing::serve;

    #[tokio::test(start_paused = true)]
    async fn what_the_database_says_is_what_the_model_reads_a87_a285() {
        let host = offline_host(1);
        let rows = AppDatabase::new();
        let (_app, database) = serve(&host, &rows);
        let model = MockLanguageModel::new().step([say("It is noon.")]).step([say("It is one.")]);
        let mut chat = MockChatAgent::start_on(host.clone(), agent(database.clone()), &model).await;
        chat.send("What time is it?").await;

        let mut messages = rows.read("test-chat").messages;
        messages[1].parts = vec![UiPart::text("Twelve.")];
        database.store("test-chat", &json!({ "messages": messages })).await.unwrap();
        chat.send("And now?").await;

        let read: Vec<String> = model.prompts()[1].messages.iter().map(|message| message.text()).collect();
        assert_eq!(read, ["What time is it?", "Twelve.", "And now?"]);
        let kept: Vec<String> = rows.read("test-chat").messages.iter().map(UiMessage::text).collect();
        assert_eq!(kept, ["What time is it?", "Twelve.", "And now?", "It is one."]);
        chat.finish().await;
    }
}
