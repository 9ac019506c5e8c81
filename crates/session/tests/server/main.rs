//! The session server over real TCP on loopback, driven by the very HTTP client that ships.

mod support;

mod auth;
mod channels;
mod closing;
mod durability;
mod keys;
#[cfg(feature = "cli")]
mod kills;
mod limits;
#[cfg(feature = "cli")]
mod logs;
mod operations;
mod rows;
mod runs;
mod sessions;
mod snapshots;
mod sse;
mod windows;
