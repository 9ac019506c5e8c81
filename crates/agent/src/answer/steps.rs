//! [`Steps`]: what has come of an answer so far, and when it is enough.

use std::fmt;
use std::sync::Arc;

use turnkeep_model::{FinishReason, Usage};

/// The steps of one answer so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// How many there were.
    pub n_steps: usize,
    /// The tools called in the newest one.
    pub called_tools: Vec<String>,
    /// What came of each, oldest first.
    pub results: Vec<StepResult>,
}

impl Steps {
    pub(crate) fn push(&mut self, result: StepResult) {
        self.n_steps += 1;
        self.called_tools = result.calls.iter().map(|call| call.tool_name.clone()).collect();
        self.results.push(result);
    }
}

/// What came of one step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepResult {
    /// Why the model stopped.
    pub finish_reason: FinishReason,
    /// What the step cost.
    pub usage: Usage,
    /// The calls it made, in order.
    pub calls: Vec<StepCall>,
}

/// A call that a step made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepCall {
    /// Names the call.
    pub tool_call_id: String,
    /// Names the tool.
    pub tool_name: String,
    /// Tells whether there is an outcome, be it a failure.
    pub is_answered: bool,
}

/// Says when to stop after a step.
#[derive(Clone)]
pub struct StopCondition(Arc<dyn Fn(&Steps) -> bool + Send + Sync>);

impl StopCondition {
    /// Makes a condition of the author's own.
    pub fn new(holds: impl Fn(&Steps) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    pub(super) fn holds(&self, steps: &Steps) -> bool {
        (self.0)(steps)
    }
}

impl fmt::Debug for StopCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopCondition")
    }
}

/// Stops when `n_steps` steps have been made.
pub fn step_count_is(n_steps: usize) -> StopCondition {
    StopCondition::new(move |steps| steps.n_steps >= n_steps)
}

/// Stops after a step that called the tool.
pub fn has_tool_call(tool_name: impl Into<String>) -> StopCondition {
    let tool_name = tool_name.into();
    StopCondition::new(move |steps| steps.called_tools.contains(&tool_name))
}
