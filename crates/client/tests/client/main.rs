//! The reader and the transport against a scripted session server, over an in-memory network in paused time.

mod agent_chat;
mod consuming;
mod cutting;
mod duties;
mod fake;
mod keeping;
mod net;
mod os;
mod races;
mod reader;
mod reader_hooks;
mod reader_retries;
mod recovering;
mod resuming;
mod rig;
mod routing;
mod sending;
mod session_rules;
mod sessions;
mod starting;
mod stopping;
mod storing;
mod streaming;
mod tabs;
mod waking;
mod watching;
