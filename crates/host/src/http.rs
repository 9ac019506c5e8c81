//! HTTP/1.1 over a [`Host`](crate::Host)'s connections: an accept loop for servers, a small client for everything else.
//!
//! No pool (D-51): a keep-alive connection is owned by the [`HttpClient`] that uses it. Every wait has a deadline:
//! connect, first byte; the idle wait of a streaming body is its reader's.

mod base_url;
mod client;
mod error;
mod segment;
mod server;

pub use base_url::BaseUrl;
pub use client::{BodyStream, Deadlines, HttpClient};
pub use error::Error;
pub use segment::segment;
pub use server::{HttpService, MAX_CONNECTIONS, Shutdown, WRITE_DEADLINE, serve, serve_until};
