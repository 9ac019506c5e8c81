//! Agents that tell what the model gets to read: `history`, `hydrate`, `endrun`, `timeout`, `upgrade`, `crashonce`.

use std::time::Duration;

use turnkeep_agent::model::Prompt;
use turnkeep_agent::protocol::{ModelRole, UiMessage};
use turnkeep_agent::{Agent, Error, HookError, HydrateMessages, TurnStart};

use super::SessionServer;
use super::scripted::Scripted;
use super::talking::with_model;
use crate::undoing;

/// Says whose messages the model reads.
fn witness() -> Scripted {
    Scripted::saying(|prompt: &Prompt| {
        let texts = |role| prompt.messages.iter().filter(move |message| message.role == role);
        let users: Vec<String> = texts(ModelRole::User).map(|message| message.text()).collect();
        format!("seen u:{} assistants:{}", users.join(","), texts(ModelRole::Assistant).count())
    })
}

fn remembering(id: &str) -> Agent {
    undoing::with_undo(with_model(id, witness()))
}

pub(super) fn history() -> Agent {
    remembering("history")
}

pub(super) fn hydrate() -> Agent {
    remembering("hydrate").hydrate_messages(|event: HydrateMessages| async move {
        let kept = event.client_data.get("hydrated").cloned().unwrap_or_else(|| serde_json::json!([]));
        let mut messages: Vec<UiMessage> = serde_json::from_value(kept)?;
        event.upsert_into(&mut messages);
        Ok(messages)
    })
}

pub(super) fn endrun() -> Agent {
    remembering("endrun").on_turn_start(|event: TurnStart| async move {
        event.chat.end_run();
        Ok(())
    })
}

pub(super) fn timeout() -> Agent {
    // Durable waits count whole seconds: it stays warm all the time, and then does not sleep.
    remembering("timeout").idle_timeout(Duration::from_millis(800)).turn_timeout(Duration::ZERO)
}

pub(super) fn upgrade(server: SessionServer) -> Agent {
    remembering("upgrade").on_turn_start(move |event: TurnStart| {
        let server = server.clone();
        async move {
            if event.continuation || event.ui_messages.len() > 1 {
                return Ok(());
            }
            server.sessions(event.chat.host()).end_and_continue(event.chat.id(), &event.ctx.run_id, "upgrade").await?;
            // The session is another run's now: this one has nothing more to say.
            Err(HookError::from(Error::LeaseLost))
        }
    })
}

pub(super) fn crashonce() -> Agent {
    remembering("crashonce").on_turn_start(|event: TurnStart| async move {
        if event.ctx.attempt == 1
            && event.ui_messages.last().is_some_and(|last: &UiMessage| last.text().contains("boom"))
        {
            // A panic that says nothing on stderr: it is meant.
            std::panic::resume_unwind(Box::new("boom"));
        }
        Ok(())
    })
}
