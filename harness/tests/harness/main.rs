//! The harness as its users call it.

mod offline;
#[cfg(feature = "world")]
mod two_networks;
