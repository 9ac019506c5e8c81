//! How a tool's output is put for the model: the tool's own mapping, else text as text and the rest as JSON.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;
use turnkeep_protocol::ToolResultOutput;

use super::ConvertError;

/// Holds what a tool's mapping gets to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ToolOutputInput<'a> {
    /// Names the call.
    pub tool_call_id: &'a str,
    /// Holds the input of the call.
    pub input: Option<&'a Value>,
    /// Holds the output to map.
    pub output: &'a Value,
}

/// Puts a tool's output for the model; an error fails the whole conversion.
pub type ToModelOutput = Arc<dyn Fn(ToolOutputInput<'_>) -> Result<ToolResultOutput, String> + Send + Sync>;

/// Holds the mappings of the tools of this turn; a tool without one has its output passed through (AA-52).
#[derive(Clone, Default)]
pub struct ModelOutputs {
    by_tool: BTreeMap<String, ToModelOutput>,
}

impl ModelOutputs {
    /// Makes an empty set: every output passes through.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the mapping of a tool; an error from it fails the whole conversion.
    #[must_use]
    pub fn with(
        self,
        tool_name: impl Into<String>,
        map: impl Fn(ToolOutputInput<'_>) -> Result<ToolResultOutput, String> + Send + Sync + 'static,
    ) -> Self {
        self.with_shared(tool_name, Arc::new(map))
    }

    /// Adds a mapping that other sets have too, so that [`ModelOutputs::is_same`] knows it again.
    #[must_use]
    pub fn with_shared(mut self, tool_name: impl Into<String>, map: ToModelOutput) -> Self {
        self.by_tool.insert(tool_name.into(), map);
        self
    }

    /// Tells whether two sets hold the very same mappings: what one has mapped then need not be mapped again.
    pub fn is_same(&self, other: &Self) -> bool {
        let same = |(one, other): ((&String, &ToModelOutput), (&String, &ToModelOutput))| {
            one.0 == other.0 && Arc::ptr_eq(one.1, other.1)
        };
        self.by_tool.len() == other.by_tool.len() && self.by_tool.iter().zip(&other.by_tool).all(same)
    }

    /// Puts a tool's output for the model.
    ///
    /// # Errors
    ///
    /// Fails when the tool's own mapping does.
    pub fn map(&self, tool_name: &str, call: ToolOutputInput<'_>) -> Result<ToolResultOutput, ConvertError> {
        if let Some(map) = self.by_tool.get(tool_name) {
            return map(call).map_err(|reason| ConvertError::ModelOutput {
                tool_name: tool_name.to_owned(),
                tool_call_id: call.tool_call_id.to_owned(),
                reason,
            });
        }
        Ok(match call.output {
            Value::String(text) => ToolResultOutput::Text(text.clone()),
            other => ToolResultOutput::Json(other.clone()),
        })
    }
}

impl fmt::Debug for ModelOutputs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_tool.keys()).finish()
    }
}
