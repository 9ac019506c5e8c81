//! The client transport: send, subscribe, resume by cursor.
//!
//! ```text
//! application ──▶ Transport ──append──▶ session server
//!      ▲             │  └─state to persist
//!      └─ChatStream──┴──Reader◀──SSE── session server
//! ```
//!
//! [`Transport`] is what a page or a bot holds. [`Reader`] is the resumable subscription under it, for either channel; runs use it
//! to follow `in`. [`SessionsApi`] creates and closes sessions with a secret key.
//!
//! ```
//! use turnkeep_client::ChatSessionState;
//!
//! let saved = r#"{"publicAccessToken":"t","lastEventId":"41","isStreaming":true}"#;
//! let state: ChatSessionState = serde_json::from_str(saved)?;
//! assert_eq!(serde_json::to_string(&state)?, saved);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod agent_chat;
mod api;
mod append;
mod create;
mod error;
mod listeners;
mod pending;
mod reader;
mod route;
mod sessions;
mod start_action;
mod state;
mod transport;

pub use agent_chat::{
    AgentChat, AgentChatBuilder, OnTriggered, OnTurnComplete, Triggered, TurnComplete, random_chat_id,
};
pub use api::MAX_CALL_ATTEMPTS;
pub use create::{CHAT_AGENT, chat_tags};
pub use error::{CallbackError, Error, Refused};
pub use listeners::Listening;
pub use pending::{MAX_PENDING_MESSAGES, PendingMessage, PendingMessages, PendingStage};
#[cfg(feature = "decode")]
pub use reader::{BodyDecoder, attack_frames, attack_records};
pub use reader::{
    HistoryGap, OnComplete, OnError, Part, ReadOptions, Reader, ReaderHandle, ResolveHeaders, RetryPolicy, StallBudget,
};
pub use route::{BaseUrlFor, Endpoint, Fetch, FetchContext, HeadersFor};
pub use sessions::SessionsApi;
pub use start_action::{StartChat, StartSessionAction, StartedSession};
pub use state::ChatSessionState;
pub use transport::{
    AbortHandle, AccessToken, ChatEvent, ChatEventKind, ChatMessages, ChatResult, ChatStream, ClosedSource, Delivered,
    OnAbort, OnEvent, OnMessage, OnReadOnly, OnSessionChange, OnStoreChange, OnTabMessages, Outcome, PageEvent,
    PendingSource, SendMessages, Sent, Source, StartRequest, StartSession, TabChannel, TabMessage, TokenRequest,
    ToolCall, ToolResult, Transport, TransportBuilder,
};
