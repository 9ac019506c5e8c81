//! [`MockTool`]: the double of a tool, next to the model's script.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_agent::{HookError, Tool, ToolContext};

use super::disagreement::word_diff;

/// A tool that answers as it is told, and nothing else; clones share what was called.
///
/// ```
/// use serde_json::json;
/// use turnkeep_harness::model::MockTool;
///
/// let forecast = MockTool::new("forecast").when(json!({ "city": "Oslo" }), json!({ "sky": "rain" }));
/// assert_eq!(forecast.tool().name(), "forecast");
/// assert!(forecast.calls().is_empty());
/// ```
#[derive(Debug, Clone)]
pub struct MockTool {
    name: String,
    schema: Value,
    takes: Duration,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug, Default)]
struct Shared {
    rules: Vec<Rule>,
    otherwise: Option<Result<Value, String>>,
    calls: Vec<MockToolCall>,
    complaints: Vec<String>,
}

#[derive(Debug)]
struct Rule {
    input: Value,
    answer: Result<Value, String>,
    is_used: bool,
}

/// One call of a tool's double.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MockToolCall {
    /// Names the call.
    pub tool_call_id: String,
    /// Its input.
    pub input: Value,
}

impl MockTool {
    /// Makes a double that takes any object and has no answer yet.
    pub fn new(name: impl Into<String>) -> Self {
        let shared = Arc::default();
        Self { name: name.into(), schema: json!({ "type": "object" }), takes: Duration::ZERO, shared }
    }

    /// Takes only inputs that fit this schema, as the real tool does.
    #[must_use]
    pub fn schema(mut self, schema: Value) -> Self {
        self.schema = schema;
        self
    }

    /// Works so long before it answers.
    #[must_use]
    pub fn takes(mut self, time: Duration) -> Self {
        self.takes = time;
        self
    }

    /// Answers inputs that have at least these fields with these values.
    #[must_use]
    pub fn when(self, input: Value, output: Value) -> Self {
        self.rule(input, Ok(output))
    }

    /// Fails on inputs that have at least these fields with these values.
    #[must_use]
    pub fn fails_when(self, input: Value, error: impl Into<String>) -> Self {
        self.rule(input, Err(error.into()))
    }

    /// Answers every other input.
    #[must_use]
    pub fn otherwise(self, output: Value) -> Self {
        self.shared().otherwise = Some(Ok(output));
        self
    }

    /// Fails on every other input.
    #[must_use]
    pub fn fails(self, error: impl Into<String>) -> Self {
        self.shared().otherwise = Some(Err(error.into()));
        self
    }

    fn rule(self, input: Value, answer: Result<Value, String>) -> Self {
        self.shared().rules.push(Rule { input, answer, is_used: false });
        self
    }

    /// Gives the tool to hand to an agent.
    pub fn tool(&self) -> Tool {
        let double = self.clone();
        let description = format!("The double of `{}`.", self.name);
        Tool::new(self.name.clone(), description, self.schema.clone(), move |input: Value, ctx: ToolContext| {
            let double = double.clone();
            async move {
                if !double.takes.is_zero() {
                    tokio::time::sleep(double.takes).await;
                }
                double.answer(input, ctx.tool_call_id)
            }
        })
    }

    fn answer(&self, input: Value, tool_call_id: String) -> Result<Value, HookError> {
        let mut shared = self.shared();
        shared.calls.push(MockToolCall { tool_call_id, input: input.clone() });
        if let Some(rule) = shared.rules.iter_mut().find(|rule| holds(&rule.input, &input)) {
            rule.is_used = true;
            return rule.answer.clone().map_err(HookError::from);
        }
        if let Some(answer) = shared.otherwise.clone() {
            return answer.map_err(HookError::from);
        }
        let complaint = self.no_answer(&shared, &input);
        shared.complaints.push(complaint.clone());
        Err(complaint.into())
    }

    fn no_answer(&self, shared: &Shared, input: &Value) -> String {
        let mut text = format!("the double of tool `{}` has no answer for {input}", self.name);
        let distance = |rule: &&Rule| strsim::levenshtein(&rule.input.to_string(), &input.to_string());
        if let Some(nearest) = shared.rules.iter().min_by_key(distance) {
            text.push_str(&format!("; nearest is {}", word_diff(&spaced(&nearest.input), &spaced(input))));
        }
        text
    }

    /// Gives every call so far, in order.
    pub fn calls(&self) -> Vec<MockToolCall> {
        self.shared().calls.clone()
    }

    /// Wants a call whose input has at least these fields with these values.
    ///
    /// # Panics
    ///
    /// When there is none, with the calls there were.
    #[track_caller]
    pub fn assert_called_with(&self, input: &Value) {
        let calls = self.calls();
        let inputs: Vec<String> = calls.iter().map(|call| format!("  {}", call.input)).collect();
        let found = calls.iter().any(|call| holds(input, &call.input));
        let had = if inputs.is_empty() { " never".to_owned() } else { format!(" with\n{}", inputs.join("\n")) };
        assert!(found, "tool `{}` was not called with {input}; it was called{had}", self.name);
    }

    /// Wants every rule to have answered a call, and every call to have had an answer.
    ///
    /// # Panics
    ///
    /// When it is not so: says which.
    #[track_caller]
    pub fn assert_used_up(&self) {
        let shared = self.shared();
        let unused = shared.rules.iter().filter(|rule| !rule.is_used);
        let unused = unused.map(|rule| format!("no call of tool `{}` had {}", self.name, rule.input));
        let lines: Vec<String> = shared.complaints.iter().cloned().chain(unused).collect();
        drop(shared);
        assert!(lines.is_empty(), "{}", lines.join("\n"));
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether `input` has everything that `wanted` has.
fn holds(wanted: &Value, input: &Value) -> bool {
    match (wanted, input) {
        (Value::Object(wanted), Value::Object(input)) => {
            wanted.iter().all(|(key, wanted)| input.get(key).is_some_and(|input| holds(wanted, input)))
        }
        _ => wanted == input,
    }
}

/// Writes JSON with spaces, so that a difference is shown word by word.
fn spaced(value: &Value) -> String {
    value.to_string().replace(':', ": ").replace(',', ", ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::prompts::panic_of;
    use super::*;

    fn double() -> MockTool {
        MockTool::new("forecast")
            .when(json!({ "city": "Oslo" }), json!("rain"))
            .fails_when(json!({ "city": "Atlantis" }), "no such city")
    }

    fn answer(double: &MockTool, input: Value) -> Result<Value, String> {
        double.answer(input, "c1".to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_double_answers_what_it_was_told_and_remembers_what_it_was_asked() {
        let double = double();

        assert_eq!(answer(&double, json!({ "city": "Oslo", "days": 2 })), Ok(json!("rain")));
        assert_eq!(answer(&double, json!({ "city": "Atlantis" })), Err("no such city".to_owned()));
        double.assert_used_up();
        double.assert_called_with(&json!({ "days": 2 }));
        assert_eq!(answer(&double.clone().otherwise(json!(null)), json!({})), Ok(Value::Null));
        assert_eq!(double.calls().len(), 3);
    }

    #[test]
    fn a_double_has_a_closed_world_and_names_the_nearest_answer() {
        let double = double();

        insta::assert_snapshot!(answer(&double, json!({ "city": "Osla" })).unwrap_err(), @r#"the double of tool `forecast` has no answer for {"city":"Osla"}; nearest is {"city": [-"Oslo"}-]{+"Osla"}+}"#);
        insta::assert_snapshot!(panic_of(|| double.assert_used_up()), @r#"
        the double of tool `forecast` has no answer for {"city":"Osla"}; nearest is {"city": [-"Oslo"}-]{+"Osla"}+}
        no call of tool `forecast` had {"city":"Oslo"}
        no call of tool `forecast` had {"city":"Atlantis"}
        "#);
        insta::assert_snapshot!(panic_of(|| double.assert_called_with(&json!({ "city": "Rome" }))), @r#"
        tool `forecast` was not called with {"city":"Rome"}; it was called with
          {"city":"Osla"}
        "#);
        insta::assert_snapshot!(panic_of(|| MockTool::new("x").assert_called_with(&json!({}))), @"tool `x` was not called with {}; it was called never");
    }
}
