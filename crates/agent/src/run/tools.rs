//! What a turn begins with, and its tools: the agent's own list, or what its resolver says.

use serde_json::Value;

use super::Run;
use super::turn::Turn;
use crate::chat::TurnContext;
use crate::error::{Error, HookError};
use crate::event::ResolveTools;
use crate::tool::{Tool, check_tools, with_mappings};

impl Run {
    /// Sets a turn or an action up: its client data, its context, its tools.
    pub(super) async fn set_up(&mut self, turn: &mut Turn) -> Result<(), HookError> {
        // Entered first: whatever runs when the client data is bad runs in this turn and not in the one before.
        let context =
            TurnContext { number: turn.number, continuation: self.is_continuation(), client_data: Value::Null };
        self.chat.enter_turn(context.clone());
        turn.client_data = self.parse_client_data(turn.payload.metadata.as_ref())?;
        self.chat.enter_turn(TurnContext { client_data: turn.client_data.clone(), ..context });
        self.resolve_tools(turn.number, &turn.client_data).await
    }

    /// Resolves tools by the author's rules, if there are any. A failure leaves none: the set of another turn is never used.
    async fn resolve_tools(&mut self, turn: usize, client_data: &Value) -> Result<(), HookError> {
        let Some(resolve) = self.agent.hooks.tools.clone() else {
            return Ok(());
        };
        self.take_tools(Vec::new());
        let tools = resolve(ResolveTools {
            chat: self.chat.clone(),
            turn,
            continuation: self.is_continuation(),
            client_data: client_data.clone(),
        });
        let tools = tools.await?;
        check_tools(&tools)?;
        self.take_tools(tools);
        self.server_tools.resolved();
        Ok(())
    }

    /// Resolves the tools that the restored history is read with; without any it is read all the same, and
    /// no answer to a call is taken over.
    pub(super) async fn resolve_boot_tools(&mut self) -> Result<(), Error> {
        if self.agent.hooks.tools.is_none() {
            return Ok(());
        }
        let resolved = match self.parse_client_data(self.payload.metadata.as_ref()) {
            Ok(client_data) => self.resolve_tools(0, &client_data).await,
            Err(error) => Err(error),
        };
        if let Err(error) = resolved {
            self.fatal("tools", &error)?;
            self.warn(format!("the history is read without tools: {error}"));
        }
        Ok(())
    }

    /// Works with these tools from now on.
    pub(super) fn take_tools(&mut self, tools: Vec<Tool>) {
        // A tool that ever ran here stays one whose results nobody else may bring.
        let run_here = tools.iter().filter(|tool| tool.execute().is_some());
        self.server_tools.extend(run_here.map(|tool| tool.name().to_owned()));
        self.agent.model_outputs = with_mappings(self.own_outputs.clone(), &tools);
        self.agent.tools = tools;
    }
}
