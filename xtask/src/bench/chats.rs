//! What the mock chats do while they are measured.

use serde_json::{Value, json};
use turnkeep_agent::{Agent, Tool, ToolContext, TurnInput, step_count_is};
use turnkeep_harness::MockChatAgent;
use turnkeep_harness::model::{MockLanguageModel, ScriptPart, call, say};

use super::sample::{Sample, Stopwatch, Took};

/// How many text deltas an answer has.
const DELTAS: usize = 20;

/// The most steps of one answer of the tool agent.
const MAX_STEPS: usize = 3;

/// `--smoke` does one part of so many.
const SMOKE_PART: usize = 100;

/// One measurement: so many chats, all open at once, each asked so many times.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: &'static str,
    n_chats: usize,
    turns_each: usize,
    with_tool: bool,
}

/// Gives all measurements; for a smoke test, a hundredth of each.
pub(super) fn plans(smoke: bool) -> Vec<Plan> {
    let part = |n: usize| if smoke { n.div_ceil(SMOKE_PART) } else { n };
    vec![
        Plan { name: "chats", n_chats: part(200), turns_each: 5, with_tool: false },
        Plan { name: "long-chat", n_chats: 1, turns_each: part(500), with_tool: false },
        Plan { name: "tools", n_chats: part(200), turns_each: 2, with_tool: true },
    ]
}

impl Plan {
    pub(super) fn n_turns(&self) -> usize {
        self.n_chats * self.turns_each
    }

    fn agent(&self) -> Agent {
        let run = |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(MAX_STEPS))) };
        // One run answers every turn: what a boot costs is not part of a turn.
        let agent = Agent::new("bench", run).max_turns(self.turns_each + 1);
        if self.with_tool { agent.tools([forecast()]) } else { agent }
    }

    fn model(&self) -> MockLanguageModel {
        let answer = || (0..DELTAS).map(|n| say(format!("word {n} "))).collect::<Vec<ScriptPart>>();
        (0..self.turns_each).fold(MockLanguageModel::new(), |model, _| {
            let model = if self.with_tool { model.step([call("forecast", json!({ "city": "Oslo" }))]) } else { model };
            model.step(answer())
        })
    }
}

fn forecast() -> Tool {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } } });
    Tool::new("forecast", "Looks up the forecast.", schema, |_input: Value, _ctx: ToolContext| async move {
        Ok(json!({ "sky": "rain", "celsius": 4 }))
    })
}

/// Takes one measurement, in this process.
pub(super) fn run(plan: &Plan) -> Sample {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without sockets always builds");
    runtime.block_on(async {
        let mut chats = Vec::new();
        for _ in 0..plan.n_chats {
            chats.push(MockChatAgent::start(plan.agent(), &plan.model()).await);
        }
        let mut sample = Sample::default();
        // Turn by turn through all chats: one turn is under way at a time, so its time is its own.
        for turn in 0..plan.turns_each {
            for chat in &mut chats {
                let (took, n_chunks) = ask(chat, turn).await;
                sample.add(took, n_chunks);
            }
        }
        for chat in chats {
            chat.finish().await;
        }
        sample
    })
}

async fn ask(chat: &mut MockChatAgent, turn: usize) -> (Took, usize) {
    let watch = Stopwatch::start();
    let answer = chat.send(format!("Question {turn}")).await;
    let took = watch.took();
    assert_eq!(answer.deltas().len(), DELTAS, "every turn is answered whole");
    (took, answer.chunks().len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_smoke_test_takes_every_measurement_at_a_hundredth() {
        let turns = |smoke| plans(smoke).iter().map(Plan::n_turns).collect::<Vec<_>>();

        assert_eq!(turns(false), [1000, 500, 400]);
        assert_eq!(turns(true), [10, 5, 4]);
    }
}
