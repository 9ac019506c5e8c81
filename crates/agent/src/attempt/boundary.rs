//! The end of a turn on `out`: `turn-complete`, trim.

use turnkeep_protocol::{
    Header, NewRecord, PUBLIC_ACCESS_TOKEN, SESSION_IN_CONSUMED_ID, SESSION_IN_EVENT_ID, SeqNum, control,
};

use super::Attempt;
use crate::error::Error;

impl Attempt {
    /// Writes the turn's one `turn-complete` and trims what is settled behind it; gives its place.
    ///
    /// The record that the turn served, and whatever joined it, is finished with this boundary and not before: a crash in between
    /// must find it owed.
    pub(crate) async fn close_turn(&mut self, served: Option<SeqNum>, token: Option<String>) -> Result<SeqNum, Error> {
        self.chat.store().end_turn().await;
        let (settled, received) = self.input.with(|inbox| (inbox.settled_with(served), inbox.received()));
        let token = token.map(|token| Header::new(PUBLIC_ACCESS_TOKEN, token));
        let settled_header = settled.map(|settled| Header::new(SESSION_IN_EVENT_ID, settled.to_string()));
        let received = received.map(|received| Header::new(SESSION_IN_CONSUMED_ID, received.to_string()));
        let siblings = token.into_iter().chain(settled_header).chain(received);

        let seq_num = self.out.control(NewRecord::control(control::TURN_COMPLETE, siblings)).await?;
        self.input.with(|inbox| inbox.finish_turn(served));
        self.input.publish(settled);
        if let Some(keep_from) = self.boundaries.turn_completed(seq_num) {
            self.out.queue(NewRecord::trim(keep_from)).await?;
        }
        Ok(seq_num)
    }
}
