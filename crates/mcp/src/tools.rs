//! The tools: their names, their inputs, and how an input is read (C §7).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use turnkeep_protocol::JsonObject;

use crate::error::ToolError;

const LIST: &str = "list_agents";
const START: &str = "start_agent_chat";
const SEND: &str = "send_agent_message";
const CLOSE: &str = "close_agent_chat";

/// What an MCP client is told of a tool.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) name: &'static str,
    pub(crate) description: &'static str,
    pub(crate) input: Value,
    /// Read-only mode leaves it out (C-233).
    pub(crate) is_write: bool,
    /// The same call again changes nothing more.
    pub(crate) is_idempotent: bool,
}

/// A call whose input is right.
#[derive(Debug, PartialEq)]
pub(crate) enum Call {
    List,
    Start(StartAgentChat),
    Send(SendAgentMessage),
    Close(CloseAgentChat),
}

/// `start_agent_chat` (C-224).
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct StartAgentChat {
    pub(crate) agent_id: String,
    pub(crate) chat_id: Option<String>,
    pub(crate) client_data: Option<JsonObject>,
    #[serde(default = "yes")]
    pub(crate) preload: bool,
}

/// `send_agent_message` (C-226).
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct SendAgentMessage {
    pub(crate) chat_id: String,
    pub(crate) message: String,
}

/// `close_agent_chat` (C-231).
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct CloseAgentChat {
    pub(crate) chat_id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

fn yes() -> bool {
    true
}

/// Gives the tools; in read-only mode `list_agents` alone (C-233).
pub(crate) fn offered(read_only: bool) -> Vec<Offered> {
    let chat_id =
        || json!({ "type": "string", "minLength": 1, "description": "The chat, as start_agent_chat named it" });
    let object = |properties: Value, required: &[&str]| json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    let start = json!({
        "agentId": { "type": "string", "minLength": 1, "description": "The agent's id, from list_agents" },
        "chatId": { "type": "string", "minLength": 1,
            "description": "An id of your own, to find the chat again later; a new one if left out" },
        "clientData": { "type": "object", "description": "What the agent wants to know of its client" },
        "preload": { "type": "boolean", "default": true, "description": "Whether the agent is wanted at once" },
    });
    let send =
        json!({ "chatId": chat_id(), "message": { "type": "string", "minLength": 1, "description": "What to say" } });
    let tools = [
        Offered {
            name: LIST,
            description: "Lists the agents that you can chat with.",
            input: object(json!({}), &[]),
            is_write: false,
            is_idempotent: true,
        },
        Offered {
            name: START,
            description: "Opens a chat with an agent. The same chat id opens the same chat again, with all that was said.",
            input: object(start, &["agentId"]),
            is_write: true,
            is_idempotent: true,
        },
        Offered {
            name: SEND,
            description: "Sends a message in an open chat and waits for the agent's whole answer.",
            input: object(send, &["chatId", "message"]),
            is_write: true,
            is_idempotent: false,
        },
        Offered {
            name: CLOSE,
            description: "Ends the agent's run and forgets the chat here. What was said is kept.",
            input: object(json!({ "chatId": chat_id() }), &["chatId"]),
            is_write: true,
            is_idempotent: false,
        },
    ];
    tools.into_iter().filter(|tool| !(read_only && tool.is_write)).collect()
}

/// Reads a call.
pub(crate) fn read(name: &str, input: JsonObject, read_only: bool) -> Result<Call, ToolError> {
    let offered = offered(read_only);
    let Some(tool) = offered.iter().find(|tool| tool.name == name) else {
        let known: Vec<&str> = offered.iter().map(|tool| tool.name).collect();
        return Err(ToolError::UnknownTool { name: name.to_owned(), known: known.join(", ") });
    };
    let tool = tool.name;
    let wrong = |problem: &str| Err(ToolError::BadInput { tool, problem: problem.to_owned() });
    match tool {
        LIST => parse::<Nothing>(tool, input).map(|Nothing {}| Call::List),
        START => {
            let start: StartAgentChat = parse(tool, input)?;
            match start.chat_id.as_deref() {
                _ if start.agent_id.is_empty() => wrong("agentId is empty"),
                Some("") => wrong("chatId is empty: leave it out for a new chat"),
                // C-1: it would be taken for a session's own id.
                Some(chat_id) if chat_id.starts_with("session_") => {
                    wrong("a chatId must not begin with session_: that is how sessions' own ids begin")
                }
                _ => Ok(Call::Start(start)),
            }
        }
        SEND => {
            let send: SendAgentMessage = parse(tool, input)?;
            if send.message.trim().is_empty() { wrong("message is empty") } else { Ok(Call::Send(send)) }
        }
        _ => parse(tool, input).map(Call::Close),
    }
}

fn parse<T: DeserializeOwned>(tool: &'static str, input: JsonObject) -> Result<T, ToolError> {
    let parsed = serde_json::from_value(Value::Object(input));
    parsed.map_err(|error| ToolError::BadInput { tool, problem: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(value: Value) -> JsonObject {
        value.as_object().unwrap().clone()
    }

    #[track_caller]
    fn refused(name: &str, input: Value, want: &str) {
        let said = read(name, object(input), false).unwrap_err().to_string();
        assert!(said.contains(want), "{said}");
    }

    #[test]
    fn the_write_tools_are_absent_in_read_only_mode_c233() {
        let names = |read_only| offered(read_only).iter().map(|tool| tool.name).collect::<Vec<_>>();

        assert_eq!(names(false), [LIST, START, SEND, CLOSE]);
        assert_eq!(names(true), [LIST]);
        let said = read(CLOSE, object(json!({ "chatId": "c" })), true).unwrap_err().to_string();
        assert_eq!(said, "there is no tool close_agent_chat: use one of list_agents");
        assert_eq!(read(LIST, JsonObject::new(), true).unwrap(), Call::List);
    }

    #[test]
    fn a_start_needs_an_agent_and_preloads_unless_told_otherwise_c224() {
        let Call::Start(start) = read(START, object(json!({ "agentId": "echo" })), false).unwrap() else { panic!() };
        assert_eq!((start.chat_id, start.client_data, start.preload), (None, None, true));

        refused(START, json!({}), "the input of start_agent_chat is wrong: missing field `agentId`");
        refused(START, json!({ "agentId": "" }), "agentId is empty");
        refused(START, json!({ "agentId": "a", "chatId": "" }), "chatId is empty");
        refused(START, json!({ "agentId": "a", "chatId": "session_1" }), "must not begin with session_");
        refused(START, json!({ "agentId": "a", "environment": "prod" }), "unknown field `environment`");
    }

    #[test]
    fn a_message_says_something_c226() {
        refused(SEND, json!({ "chatId": "c" }), "missing field `message`");
        refused(SEND, json!({ "chatId": "c", "message": " \n" }), "message is empty");
        refused(CLOSE, json!({}), "missing field `chatId`");
        refused(LIST, json!({ "x": 1 }), "unknown field `x`");
        refused(
            "start_chat",
            json!({}),
            "use one of list_agents, start_agent_chat, send_agent_message, close_agent_chat",
        );
    }
}
