//! The harness as its users call it.

mod agent_chat;
mod offline;
#[cfg(feature = "world")]
mod two_networks;
