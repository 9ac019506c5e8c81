//! What a process gets from its machine: a clock, a network, entropy by name, a place to run tasks, files and other programs.
//!
//! Everything in `crates/` takes these from a [`Host`] and from nowhere else, so the very same code runs on real TCP, on an
//! in-memory network and inside the simulated world (D-48, D-51). Elapsed time and timers are `tokio::time` everywhere.
//!
//! ```text
//! Host::os() ───────────────┐
//! world.host(name) ─────────┼──▶ Host ──▶ clock · net · entropy · spawn · blocking · files · process ──▶ http::{serve, HttpClient}
//! offline_host(seed) ───────┘
//! ```
//!
//! ```
//! use turnkeep_host::{Entropy, Host};
//!
//! let host = Host::os();
//! assert!(host.clock().now().as_millis() > 0);
//! let seed = Entropy::from_seed(7);
//! assert_eq!(seed.child("ids").draws().next_u64(), seed.child("ids").draws().next_u64());
//! ```

mod absent;
mod blocking;
mod clock;
mod entropy;
mod files;
mod host;
pub mod http;
mod net;
mod os;
mod process;
mod spawn;
#[cfg(feature = "tls")]
mod tls;

pub use absent::Absent;
pub use blocking::{Blocking, Inline};
pub use clock::{Clock, Timestamp};
pub use entropy::{Draws, Entropy};
pub use files::{FileStart, Files};
pub use host::{Host, HostParts};
pub use net::{Connection, Io, Listener, Net};
pub use process::{Command, Finished, Kept, Processes};
pub use spawn::{Spawn, Task, Tasks};
#[cfg(feature = "tls")]
pub use tls::Tls;
