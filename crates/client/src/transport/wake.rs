//! Wake-up of a sleeping page: what the browser tells, and what readers do about it (C-134…C-137, CR-3).

use std::time::Duration;

use tokio::time::Instant;

/// How long a page must have been hidden for its connections to be presumed dead.
const LONG_HIDDEN: Duration = Duration::from_secs(30);

/// What a page's document and window tell; programs without them tell nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageEvent {
    /// The network is back (`online`).
    Online,
    /// The page is shown (`pageshow`).
    PageShow {
        /// Whether it comes out of the back-forward cache.
        persisted: bool,
    },
    /// The page went out of sight (`visibilitychange` to hidden).
    Hidden,
    /// The page is in sight again (`visibilitychange` to visible).
    Visible,
}

/// What every live reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Drops its connection, which the operating system may have lost without notice.
    Reconnect,
    /// Ends a running backoff.
    RetryNow,
}

/// How long the page has been hidden.
#[derive(Debug, Default)]
pub(crate) struct Visibility {
    hidden_since: Option<Instant>,
}

impl Visibility {
    /// Decides what an event means for the readers.
    pub(crate) fn on(&mut self, event: PageEvent, now: Instant) -> Option<Wake> {
        match event {
            PageEvent::Online | PageEvent::PageShow { persisted: true } => Some(Wake::Reconnect),
            PageEvent::PageShow { persisted: false } => None,
            PageEvent::Hidden => {
                self.hidden_since = Some(now);
                None
            }
            PageEvent::Visible => {
                let hidden = self.hidden_since.take().map_or(Duration::ZERO, |since| now - since);
                Some(if hidden >= LONG_HIDDEN { Wake::Reconnect } else { Wake::RetryNow })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_each_event_means_c134() {
        let now = Instant::now();
        let mut page = Visibility::default();

        assert_eq!(page.on(PageEvent::Online, now), Some(Wake::Reconnect));
        assert_eq!(page.on(PageEvent::PageShow { persisted: true }, now), Some(Wake::Reconnect));
        assert_eq!(page.on(PageEvent::PageShow { persisted: false }, now), None);
        assert_eq!(page.on(PageEvent::Hidden, now), None);
    }

    #[test]
    fn hidden_time_counts_from_the_last_hiding_and_is_used_up_c134_c137() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut page = Visibility::default();

        assert_eq!(page.on(PageEvent::Visible, at(100)), Some(Wake::RetryNow), "never hidden counts as zero");
        page.on(PageEvent::Hidden, at(100));
        assert_eq!(page.on(PageEvent::Visible, at(130)), Some(Wake::Reconnect));
        assert_eq!(page.on(PageEvent::Visible, at(190)), Some(Wake::RetryNow), "the time is used up");
        page.on(PageEvent::Hidden, at(200));
        page.on(PageEvent::Hidden, at(220));
        assert_eq!(page.on(PageEvent::Visible, at(249)), Some(Wake::RetryNow), "29 s since it was last hidden");
    }
}
