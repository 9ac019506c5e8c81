//! Models without a script: [`ToolCaller`] calls every tool once, [`RandomModel`] does what its seed says.
//!
//! Both decide from the call alone, not from what they have answered before: a call that is asked again after a crash is answered by
//! the same rule.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use turnkeep_host::{Draws, Entropy};
use turnkeep_model::Prompt;
use turnkeep_protocol::{ContentPart, ModelRole};

use super::call::ModelCall;
use super::facts::output_text;
use super::made_up::make_up;
use super::script::{Failure, ScriptPart, ToolUse, cut, cut_mid, fail, fail_with, parallel, say, speak, think};

/// Calls every tool on offer once a turn, with an input made up from its schema, then tells what they gave.
#[derive(Debug, Clone)]
pub struct ToolCaller {
    seed: u64,
    inputs: BTreeMap<String, Value>,
    is_one_by_one: bool,
}

impl ToolCaller {
    /// Makes a caller that calls all tools at once; inputs come from the seed.
    pub fn new(seed: u64) -> Self {
        Self { seed, inputs: BTreeMap::new(), is_one_by_one: false }
    }

    /// Calls this tool with this input instead of one made up.
    #[must_use]
    pub fn input(mut self, tool: impl Into<String>, input: Value) -> Self {
        self.inputs.insert(tool.into(), input);
        self
    }

    /// Calls one tool a step.
    #[must_use]
    pub fn one_by_one(mut self) -> Self {
        self.is_one_by_one = true;
        self
    }

    /// Answers a call.
    ///
    /// # Errors
    ///
    /// When the input of a tool cannot be made up.
    pub(super) fn answer(&self, call: &ModelCall) -> Result<Vec<ScriptPart>, String> {
        let (called, given) = this_turn(&call.prompt);
        let mut uses = Vec::new();
        for tool in call.prompt.tools.iter().filter(|tool| !called.contains(&tool.name)) {
            let input = match self.inputs.get(&tool.name) {
                Some(input) => input.clone(),
                None => {
                    let draws = Entropy::from_seed(self.seed).child(&tool.name).draws();
                    make_up(&tool.input_schema, &draws).map_err(|why| cannot_call(&tool.name, &why))?
                }
            };
            uses.push(ToolUse::new(tool.name.clone(), input));
        }
        if self.is_one_by_one {
            uses.truncate(1);
        }
        if uses.is_empty() {
            return Ok(vec![say(Value::Object(given).to_string())]);
        }
        Ok(vec![parallel(uses)])
    }
}

fn cannot_call(tool: &str, why: &str) -> String {
    format!("no input can be made up for tool `{tool}`: {why}; give one with `ToolCaller::input`")
}

/// Gives the tools called since the newest user message, and what they gave.
fn this_turn(prompt: &Prompt) -> (Vec<String>, Map<String, Value>) {
    let since = prompt.messages.iter().rposition(|message| message.role == ModelRole::User).unwrap_or(0);
    let (mut called, mut given) = (Vec::new(), Map::new());
    for part in prompt.messages.iter().skip(since).flat_map(|message| &message.content) {
        match part {
            ContentPart::ToolCall(call) => called.push(call.tool_name.clone()),
            ContentPart::ToolResult(result) => {
                let text = output_text(&result.output);
                let output = serde_json::from_str(&text).unwrap_or(Value::String(text));
                given.insert(result.tool_name.clone(), output);
            }
            _ => {}
        }
    }
    (called, given)
}

/// Answers by chance: texts of any length, thoughts, tools, failures, all of it from one seed.
///
/// What a call gets depends on the seed, the chat, the run and how many calls that run has made: two chats at once do not disturb
/// each other.
#[derive(Debug, Clone)]
pub struct RandomModel {
    seed: u64,
    max_words: u64,
    thinks: f64,
    calls_tools: f64,
    fails: f64,
}

impl RandomModel {
    /// Makes a model that says up to 30 words, thinks before one answer in three, calls tools in four of ten steps and never fails.
    pub fn new(seed: u64) -> Self {
        Self { seed, max_words: 30, thinks: 0.3, calls_tools: 0.4, fails: 0.0 }
    }

    /// Says at most so many words.
    #[must_use]
    pub fn max_words(mut self, max_words: u64) -> Self {
        self.max_words = max_words;
        self
    }

    /// Thinks before this share of its answers, from 0 to 1.
    #[must_use]
    pub fn thinks(mut self, share: f64) -> Self {
        self.thinks = share;
        self
    }

    /// Calls tools in this share of its steps, from 0 to 1, if there are any.
    #[must_use]
    pub fn calls_tools(mut self, share: f64) -> Self {
        self.calls_tools = share;
        self
    }

    /// Fails in this share of its steps, from 0 to 1: refused, cut, cut in the middle of a word, or broken by an error.
    #[must_use]
    pub fn fails(mut self, share: f64) -> Self {
        self.fails = share;
        self
    }

    /// Answers a call.
    ///
    /// # Errors
    ///
    /// When the input of a tool cannot be made up.
    pub(super) fn answer(&self, call: &ModelCall) -> Result<Vec<ScriptPart>, String> {
        let chat = call.prompt.origin.as_ref().map_or("", |origin| origin.chat_id.as_str());
        let place = format!("{}/{}", call.run.unwrap_or_default(), call.nth_of_run);
        let draws = Entropy::from_seed(self.seed).child(chat).child(&place).draws();
        let fails = draws.unit() < self.fails;
        if fails && draws.below(3) == 0 {
            let failure = match draws.below(3) {
                0 => Failure::RateLimited { retry_after_ms: Some(draws.below(2000)) },
                1 => Failure::ServerError(503),
                _ => Failure::Refused("the prompt is against the rules".to_owned()),
            };
            return Ok(vec![fail_with(failure)]);
        }
        let mut parts = Vec::new();
        if draws.unit() < self.thinks {
            parts.push(think(self.words(&draws)));
        }
        if fails {
            parts.push(speak(self.words(&draws)));
            parts.push(match draws.below(3) {
                0 => cut(),
                1 => cut_mid("interrupted"),
                _ => fail("the provider fell silent"),
            });
            return Ok(parts);
        }
        let tools = &call.prompt.tools;
        if !tools.is_empty() && draws.unit() < self.calls_tools {
            let n_calls = 1 + draws.below(2);
            for _ in 0..n_calls {
                let tool = &tools[usize::try_from(draws.below(tools.len() as u64)).expect("an index fits")];
                let input = make_up(&tool.input_schema, &draws).map_err(|why| cannot_call(&tool.name, &why))?;
                parts.push(ScriptPart::Call(ToolUse::new(tool.name.clone(), input)));
            }
        } else {
            parts.push(speak(self.words(&draws)));
        }
        Ok(parts)
    }

    fn words(&self, draws: &Draws) -> String {
        let n_words = 1 + draws.below(self.max_words.max(1));
        let word = |_| draws.alphanumeric(usize::try_from(1 + draws.below(8)).expect("a word is short"));
        (0..n_words).map(word).collect::<Vec<_>>().join(" ")
    }
}
