//! [`PendingMessages`]: an author's say in steering.

use std::fmt;

use turnkeep_protocol::ModelMessage;

use crate::agent::{Agent, Hook, boxed};
use crate::checkpoint::Gate;
use crate::error::HookError;
use crate::event::{PendingMessageReceived, PendingMessagesBatch, PendingMessagesInjected};

/// Lets people's messages join the answer that streams. Without [`PendingMessages::should_inject`] none ever does.
#[derive(Clone, Default)]
#[must_use = "nothing is steered unless an agent gets it"]
pub struct PendingMessages {
    pub(crate) should_inject: Option<Hook<PendingMessagesBatch, bool>>,
    pub(crate) prepare: Option<Hook<PendingMessagesBatch, Vec<ModelMessage>>>,
    pub(crate) on_received: Option<Hook<PendingMessageReceived>>,
    pub(crate) on_injected: Option<Hook<PendingMessagesInjected>>,
}

impl PendingMessages {
    /// Makes the option; every message waits for its own turn until [`PendingMessages::should_inject`] says otherwise.
    pub fn new() -> Self {
        Self::default()
    }

    /// Decides before each step whether all messages that wait join the answer. A failure fails the answer; they wait on.
    pub fn should_inject<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(PendingMessagesBatch) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, HookError>> + Send + 'static,
    {
        self.should_inject = Some(boxed(hook));
        self
    }

    /// Says what the model reads of messages that join; without it their own words. Nothing at all leaves them waiting. A failure
    /// fails the answer; they wait on.
    pub fn prepare<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(PendingMessagesBatch) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<ModelMessage>, HookError>> + Send + 'static,
    {
        self.prepare = Some(boxed(hook));
        self
    }

    /// Runs beside the answer when a message arrives that may join it. A failure is ignored.
    pub fn on_received<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(PendingMessageReceived) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        self.on_received = Some(boxed(hook));
        self
    }

    /// Runs when messages have joined the answer, before its next step. A failure is ignored.
    pub fn on_injected<F, Fut>(mut self, hook: F) -> Self
    where
        F: Fn(PendingMessagesInjected) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), HookError>> + Send + 'static,
    {
        self.on_injected = Some(boxed(hook));
        self
    }

    pub(crate) fn gated(self, gate: &Gate) -> Self {
        let Self { should_inject, prepare, on_received, on_injected } = self;
        Self {
            should_inject: should_inject.map(|hook| gate.around("should_inject", hook)),
            prepare: prepare.map(|hook| gate.around("prepare", hook)),
            on_received: on_received.map(|hook| gate.around("on_received", hook)),
            on_injected: on_injected.map(|hook| gate.around("on_injected", hook)),
        }
    }
}

impl Agent {
    /// Lets people's messages join the answer that streams.
    pub fn pending_messages(mut self, options: PendingMessages) -> Self {
        self.pending_messages = Some(options);
        self
    }
}

impl fmt::Debug for PendingMessages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PendingMessages")
            .field("should_inject", &self.should_inject.is_some())
            .field("prepare", &self.prepare.is_some())
            .field("on_received", &self.on_received.is_some())
            .field("on_injected", &self.on_injected.is_some())
            .finish()
    }
}
