//! The harness as its users call it.

mod agent_chat;
mod ask_agent;
mod barriers;
mod faults;
mod leaks;
mod modes;
mod offline;
mod real_server;
mod restarts;
mod seeds;
mod sends;
mod support;
#[cfg(feature = "world")]
mod two_networks;
