//! The conformance agents: the ids and behaviours that any suite of third-party clients may rely on.
//!
//! Their table is `docs/spec/conformance-agents.md`; nothing is added here. They need no network and no model of anybody's: what they
//! say is a function of what the model would read.

mod remembering;
mod scripted;
mod talking;
mod tooling;

use turnkeep_agent::Agent;
use turnkeep_agent::client::SessionsApi;
use turnkeep_agent::host::Host;
use turnkeep_agent::host::http::BaseUrl;

pub use scripted::Scripted;
pub(crate) use scripted::newest_question;

/// Where the agents that act on their own session find its server: `upgrade` hands its session on, `closer` closes it.
#[derive(Clone)]
pub struct SessionServer {
    /// The server's address.
    pub base_url: BaseUrl,
    /// The environment's secret key.
    pub secret_key: String,
}

impl SessionServer {
    fn sessions(&self, host: &Host) -> SessionsApi {
        SessionsApi::new(host.clone(), self.base_url.clone(), self.secret_key.clone())
    }
}

/// Makes all of them, in the order of the table.
pub fn agents(server: &SessionServer) -> Vec<Agent> {
    vec![
        crate::echo::agent(),
        talking::slow(),
        talking::think(),
        talking::slow_boot(),
        remembering::history(),
        remembering::hydrate(),
        talking::meta(),
        talking::validate(),
        tooling::tool(),
        tooling::hitl(),
        tooling::approval(),
        talking::parts(),
        talking::idle(),
        remembering::endrun(),
        remembering::timeout(),
        remembering::upgrade(server.clone()),
        remembering::crashonce(),
        talking::closer(server.clone()),
    ]
}

#[cfg(test)]
mod tests;
