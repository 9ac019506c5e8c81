//! Telling a waiting assistant what the agent has said so far, if its client asked for it.

use std::time::Duration;

use rmcp::model::{ProgressNotificationParam, ProgressToken};
use rmcp::{Peer, RoleServer};
use tokio::time::Instant;

/// Notifications are this far apart at least, so that a fast agent does not drown its client.
const EVERY: Duration = Duration::from_millis(250);

/// How many bytes of news one notification carries at most; of more, the newest.
const MAX_NEWS_BYTES: usize = 2000;

/// One call's notifications.
pub(crate) struct Progress {
    to: Option<(Peer<RoleServer>, ProgressToken)>,
    n_chars: usize,
    unsent: String,
    next: Option<Instant>,
}

impl Progress {
    /// Tells `peer`, or nobody if the call carries no token.
    pub(crate) fn new(peer: Peer<RoleServer>, token: Option<ProgressToken>) -> Self {
        Self { to: token.map(|token| (peer, token)), n_chars: 0, unsent: String::new(), next: None }
    }

    /// Takes news in, and tells them unless that was done just now; the answer itself has everything.
    pub(crate) async fn tell(&mut self, news: &str) {
        let Some((peer, token)) = &self.to else { return };
        self.n_chars += news.chars().count();
        self.unsent.push_str(news);
        keep_newest(&mut self.unsent, MAX_NEWS_BYTES);
        let now = Instant::now();
        if self.next.is_some_and(|next| now < next) {
            return;
        }
        self.next = Some(now + EVERY);
        #[expect(
            clippy::cast_precision_loss,
            reason = "the protocol counts in floating point, and answers are bounded"
        )]
        let param = ProgressNotificationParam::new(token.clone(), self.n_chars as f64);
        // A client that is gone cannot be told; the call ends with its connection.
        let _ = peer.notify_progress(param.with_message(std::mem::take(&mut self.unsent))).await;
    }
}

fn keep_newest(text: &mut String, max_bytes: usize) {
    let mut from = text.len().saturating_sub(max_bytes);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    text.drain(..from);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_too_much_news_the_newest_are_kept_and_no_letter_is_cut() {
        let mut text = "öab".to_owned();
        keep_newest(&mut text, 4);
        assert_eq!(text, "öab");
        keep_newest(&mut text, 3);
        assert_eq!(text, "ab");
    }
}
