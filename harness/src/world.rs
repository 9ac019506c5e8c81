//! The simulated world: real server, real workers, real transports on a turmoil network in virtual time.
//!
//! ```text
//!   person (page, Transport) ──┐
//!   person (page, Transport) ──┼── HTTP + SSE ──▶ session (Server, disk) ◀── HTTP + SSE ── worker-1 (Worker, agent)
//!                              └──────── HTTP ──▶ app (author's database) ◀── HTTP ───────────┘
//! ```
//!
//! A person is one host, because a person's link is what fails; her pages are tasks inside it. She may be a program on a server, which
//! has no page.

mod backend;
mod driver;
mod head;
mod host;
mod machine;
mod net;
mod page;
mod person;
mod program;
mod screen;
mod shelf;
mod sim;
mod stage;
mod storage;
mod tabs;
#[cfg(test)]
mod tests;
mod watch;

pub use machine::World;
pub use stage::{Backstage, Cast};

use crate::outcome::Violation;
use crate::scenario::Scenario;
use crate::trace::Trace;

/// Plays a story into `trace`; gives what did not come true in time, or why it could not be played.
pub(crate) fn play(
    scenario: &Scenario,
    agent: &str,
    seed: u64,
    cast: &Cast,
    trace: &Trace,
) -> Result<Vec<Violation>, String> {
    let mut stage = stage::Stage::set(scenario, agent, seed, cast, trace);
    driver::tell(&mut stage, scenario)
}
