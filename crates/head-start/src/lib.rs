//! Head start: the first step of a chat in the author's warm server, then the handover to the agent's run (C §5).
//!
//! ```text
//! page ──POST──▶ HeadStart ──creates──▶ session server ──boots──▶ run: waits for the handover
//!   ▲               │ step 1 of the author's model                     │
//!   └──────SSE──────┤──batches──▶ out                                  │
//!                   └──handover──▶ in ────────────────────────────────▶│ tools, step 2…
//! page ◀──SSE── the run's chunks, read from `out` ◀────────────────────┘
//! ```
//!
//! A run needs some time to boot; a server that is warm already asks the model meanwhile. The process stays light: its tools are
//! schemas only, and the agent's code runs them (C-183).
//!
//! [`HeadStart`] is a tower service for the route that the page's transport calls for its first turn. [`HeadStart::open_session`] gives
//! the session by hand, [`HeadStart::start`] makes the first step without a page.
//!
//! ```
//! use turnkeep_head_start::HeadStartRequest;
//!
//! let body = br#"{"chatId":"c1","headStartMessages":[{"id":"u1","role":"user","parts":[{"type":"text","text":"Hi"}]}]}"#;
//! let request = HeadStartRequest::parse(body)?;
//! assert_eq!((request.chat_id(), request.messages().len()), ("c1", 1));
//! assert_eq!(HeadStartRequest::parse(b"{}").unwrap_err().to_string(), "chatId is missing");
//! # Ok::<(), turnkeep_head_start::Error>(())
//! ```

mod answer;
mod batch;
mod body;
mod create;
mod detached;
mod error;
mod existing;
mod handover;
mod head_start;
mod out;
mod partial;
mod request;
mod seam;
mod session;
mod step;
mod stitch;
mod stream_text;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/head-start.md")]
mod guide {}

pub use body::HeadStartBody;
pub use detached::{Completion, DetachedHeadStart, StartHeadStart};
pub use error::{Error, RunError};
pub use existing::ExistingChat;
pub use handover::{Handover, StepResult};
pub use head_start::{HeadStart, MAX_REQUEST_BYTES, OnError, OpenedSession, Run};
pub use request::HeadStartRequest;
pub use session::{HeadStartSession, HeadStartStream};
pub use stream_text::{FirstStep, StreamText};
