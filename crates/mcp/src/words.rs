//! What the tools say when all is well; an assistant reads it, so each text names the next step.

use turnkeep_protocol::RunId;

use crate::settings::ListedAgent;

/// C-223.
pub(crate) fn agents(listed: &[ListedAgent]) -> String {
    if listed.is_empty() {
        return "This server was started without a list of agents. If you know an agent's id, open a chat with it by \
                start_agent_chat; whoever runs this server lists agents with --agent ID."
            .to_owned();
    }
    let lines = listed.iter().map(|agent| match &agent.description {
        Some(description) => format!("- {}: {description}", agent.id),
        None => format!("- {}", agent.id),
    });
    let lines: Vec<String> = lines.collect();
    format!("Agents:\n{}\n\nOpen a chat with one by start_agent_chat.", lines.join("\n"))
}

/// C-224; the wording alone depends on `preload`.
pub(crate) fn started(
    chat_id: &str,
    session: &str,
    agent: &str,
    run: &RunId,
    was_there: bool,
    preload: bool,
) -> String {
    let how = match (was_there, preload) {
        (true, _) => "The chat was there already and is open again; what was said before is kept.",
        (false, true) => "The chat is open and its agent is booting.",
        (false, false) => "The chat is open; its agent answers the first message.",
    };
    format!(
        "{how}\nChat: {chat_id}\nSession: {session}\nAgent: {agent}\nRun: {run}\n\nTalk to it with send_agent_message and this chat id."
    )
}

/// C-225.
pub(crate) fn is_open(chat_id: &str) -> String {
    format!("Chat {chat_id} is open already. Go on with send_agent_message.")
}

/// C-227.
pub(crate) fn answered(said: &str, run: &RunId) -> String {
    let said = if said.is_empty() { "[the agent ended its turn without a word]" } else { said };
    format!("{said}\n\n[Run: {run}]")
}

/// C-228.
pub(crate) fn unfinished(said: &str, limit_s: u64, run: &RunId) -> String {
    let said = if said.is_empty() { "[nothing yet]" } else { said };
    format!(
        "{said}\n\n[The answer is not finished: it took longer than {limit_s} s. The agent goes on working; the rest is not shown by \
         a later call. Ask it with send_agent_message.]\n\n[Run: {run}]"
    )
}

/// C-231.
pub(crate) fn closed(chat_id: &str, was_told: bool) -> String {
    let agent =
        if was_told { "its agent was told to end its run" } else { "its agent could not be told and ends by itself" };
    format!(
        "Chat {chat_id} is closed here; {agent}. What was said is kept: start_agent_chat with this chat id opens it again."
    )
}
