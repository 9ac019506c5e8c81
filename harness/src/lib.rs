//! What proves: a scripted model, an offline chat, the simulated world, scenarios, checks and goldens.
//!
//! The default features build and run anywhere, without any flag (D-28): [`model::MockLanguageModel`] and the offline host. Feature `world`
//! adds the simulation, which needs tokio's seeded scheduler.

#[cfg(all(feature = "world", not(tokio_unstable)))]
compile_error!(
    "feature `world` needs `--cfg tokio_unstable`: put `rustflags = [\"--cfg\", \"tokio_unstable\"]` under `[build]` in \
     .cargo/config.toml, run cargo from inside that workspace, and unset RUSTFLAGS"
);

pub mod app;
mod block_on;
#[cfg(feature = "world")]
pub mod checks;
pub mod document;
#[cfg(feature = "world")]
pub mod golden;
#[cfg(doctest)]
mod guide;
mod in_memory_tasks;
mod memory_files;
mod mock_chat;
mod mock_child;
pub mod model;
mod offline;
#[cfg(feature = "world")]
mod outcome;
mod overheard;
mod redactions;
#[cfg(feature = "world")]
pub mod report;
#[cfg(feature = "world")]
mod run;
#[cfg(feature = "world")]
pub mod scenario;
mod scripted_processes;
mod simulate;
#[cfg(feature = "world")]
pub mod trace;
#[cfg(feature = "world")]
mod transcript;
mod watched;
#[cfg(feature = "world")]
pub mod world;

pub use block_on::block_on;
pub use in_memory_tasks::{InMemoryRun, InMemoryTasks};
pub use memory_files::MemoryFiles;
pub use mock_chat::{
    At, Barrier, Fault, FaultPoint, Faults, Handover, Leaks, MOCK_SECRET_KEY, MOCK_SESSION_URL, MockChat,
    MockChatAgent, MockMode, MockOutcome, MockTaskContext, MockTaskDrivers, MockTurn, Posted, Restart, SendError,
    SendFailure, Sending, SetupError, TokenAnswer, run_in_mock_task_context,
};
pub use mock_child::{
    ChildDrivers, ChildInputs, ChildOutputs, ChildWorker, MAX_QUEUED_INPUTS, MockChild, run_in_mock_child_context,
};
pub use offline::{EPOCH, offline_host, since_epoch};
#[cfg(feature = "world")]
pub use outcome::{Outcome, Violation, ViolationKind};
pub use redactions::insta_settings;
#[cfg(feature = "world")]
pub use run::{run, run_with};
pub use scripted_processes::ScriptedProcesses;
pub use simulate::{SimulateStream, simulate_stream};
#[cfg(feature = "world")]
pub use world::World;

// `insta_settings` are settings of this very insta.
pub use insta;
