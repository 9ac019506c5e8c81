//! What a tool gets when nobody runs a turn.

use std::sync::Arc;

use turnkeep_host::Host;
use turnkeep_protocol::JsonObject;

use super::{FakeLink, FakeSession};
use crate::chat::{Chat, ChunkWriter, QueuedParts};
use crate::deferred::Deferred;
use crate::link::Link;
use crate::locals::Locals;
use crate::metadata::Metadata;
use crate::out::OutWriter;
use crate::signal::Signal;
use crate::tool::ToolContext;

/// Makes a context on the real machine; what is written through it goes nowhere.
pub(crate) fn tool_context() -> ToolContext {
    let host = Host::os();
    let link: Arc<dyn Link> = Arc::new(FakeLink(Arc::new(FakeSession::default())));
    let metadata = Arc::new(Metadata::new(link.clone(), JsonObject::new()));
    let writer = ChunkWriter::new(OutWriter::start(&host, link, host.entropy()), QueuedParts::default());
    let deferred = Arc::new(Deferred::new());
    let chat = Chat::new("chat".to_owned(), host, writer.clone(), Locals::new(), metadata, Arc::downgrade(&deferred));
    // A chat only refers to it, and no run keeps it here.
    std::mem::forget(deferred);
    ToolContext {
        tool_call_id: "call".to_owned(),
        messages: Vec::new(),
        stop_signal: Signal::new(),
        chat,
        context: None,
        writer,
    }
}
