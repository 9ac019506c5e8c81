//! The client transport: send, subscribe, resume by cursor.

mod api;
mod error;
mod reader;

pub use error::{Error, Refused};
pub use reader::{HistoryGap, Part, ReadOptions, Reader, ReaderHandle, RetryPolicy};
pub use api::MAX_CALL_ATTEMPTS;
