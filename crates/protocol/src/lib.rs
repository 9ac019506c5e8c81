//! The words on the wire: records, chunks, control, SSE frames, ids.
//!
//! No I/O and no async: every crate that speaks or stores the session protocol shares these types.

#[cfg(feature = "arbitrary")]
mod arbitrary_json;
pub mod chunk;
mod data_kind;
mod ids;
mod input;
pub mod message;
pub mod messages;
pub mod model_message;
mod overlay;
mod partial_json;
mod patch;
mod record;
pub mod reduce;
#[cfg(test)]
mod round_trip;
pub mod run_api;
pub mod session_api;
mod slim;
mod snapshot;
pub mod sse;
#[cfg(test)]
mod testing;
mod wire;

pub use chunk::UiMessageChunk;
pub use data_kind::DataKind;
pub use ids::{ChannelName, PartId, RunId, SeqNum, SessionId, TaskId, WaitpointId, WorkerId};
pub use input::{ChatInputChunk, ChatTaskWirePayload, InputRecord, Trigger, is_owed};
pub use message::{Role, ToolApproval, ToolPart, ToolState, UiMessage, UiPart};
pub use messages::Messages;
pub use model_message::{ContentPart, ModelMessage, ModelRole, ToolResultOutput};
pub use overlay::{Overlay, RefusalReason, RefusedAnswer, overlay_tool_states};
pub use partial_json::parse_partial_json;
pub use patch::{
    MAX_PATCH_OPERATIONS, MAX_STORE_BYTES, MAX_STORE_DEPTH, Patch, PatchError, PatchOperation, check_store_value,
};
pub use record::{
    ANSWERS_NOTHING, Batch, Envelope, Header, MAX_CHUNK_BYTES, MAX_RECORD_BYTES, NewRecord, PUBLIC_ACCESS_TOKEN, Ping,
    Record, RecordKind, SESSION_CLOSED, SESSION_CLOSED_REASON, SESSION_IN_CONSUMED_ID, SESSION_IN_EVENT_ID,
    TRIGGER_CONTROL, TRIM, Tail, control,
};
pub use reduce::{MessageReducer, ReduceError, cleanup_aborted_parts};
pub use slim::{slim_message, upsert_incoming_message};
pub use snapshot::{ChatSnapshot, Withheld};
pub use sse::{Frame, FrameDecoder, FrameTooLarge};
pub use wire::JsonObject;
