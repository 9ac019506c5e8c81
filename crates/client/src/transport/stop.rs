//! Stopping: everything local first, on captured objects, and only then the request (C-105…C-117, CR-16, CR-18).

use std::sync::Arc;

use super::inner::Inner;
use super::payload::Outgoing;
use super::send::Repair;
use super::stream::{OnAbort, Outcome};
use crate::Error;

impl Inner {
    /// Stops the chat's turn: arms the gate if one is outstanding, drops the reader, tells the application, then posts.
    ///
    /// False without state. A failed post leaves the reader closed and the gate armed (C-117); 404 creates nothing (C-115).
    pub(crate) async fn stop(self: &Arc<Self>, chat_id: &str) -> Result<bool, Error> {
        if self.state(chat_id).is_none_or(|state| state.closed) {
            return Ok(false);
        }
        let active = self.chat(chat_id, |chat| {
            chat.n_stops += 1;
            let is_outstanding = chat.has_outstanding_turn();
            if let Some(state) = &mut chat.state {
                if is_outstanding {
                    state.arm_gate(state.active_input_seq);
                }
                state.settle();
            }
            // Marked in the same step, so that the loop cannot take the stopped boundary for its own end.
            chat.active.take().inspect(|active| active.cell.mark(Outcome::Aborted))
        });
        if let Some(active) = active {
            active.cell.end(Outcome::Aborted);
        }
        self.let_go(chat_id);
        self.notify(chat_id);
        self.post(chat_id, &Outgoing::stop(), Repair::Token).await.map(|_| true)
    }

    /// Lets go of stream `id`, if it is the chat's reader. An owner with an outstanding turn also arms the gate and posts one
    /// stop in the background (C-106, C-114).
    pub(crate) fn abort(self: &Arc<Self>, chat_id: &str, id: u64, on_abort: OnAbort) {
        let (is_stop, _released) = self.chat(chat_id, |chat| {
            let is_outstanding = chat.has_outstanding_turn();
            let Some(active) = chat.active.take_if(|active| active.id == id) else { return (false, None) };
            active.cell.mark(Outcome::Aborted);
            let is_stop = on_abort == OnAbort::Stop && is_outstanding;
            if let Some(state) = chat.state.as_mut().filter(|_| is_stop) {
                state.arm_gate(state.active_input_seq);
            }
            (is_stop, Some(active))
        });
        self.let_go(chat_id);
        if !is_stop {
            return;
        }
        self.notify(chat_id);
        let (inner, chat_id) = (self.clone(), chat_id.to_owned());
        self.tasks.add(self.host.spawn(async move {
            // Its failure is told to the observer and changes nothing here: the gate stays armed (C-106, C-117).
            let _ = inner.post(&chat_id, &Outgoing::stop(), Repair::Nothing).await;
        }));
    }
}
