//! What is particular to a story.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Something that must be true at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Expectation {
    /// A person's page shows these answers, in this order and no other.
    Answers {
        /// The person.
        client: String,
        /// The texts of the assistant messages.
        texts: Vec<String>,
    },
    /// So many runs were started, continuations included.
    Runs(usize),
    /// So many attempts of runs were leased.
    Attempts(usize),
    /// So many `turn-complete` records were stored.
    Turns(usize),
    /// So many records were stored on `in`.
    Inputs(usize),
    /// The model was called so often.
    ModelCalls(usize),
    /// Each call of the model was handed so many messages, in the order of the calls.
    Prompts(Vec<usize>),
    /// A person's last page was shown so many chunks.
    ShownAfterLoad {
        /// The person.
        client: String,
        /// How many chunks.
        count: usize,
    },
    /// So many streams of a person ended with an error.
    Failed {
        /// The person.
        client: String,
        /// How many streams.
        count: usize,
    },
    /// So many messages of a person were refused for good.
    Refused {
        /// The person.
        client: String,
        /// How many messages.
        count: usize,
    },
}

/// The same story with an agent that breaks a duty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Careless {
    /// The careless agent's id.
    pub agent: String,
    /// The check that must report it.
    pub reported_by: String,
}
