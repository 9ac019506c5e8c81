//! [`ExistingChat`]: a request for a chat that is there already; no run of it waits for a handover (C-198, CR-32).

use std::fmt;
use std::sync::Arc;

use http::Response;
use turnkeep_protocol::{ChatInputChunk, SeqNum};

use crate::body::{self, Events, HeadStartBody};
use crate::error::Error;
use crate::head_start::Setup;
use crate::out::PartIds;
use crate::request::HeadStartRequest;
use crate::seam::{closing, session_state};
use crate::stitch::{Stitch, stitch};

/// A chat that existed before its head start was asked for: the question is an ordinary one, and the agent answers it alone.
pub struct ExistingChat {
    pub(crate) setup: Arc<Setup>,
    pub(crate) request: HeadStartRequest,
    pub(crate) token: String,
}

impl ExistingChat {
    /// Gives the chat's id.
    pub fn chat_id(&self) -> &str {
        self.request.chat_id()
    }

    /// Gives the session's token, for the browser.
    pub fn public_access_token(&self) -> &str {
        &self.token
    }

    /// Appends the question and answers with the agent's chunks, as a head start's response.
    ///
    /// # Errors
    ///
    /// [`Error::BadRequest`] without a message; [`Error::Session`] when the question was not accepted.
    pub async fn respond(self) -> Result<Response<HeadStartBody>, Error> {
        // What is there now belongs to turns that the page does not ask for.
        let after = self.setup.tail(self.chat_id()).await?;
        let input = self.append().await?;
        let (events, frames) = body::events();
        let response = body::response(frames, self.chat_id(), &self.token);
        let setup = self.setup.clone();
        setup.spawn(self.answer(Stitch { after, input }, events));
        Ok(response)
    }

    /// Appends the question.
    pub(crate) async fn append(&self) -> Result<Option<SeqNum>, Error> {
        let input = ChatInputChunk::message(self.request.ordinary()?);
        let host = self.setup.host.clone();
        let draws = host.entropy().child("head-start").child(self.chat_id()).child("ordinary-part-ids").draws();
        let part_id = PartIds { host, draws }.next();
        Ok(self.setup.sessions.append(self.chat_id(), &input, &part_id).await?)
    }

    async fn answer(self, at: Stitch, events: Events) {
        if let Some(after) = at.after {
            // A page whose response breaks off goes on from here (D-24): it has no cursor of its own.
            events.value(&session_state(after)).await;
        }
        if let Some((outcome, cursor)) = stitch(&self.setup, self.chat_id(), at, &events).await {
            for frame in closing(outcome, cursor) {
                events.value(&frame).await;
            }
        }
    }
}

impl fmt::Debug for ExistingChat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExistingChat").field("chat_id", &self.chat_id()).finish_non_exhaustive()
    }
}
