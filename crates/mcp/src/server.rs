//! [`AgentTools`]: the tools as rmcp serves them. Nothing is decided here.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation, ListToolsResult,
    PaginatedRequestParams, ServerCapabilities, ServerConfig, Tool, ToolAnnotations,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::json;
use turnkeep_host::Host;
use turnkeep_protocol::JsonObject;

use crate::error::ToolError;
use crate::progress::Progress;
use crate::settings::Settings;
use crate::talk::Talk;
use crate::tools::{self, Call, Offered};
use crate::words;

const INSTRUCTIONS: &str = "Chat with agents: list_agents, then start_agent_chat, then send_agent_message as often as you like, \
                            then close_agent_chat. A chat id opens the same chat again, also days later.";

/// Serves the tools to one MCP client: `AgentTools::new(host, settings).serve(stdio())`.
pub struct AgentTools {
    talk: Talk,
}

impl AgentTools {
    /// Makes the tools; nothing is requested before the first call.
    pub fn new(host: Host, settings: Settings) -> Self {
        Self { talk: Talk::new(host, settings) }
    }

    async fn call(
        &self,
        name: &str,
        input: JsonObject,
        context: RequestContext<RoleServer>,
    ) -> Result<String, ToolError> {
        match tools::read(name, input, self.talk.settings().read_only)? {
            Call::List => Ok(words::agents(&self.talk.settings().agents)),
            Call::Start(start) => self.talk.start(start).await,
            Call::Send(send) => {
                let mut progress = Progress::new(context.peer, context.meta.get_progress_token());
                self.talk.send(&send, &mut progress, context.ct.cancelled()).await
            }
            Call::Close(close) => self.talk.close(&close.chat_id).await,
        }
    }
}

impl ServerHandler for AgentTools {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("turnkeep-mcp", env!("CARGO_PKG_VERSION")))
            .with_instructions(INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let offered = tools::offered(self.talk.settings().read_only);
        Ok(ListToolsResult::with_all_items(offered.into_iter().map(tool).collect()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let said = self.call(&request.name, request.arguments.unwrap_or_default(), context).await;
        let result = match said {
            Ok(text) => CallToolResult::success(vec![ContentBlock::text(text)]),
            Err(error) => {
                tracing::info!(tool = %request.name, %error, "a call failed");
                let text = json!({ "error": error.to_string() }).to_string();
                CallToolResult::error(vec![ContentBlock::text(text)])
            }
        };
        Ok(result.into())
    }
}

fn tool(offered: Offered) -> Tool {
    let input = offered.input.as_object().expect("a schema is an object").clone();
    let hints = ToolAnnotations::new()
        .read_only(!offered.is_write)
        .destructive(false)
        .idempotent(offered.is_idempotent)
        .open_world(offered.is_write);
    Tool::new(offered.name, offered.description, Arc::new(input)).with_annotations(hints)
}
