//! The tools as an MCP client meets them: rmcp's client, a served system over real TCP with a worker and its agents (C §7).

mod binary;
mod chats;
mod failures;
mod relay;
mod rig;
