//! Who plays: the reference agents by id, the careless ones included.

use std::sync::Arc;

use turnkeep_agent::Agent;
use turnkeep_harness::world::{Backstage, Cast};
use turnkeep_reference_agents::persisted::{self, Care, Database};
use turnkeep_reference_agents::{
    asking, custom, echo, forgetful, hydrated, refunds, steered, storyteller, undoing, weather,
};

/// The ids that a scenario's `agent` may have.
pub(crate) const AGENTS: &[&str] = &[
    "asking",
    "custom",
    "echo",
    "forgetful",
    "hydrated",
    "refunds",
    "steered",
    "storyteller",
    "undoing",
    "weather",
    "persisted",
    "persisted-deferred",
    "persisted-split",
];

/// Gives the cast of all stories.
pub(crate) fn cast() -> Cast {
    Arc::new(|id, backstage| Some(with_patience(make(id, backstage)?, backstage)))
}

fn make(id: &str, backstage: &Backstage) -> Option<Agent> {
    let persisted = |care| persisted::agent(database(backstage), care);
    Some(match id {
        "asking" => asking::agent(),
        "custom" => custom::agent(database(backstage), backstage.idle_timeout, backstage.turn_timeout).into(),
        "echo" => echo::agent(),
        "forgetful" => forgetful::agent(),
        "hydrated" => hydrated::agent(database(backstage)),
        "refunds" => refunds::agent(),
        "undoing" => undoing::agent(),
        "steered" => steered::agent(),
        "storyteller" => storyteller::agent(),
        "weather" => weather::agent(),
        "persisted" => persisted(Care::Full),
        "persisted-deferred" => persisted(Care::DefersQuestion),
        "persisted-split" => persisted(Care::SplitsAnswer),
        _ => return None,
    })
}

fn database(backstage: &Backstage) -> Database {
    Database::new(backstage.host.clone(), backstage.app_url.parse().expect("the world's own address parses"))
}

/// Gives an agent the waits of its scenario.
fn with_patience(agent: Agent, backstage: &Backstage) -> Agent {
    agent
        .idle_timeout(backstage.idle_timeout)
        .turn_timeout(backstage.turn_timeout)
        .preload_idle_timeout(backstage.idle_timeout)
        .preload_timeout(backstage.turn_timeout)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use turnkeep_harness::offline_host;

    use super::*;

    #[test]
    fn everyone_on_the_list_can_play_and_nobody_else() {
        let backstage = Backstage {
            host: offline_host(1),
            app_url: "http://app:80".to_owned(),
            idle_timeout: Duration::from_secs(1),
            turn_timeout: Duration::from_secs(60),
        };

        for id in AGENTS {
            assert!(cast()(id, &backstage).is_some(), "{id}");
        }
        assert!(cast()("nobody", &backstage).is_none());
    }
}
