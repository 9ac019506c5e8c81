//! An MCP server: assistants chat with agents (C §7).
//!
//! ```text
//! assistant ──stdio──▶ AgentTools ──decides──▶ open chats: by chat id, who is open and who is answering
//!                          └──────AgentChat──▶ session server ◀── worker
//! ```
//!
//! Four tools: `list_agents`, `start_agent_chat`, `send_agent_message`, `close_agent_chat`. Reading and writing of sessions is the
//! client crate's [`AgentChat`](turnkeep_client::AgentChat); a chat's state here is only a cache (C-232). The binary is
//! `turnkeep-mcp`; its guide is `docs/guide/mcp.md`.

mod answer;
mod chats;
mod cli;
mod error;
mod progress;
mod server;
mod settings;
mod talk;
mod tools;
mod words;

pub use cli::main;
pub use server::AgentTools;
pub use settings::{ListedAgent, Settings};
