//! The chat's store at the beginning of a turn (A-185, C-174).

use turnkeep_protocol::Trigger;

use super::Run;
use super::hooks::TurnFailure;
use super::turn::Turn;
use crate::event::HydrateStore;
use crate::store::StoreError;

impl Run {
    /// Finds the turn's value of the store: a client's, else the author's, else ours. An author's hook that fails fails the turn:
    /// going on with an old value would be worse (C-175).
    pub(super) async fn begin_store(&mut self, turn: &Turn) -> Result<(), TurnFailure> {
        let store = self.chat.store().clone();
        let incoming = turn.payload.incoming_store.clone();
        let mut replacement = incoming.clone();
        if let Some(hook) = self.agent.hooks.hydrate_store.clone() {
            let hydrated = hook(HydrateStore {
                chat: self.chat.clone(),
                turn: turn.number,
                trigger: turn.payload.trigger.unwrap_or(Trigger::SubmitMessage),
                previous_store: store.get(),
                incoming_store: incoming,
                client_data: turn.client_data.clone(),
                continuation: self.is_continuation(),
                previous_run_id: self.payload.previous_run_id.clone(),
            });
            replacement = replacement.or(Some(hydrated.await?));
        }
        store.begin_turn(replacement).await.map_err(|error| match error {
            StoreError::Write(error) => error.into(),
            refused => TurnFailure::Turn(refused.to_string()),
        })
    }
}
