//! What a tool answers when it cannot do what it was asked: what, where, and what to do now.

use turnkeep_client::Error as ClientError;

/// An answer with `isError` (C §7).
#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("there is no tool {name}: use one of {known}")]
    UnknownTool { name: String, known: String },
    #[error("the input of {tool} is wrong: {problem}")]
    BadInput { tool: &'static str, problem: String },
    #[error("agent {agent} is not listed: use one of {known}")]
    UnknownAgent { agent: String, known: String },
    /// C-226, C-231.
    #[error("chat {chat_id} is not open here: open it with start_agent_chat and this chat id")]
    UnknownChat { chat_id: String },
    /// C-225.
    #[error(
        "chat {chat_id} is open with agent {open}, not {asked}: go on with send_agent_message, or start another chat with {asked}"
    )]
    OtherAgent { chat_id: String, open: String, asked: String },
    #[error("chat {chat_id} is being started by another call: wait for that one, then use send_agent_message")]
    Starting { chat_id: String },
    #[error("chat {chat_id} is answering another message: wait for that answer, then send again")]
    Answering { chat_id: String },
    #[error("{limit} chats are open, and no more may be: end one with close_agent_chat")]
    TooManyChats { limit: usize },
    #[error("chat {chat_id} was not {done} within {limit_s} s by the server at {server}: call again")]
    Late { chat_id: String, done: &'static str, limit_s: u64, server: String },
    #[error("chat {chat_id} was not {done} by the server at {server}: {cause}; {}", advice(.cause))]
    Refused { chat_id: String, done: &'static str, server: String, cause: Box<ClientError> },
    #[error("chat {chat_id} is closed for good{}: start another chat", because(.reason))]
    Closed { chat_id: String, reason: Option<String> },
    /// After a stop whose place is unknown (C-113).
    #[error(
        "chat {chat_id} cannot tell a new answer from one that was stopped: open it again with start_agent_chat and this chat id"
    )]
    Untellable { chat_id: String },
    #[error("the answer in chat {chat_id} broke off: {cause}; {}{}", advice(.cause), so_far(.said))]
    BrokenOff { chat_id: String, cause: Box<ClientError>, said: String },
    #[error("the agent of chat {chat_id} could not finish its answer: {problem}; send the message again or another one{}", so_far(.said))]
    AgentFailed { chat_id: String, problem: String, said: String },
    #[error("the call was cancelled; the agent of chat {chat_id} was told to stop")]
    Cancelled { chat_id: String },
}

/// Says what may help.
fn advice(cause: &ClientError) -> &'static str {
    match cause.status() {
        Some(401 | 403) => "check the secret key that this server was started with",
        Some(404) => "check the base URL that this server was started with",
        Some(413) => "send a shorter message",
        _ if cause.is_retryable() => "call again",
        None => "check that the session server runs at this base URL, then call again",
        Some(_) => "do not repeat this call unchanged",
    }
}

fn because(reason: &Option<String>) -> String {
    reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default()
}

fn so_far(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!("\n\nUntil then it said:\n\n{said}") }
}
