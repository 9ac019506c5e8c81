//! [`Usage`] and [`FinishReason`]: what a step cost and why it ended.

use std::fmt;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// Counts tokens; a field is absent when the provider did not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    /// Counts what the model read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_tokens: Option<u64>,
    /// Counts what the model wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_tokens: Option<u64>,
    /// Counts both, as the provider adds them up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_tokens: Option<u64>,
    /// Counts the part of the output that was reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_tokens: Option<u64>,
    /// Counts the part of the input that came from a cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached_input_tokens: Option<u64>,
}

impl Usage {
    /// Makes the usage of a step that read and wrote this much.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self {
            input_tokens: Some(input_tokens),
            output_tokens: Some(output_tokens),
            total_tokens: Some(input_tokens.saturating_add(output_tokens)),
            ..Self::default()
        }
    }

    /// Tells whether the provider said nothing at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Add for Usage {
    type Output = Self;

    /// Sums field by field; an absent side counts as 0, two absent sides stay absent.
    fn add(self, other: Self) -> Self {
        Self {
            input_tokens: sum(self.input_tokens, other.input_tokens),
            output_tokens: sum(self.output_tokens, other.output_tokens),
            total_tokens: sum(self.total_tokens, other.total_tokens),
            reasoning_tokens: sum(self.reasoning_tokens, other.reasoning_tokens),
            cached_input_tokens: sum(self.cached_input_tokens, other.cached_input_tokens),
        }
    }
}

impl AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl std::iter::Sum for Usage {
    fn sum<I: Iterator<Item = Self>>(usages: I) -> Self {
        usages.fold(Self::default(), Add::add)
    }
}

fn sum(left: Option<u64>, right: Option<u64>) -> Option<u64> {
    match (left, right) {
        (None, None) => None,
        _ => Some(left.unwrap_or(0).saturating_add(right.unwrap_or(0))),
    }
}

/// Tells why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FinishReason {
    /// The model said all it wanted.
    Stop,
    /// The limit of tokens was reached.
    Length,
    /// The provider's filter cut in.
    ContentFilter,
    /// The model waits for results of tools.
    ToolCalls,
    /// The call failed.
    Error,
    /// Something else.
    Other,
}

impl FinishReason {
    /// Gives the word as it is on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ContentFilter => "content-filter",
            Self::ToolCalls => "tool-calls",
            Self::Error => "error",
            Self::Other => "other",
        }
    }

    /// Reads a word from the wire; one we do not know is [`FinishReason::Other`].
    pub fn from_word(word: &str) -> Self {
        match word {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "content-filter" => Self::ContentFilter,
            "tool-calls" => Self::ToolCalls,
            "error" => Self::Error,
            _ => Self::Other,
        }
    }

    /// Tells whether tools may run after a step that ended so.
    pub fn allows_tools(self) -> bool {
        matches!(self, Self::Stop | Self::ToolCalls)
    }
}

impl fmt::Display for FinishReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl From<FinishReason> for String {
    fn from(reason: FinishReason) -> Self {
        reason.as_str().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn usage_sums_field_by_field_and_absence_counts_as_zero_beside_a_number_a101() {
        let cached = Usage { cached_input_tokens: Some(5), ..Usage::default() };

        let sum: Usage = [Usage::new(1, 2), cached, Usage::new(10, 20)].into_iter().sum();

        assert_eq!(sum, Usage { cached_input_tokens: Some(5), ..Usage::new(11, 22) });
        assert_eq!(Usage::default() + Usage::default(), Usage::default());
        assert_eq!(serde_json::to_value(cached).expect("json"), json!({ "cachedInputTokens": 5 }));
    }

    #[test]
    fn finish_reasons_have_their_wire_words() {
        for reason in ["stop", "length", "content-filter", "tool-calls", "error", "other"] {
            assert_eq!(FinishReason::from_word(reason).as_str(), reason);
            assert_eq!(serde_json::to_value(FinishReason::from_word(reason)).expect("json"), json!(reason));
        }
        assert_eq!(FinishReason::from_word("unknown"), FinishReason::Other);
    }
}
