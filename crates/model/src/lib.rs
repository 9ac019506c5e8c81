//! The model seam: LanguageModel, prompts, stream parts and their chunks.
//!
//! A step flows `Prompt → LanguageModel → StreamPart… → ChunkMapper → UiMessageChunk…`; between turns
//! [`to_model_messages`] turns the history of a chat into the next prompt's messages. No I/O happens here, except in the
//! adapters that an author asks for: `Provider::openai` and `Provider::anthropic`, behind the features of these names.
//!
//! ```
//! use turnkeep_model::{ChunkMapper, StreamPart, UiStreamOptions};
//!
//! let mapper = ChunkMapper::new("m1", UiStreamOptions::new());
//! let chunks = mapper.map_stream_part(StreamPart::text_delta("1", "Rain"));
//! assert_eq!(serde_json::to_string(&chunks).unwrap(), r#"[{"type":"text-delta","id":"1","delta":"Rain"}]"#);
//! ```

#[cfg(feature = "anthropic")]
mod anthropic;
mod convert;
mod error;
mod language_model;
mod mapper;
#[cfg(feature = "openai")]
mod openai;
mod options;
mod part;
mod prompt;
#[cfg(any(feature = "anthropic", feature = "openai"))]
mod provider;
mod usage;

pub use convert::{ConvertError, ModelOutputs, ToModelOutput, ToolOutputInput, to_model_messages};
pub use error::ModelError;
pub use language_model::{LanguageModel, StreamParts};
pub use mapper::{ChunkMapper, GenerationEvent};
pub use options::{GenerateMessageId, MessageMetadata, OnError, UiStreamOptions};
pub use part::{StreamPart, ToolCall, ToolResult};
pub use prompt::{Origin, Prompt, ToolSpec};
#[cfg(any(feature = "anthropic", feature = "openai"))]
pub use provider::{CallDeadlines, FORBID_MODEL_CALLS, Provider, RealCalls};
pub use usage::{FinishReason, Usage};
