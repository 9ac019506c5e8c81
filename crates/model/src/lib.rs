//! The model seam: LanguageModel, prompts, stream parts and their chunks.
//!
//! A step flows `Prompt → LanguageModel → StreamPart… → ChunkMapper → UiMessageChunk…`; between turns `to_model_messages` turns
//! the history of a chat into the next prompt's messages. No I/O happens here: adapters bring their own.

mod error;
mod language_model;
mod part;
mod prompt;
mod usage;

pub use error::ModelError;
pub use language_model::{LanguageModel, StreamParts};
pub use part::{StreamPart, ToolCall, ToolResult};
pub use prompt::{Prompt, ToolSpec};
pub use usage::{FinishReason, Usage};
