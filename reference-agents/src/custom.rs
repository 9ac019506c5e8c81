//! Looks up the forecast by a loop of its own, turn by turn, and keeps its conversations in the author's own database: the runtime
//! restores nothing and stores nothing.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use turnkeep_agent::{Agent, CustomAgent, CustomRun, HookError, PendingMessages, SessionOptions, step_count_is};

use crate::persisted::Database;
use crate::weather::{MAX_STEPS, forecast};

/// Makes the agent; its run stays warm between turns for `idle`, then sleeps for `asleep`, then ends.
pub fn agent(database: Database, idle: Duration, asleep: Duration) -> CustomAgent {
    let database = Arc::new(database);
    Agent::custom("custom", move |run: CustomRun| {
        let steered = PendingMessages::new().should_inject(|_| async { Ok(true) });
        let options = SessionOptions::new().tools([forecast()]).pending_messages(steered);
        serve(run, options.idle_timeout(idle).timeout(asleep), database.clone())
    })
}

async fn serve(run: CustomRun, options: SessionOptions, database: Arc<Database>) -> Result<(), HookError> {
    let chat = run.chat.clone();
    let mut session = run.create_session(options);
    session.set_messages(database.load(chat.id()).await?.0);
    while let Some(mut turn) = session.next().await? {
        // The question is stored before the answer streams (C-235), the answer together with its cursor (C-236).
        database.store(chat.id(), &json!({ "messages": turn.ui_messages() })).await?;
        let answer = turn.stream_text()?.stop_when(step_count_is(MAX_STEPS));
        let done = turn.complete(answer).await?;
        let row = json!({ "messages": turn.ui_messages(), "lastEventId": done.boundary.last_event_id });
        database.store(chat.id(), &row).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use turnkeep_agent::host::{Host, Task};
    use turnkeep_agent::protocol::{RecordKind, UiMessage};
    use turnkeep_harness::app::AppDatabase;
    use turnkeep_harness::model::{MockLanguageModel, say, stall};
    use turnkeep_harness::{MockChat, MockChatAgent, offline_host};

    use super::*;

    /// Starts a chat with the agent, whose application serves `rows` until the task is dropped.
    async fn start(rows: &AppDatabase, model: &MockLanguageModel) -> (Task, MockChatAgent) {
        let host: Host = offline_host(1);
        let (app, database) = crate::testing::serve(&host, rows);
        let agent = agent(database, Duration::from_secs(5), Duration::from_secs(60));
        (app, MockChat::new(agent).on(host).start(model).await)
    }

    fn texts(messages: &[UiMessage]) -> Vec<String> {
        messages.iter().map(UiMessage::text).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn keeps_the_conversation_in_the_database_from_one_run_to_the_next_a213_a218() {
        let rows = AppDatabase::new();
        let model = MockLanguageModel::new().step([say("It is noon.")]).step([say("It is one.")]);
        let (_app, mut chat) = start(&rows, &model).await;

        chat.send("What time is it?").await.assert_text("It is noon.");
        // The run has waited in vain and is over.
        chat.advance(Duration::from_secs(120)).await;
        chat.send("And now?").await.assert_text("It is one.");

        let read: Vec<String> = model.prompts()[1].messages.iter().map(|message| message.text()).collect();
        assert_eq!(read, ["What time is it?", "It is noon.", "And now?"]);
        let row = rows.read("test-chat");
        assert_eq!(texts(&row.messages), ["What time is it?", "It is noon.", "And now?", "It is one."]);
        assert!(row.last_event_id.is_some());
        assert!(chat.get_snapshot().await.is_none(), "the history is the author's");
        chat.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_answer_is_kept_as_far_as_it_came_and_the_next_question_runs_aa135() {
        // AA-135
        let rows = AppDatabase::new();
        let model = MockLanguageModel::new().step([say("Once upon"), stall()]).step([say("Good bye.")]);
        let (_app, mut chat) = start(&rows, &model).await;
        let barrier = chat.barrier(turnkeep_harness::At::after_record("text-delta"));

        let posted = chat.send("Tell me a story").begin().await;
        barrier.reached().await;
        barrier.release();
        chat.send_stop().await;
        posted.turn().await;
        chat.send("Bye").await.assert_text("Good bye.");

        assert_eq!(texts(&rows.read("test-chat").messages), ["Tell me a story", "Once upon", "Bye", "Good bye."]);
        chat.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_can_be_read_of_a_long_chat_does_not_grow_ar39_a106_d44() {
        const TURNS: usize = 40;
        let rows = AppDatabase::new();
        let model = (0..TURNS).fold(MockLanguageModel::new(), |model, _| model.step([say("Yes.")]));
        let (_app, mut chat) = start(&rows, &model).await;

        let mut longest = 0;
        for turn in 0..TURNS {
            chat.send(format!("Question {turn}")).await;
            chat.advance(Duration::from_secs(1)).await;
            let records = chat.all_raw_chunks();
            let trims = records.iter().filter(|record| record.kind() == RecordKind::Command("trim"));
            let keep_from: u64 = trims.map(|trim| trim.body.parse().expect("a trim names a place")).max().unwrap_or(0);
            longest = longest.max(records.iter().filter(|record| record.seq_num.get() >= keep_from).count());
        }

        let one_turn = chat.all_raw_chunks().len() / TURNS;
        assert!(longest <= 2 * one_turn + 2, "{longest} records were readable at once, a turn has {one_turn}");
        chat.finish().await;
    }
}
