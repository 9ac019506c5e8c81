//! The examples of docs/guide, compiled and run as doc tests: they are what an author's crate would say.

#[doc = include_str!("../../docs/guide/start.md")]
mod start {}
#[doc = include_str!("../../docs/guide/agents.md")]
mod agents {}
#[doc = include_str!("../../docs/guide/hooks.md")]
mod hooks {}
#[doc = include_str!("../../docs/guide/tools.md")]
mod tools {}
#[doc = include_str!("../../docs/guide/conversation.md")]
mod conversation {}
#[doc = include_str!("../../docs/guide/persistence.md")]
mod persistence {}
#[doc = include_str!("../../docs/guide/custom.md")]
mod custom {}
#[doc = include_str!("../../docs/guide/testing.md")]
mod testing {}
#[doc = include_str!("../../docs/guide/scenarios.md")]
mod scenarios {}
