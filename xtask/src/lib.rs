//! `cargo xtask`: sim · bless · red · tidy · spec · serve · interop · bench · fuzz · test · ci.
//!
//! ```text
//!   cli ──▶ sim ───▶ plan (stories × seeds) ──▶ pool (threads) ──▶ judge (run, careless twin, golden) ──▶ print
//!       ├─▶ bless ────────────────────────────────────────────────▶ judge ──▶ golden/, docs/scenario.schema.json
//!       ├─▶ red (a copy of the tree, a defence taken out) ────────▶ cargo build, sim in the copy
//!       ├─▶ tidy (house rules over the sources)
//!       ├─▶ spec (ids of docs/spec and who cites them)
//!       ├─▶ serve (server and conformance agents over TCP)
//!       ├─▶ interop (npm ci, serve, node --test)
//!       ├─▶ bench (mock chats on this machine's clock)
//!       ├─▶ fuzz (cargo-fuzz over the decoders)
//!       └─▶ steps (test, ci: cargo, then all of the above)
//! ```

mod address;
mod bad_input;
mod bench;
mod bless;
mod cast;
mod chat;
mod cli;
mod fuzz;
mod house;
mod interop;
mod judge;
mod markdown;
mod outside;
mod pool;
mod proposal;
mod red;
mod rule_id;
mod serve;
mod sim;
mod spec;
mod steps;
mod stories;
mod tidy;
mod tree;
mod verdict;
mod watchdog;

// Built with the rest: its dependencies have more features than ours, and what stands above those would be built twice (tidy).
use turnkeep_mcp as _;

pub use cli::main;
pub use stories::{Story, stories};
