//! Keeps its conversations in the author's own database, reached over the author's web application.
//!
//! Two duties make a reload safe (C-235, C-236): the question is stored before the answer streams, and the answer is stored
//! together with the cursor that belongs to it. [`Care`] lets a test leave either duty out and see what a reader then gets.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use turnkeep_agent::host::Host;
use turnkeep_agent::host::http::{BaseUrl, Deadlines, HttpClient};
use turnkeep_agent::protocol::{SeqNum, UiMessage};
use turnkeep_agent::{Agent, HookError, TurnComplete, TurnInput, TurnStart};

/// How well the author keeps the two duties.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Care {
    /// Both, as one should.
    #[default]
    Full,
    /// The question is stored some time after the turn has begun (CR-37).
    DefersQuestion,
    /// The answer and its cursor are stored one after the other (CR-38).
    SplitsAnswer,
}

/// Makes the agent.
pub fn agent(database: Database, care: Care) -> Agent {
    let database = Arc::new(database);
    let at_end = database.clone();
    let id = match care {
        Care::Full => "persisted",
        Care::DefersQuestion => "persisted-deferred",
        Care::SplitsAnswer => "persisted-split",
    };
    Agent::new(id, |turn: TurnInput| async move { Ok(turn.stream_text()) })
        .on_turn_start(move |event: TurnStart| store_question(database.clone(), event, care))
        .on_turn_complete(move |event: TurnComplete| store_answer(at_end.clone(), event, care))
}

async fn store_question(database: Arc<Database>, event: TurnStart, care: Care) -> Result<(), HookError> {
    let chat = event.chat.clone();
    let write = async move { database.store(event.chat.id(), &json!({ "messages": event.ui_messages })).await };
    if care == Care::DefersQuestion {
        chat.defer(write);
        return Ok(());
    }
    write.await
}

async fn store_answer(database: Arc<Database>, event: TurnComplete, care: Care) -> Result<(), HookError> {
    let chat = event.chat.id();
    if care == Care::SplitsAnswer {
        database.store(chat, &json!({ "messages": event.ui_messages })).await?;
        return database.store(chat, &json!({ "lastEventId": event.last_event_id })).await;
    }
    database.store(chat, &json!({ "messages": event.ui_messages, "lastEventId": event.last_event_id })).await
}

/// The author's database behind the author's web application.
#[derive(Clone, Debug)]
pub struct Database {
    http: Arc<HttpClient>,
}

impl Database {
    /// Makes a client; nothing is requested yet.
    pub fn new(host: Host, app: BaseUrl) -> Self {
        Self { http: Arc::new(HttpClient::new(host, app, Deadlines::default())) }
    }

    /// Reads a chat: its messages and the cursor that belongs to them.
    ///
    /// # Errors
    ///
    /// When the application does not answer, or answers something else.
    pub async fn load(&self, chat: &str) -> Result<(Vec<UiMessage>, Option<SeqNum>), HookError> {
        let row = self.call(Method::GET, chat, Bytes::new()).await?;
        Ok((serde_json::from_value(row["messages"].clone())?, serde_json::from_value(row["lastEventId"].clone())?))
    }

    /// Writes the given fields of a chat in one transaction.
    pub(crate) async fn store(&self, chat: &str, fields: &Value) -> Result<(), HookError> {
        self.call(Method::PUT, chat, Bytes::from(fields.to_string())).await.map(drop)
    }

    async fn call(&self, method: Method, chat: &str, body: Bytes) -> Result<Value, HookError> {
        let request = Request::builder().method(method).uri(format!("/chats/{chat}")).body(body)?;
        let response = self.http.fetch(request).await?;
        if !response.status().is_success() {
            return Err(format!("the application answers {}", response.status()).into());
        }
        Ok(serde_json::from_slice(response.body())?)
    }
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::app::AppDatabase;
    use turnkeep_harness::model::{MockLanguageModel, fail, say, stall};
    use turnkeep_harness::{MockChatAgent, offline_host};

    use super::*;
    use crate::testing::serve;

    #[tokio::test(start_paused = true)]
    async fn question_and_answer_are_stored_with_their_cursor() {
        let host = offline_host(1);
        let rows = AppDatabase::new();
        let (_app, database) = serve(&host, &rows);
        let model = MockLanguageModel::new().step([say("It is "), say("noon.")]);
        let mut chat = MockChatAgent::start_on(host.clone(), agent(database.clone(), Care::Full), &model).await;

        chat.send("What time is it?").await;

        let (messages, cursor) = database.load("test-chat").await.unwrap();
        let texts: Vec<String> = messages.iter().map(UiMessage::text).collect();
        assert_eq!(texts, ["What time is it?", "It is noon."]);
        assert!(cursor.is_some());
        assert_eq!(rows.read("test-chat").messages, messages);
        chat.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_and_a_stopped_turn_are_stored_with_their_cursors_too_c237() {
        let host = offline_host(1);
        let rows = AppDatabase::new();
        let (_app, database) = serve(&host, &rows);
        let model = MockLanguageModel::new().step([say("It is "), fail("no clock")]).step([say("Well, "), stall()]);
        let mut chat = MockChatAgent::start_on(host.clone(), agent(database.clone(), Care::Full), &model).await;
        let stored = || {
            let row = rows.read("test-chat");
            let texts: Vec<String> = row.messages.iter().map(UiMessage::text).collect();
            (texts.join(" | "), row.last_event_id)
        };

        let failed = chat.send("What time is it?").await;
        let (texts, after_failure) = stored();
        assert_eq!((texts.as_str(), failed.error().is_some()), ("What time is it? | It is ", true));
        assert!(after_failure.is_some());
        let stopped = chat.send("And now?").begin().await;
        chat.advance(std::time::Duration::from_secs(1)).await;
        assert!(chat.send_stop().await);
        stopped.turn().await;

        let (texts, after_stop) = stored();
        assert_eq!(texts, "What time is it? | It is  | And now? | Well, ");
        assert!(after_stop > after_failure);
        chat.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_question_is_stored_before_the_answer_streams_c235() {
        let host = offline_host(1);
        let writes = Arc::new(std::sync::Mutex::new(Vec::new()));
        let seen = writes.clone();
        let model = MockLanguageModel::new().step([say("Yes.")]);
        let asked = model.clone();
        let rows = AppDatabase::new().observe(Arc::new(move |_, row| {
            seen.lock().unwrap().push((row.messages.len(), asked.prompts().len()));
        }));
        let (_app, database) = serve(&host, &rows);
        let mut chat = MockChatAgent::start_on(host, agent(database, Care::Full), &model).await;

        chat.send("Are you sure?").await;

        assert_eq!(*writes.lock().unwrap(), [(1, 0), (2, 1)], "(messages stored, model calls so far)");
        chat.finish().await;
    }
}
