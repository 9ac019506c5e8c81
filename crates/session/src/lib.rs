//! The session server: two channels per session, storage, SSE, starting runs.
//!
//! ```text
//!  clients ── append ──▶ in ──▶ run      HTTP handlers ── commands ──▶ one actor ── changes ──▶ Storage
//!  clients ◀── SSE ──── out ◀── batch ── run                    (pure Core)     then answers, then wakes
//! ```
//!
//! A 2xx to a write means that it survives a crash of the server (D-12). All decisions are made in a core without clock or I/O;
//! what it decides leaves it as [`Change`]s, and a [`Storage`] keeps them.
//!
//! ```no_run
//! use std::sync::Arc;
//! use turnkeep_host::Host;
//! use turnkeep_session::{Environment, RedbStorage, Server, objects_in_folder};
//!
//! # async fn example() -> Result<(), turnkeep_session::Error> {
//! let host = Host::os();
//! let storage = Arc::new(RedbStorage::in_folder(&host, "data").await?);
//! let snapshots = objects_in_folder(&host, "data/snapshots").await?;
//! let environment = Environment::new("env_1", "tr_dev_secret");
//! let server = Server::new(host, storage, snapshots, environment).bind("127.0.0.1:0").await?;
//! println!("listening on {}", server.local_addr());
//! server.run().await?;
//! # Ok(())
//! # }
//! ```

mod environment;
mod metrics;
mod rate_limit;
mod server;

mod change;
mod channel;
mod core;
mod standing;
mod storage;
mod trims;

mod actor;
mod steady;
mod wakes;

mod http;
mod iso;
mod objects;
mod presign;
mod token;

#[cfg(feature = "cli")]
pub mod cli;

mod error;

pub use ::object_store::ObjectStore;
pub use ::object_store::memory::InMemory as InMemoryObjects;
pub use ::redb::StorageBackend;
pub use change::{
    CancelledBy, Change, Millis, RecordWriter, RunReason, RunRow, RunStatus, SessionRow, SnapshotId, StoreId,
    WaitpointRow,
};
pub use environment::Environment;
pub use error::{Error, StorageError};
pub use objects::{object_place, objects_in_folder};
pub use rate_limit::RateLimit;
pub use server::{BoundServer, Server, Stopped};
pub use standing::{NewestOutput, Part, Shape, Standing, Summary};
#[cfg(feature = "conformance")]
pub use storage::conformance;
pub use storage::{
    Bounds, Disk, Loaded, LoadedChannel, LoadedSession, MemoryDisk, MemoryStorage, RedbStorage, Storage, Window,
    Windows,
};
pub use trims::{Trim, Trims};
