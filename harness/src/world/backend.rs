//! Which backend the world has: a session server that was replaced by an empty one knows no session of the one before, and gives the
//! places of its records anew. So the trace tells what belongs to a later backend under a name of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::trace::OF_BACKEND;

/// The number of the backend there is, from 1; clones are one number.
#[derive(Clone, Debug, Default)]
pub(super) struct Backend(Arc<AtomicUsize>);

impl Backend {
    /// Puts the next backend in the place of this one.
    pub(super) fn replace(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Names a chat as the trace does.
    pub(super) fn name(&self, chat: &str) -> String {
        match self.0.load(Ordering::Relaxed) {
            0 => chat.to_owned(),
            n_before => format!("{chat}{OF_BACKEND}{}", n_before + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_has_its_own_name_in_the_first_backend_and_a_further_one_in_each_later() {
        let backend = Backend::default();

        let names = [0, 1, 2].map(|_| {
            let name = backend.clone().name("chat-1");
            backend.replace();
            name
        });

        assert_eq!(names, ["chat-1", "chat-1 of backend 2", "chat-1 of backend 3"]);
    }
}
