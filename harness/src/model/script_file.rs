//! [`ScriptFile`]: a model's script as people write it: JSON with comments and trailing commas, with a schema for editors.

use std::fs;
use std::path::Path;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::chunking::{Chunking, Pace};
use super::script::{Repeat, ScriptStep};
use super::stage::RunsOut;
use super::{MockLanguageModel, When};
use crate::document::{DocumentError, Segment, Source};

/// A script in a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptFile {
    /// Where the schema is, for editors.
    #[serde(rename = "$schema", default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// What the model answers.
    pub steps: Vec<ScriptStep>,
    /// What happens when no step fits.
    #[serde(default)]
    pub runs_out: RunsOut,
    /// Milliseconds of silence before each delta and call.
    #[serde(default)]
    pub pace_ms: u64,
    /// Milliseconds more before the first of a step.
    #[serde(default)]
    pub first_ms: u64,
    /// Up to so many milliseconds more before each, from the seed.
    #[serde(default)]
    pub jitter_ms: u64,
    /// How spoken texts are cut.
    #[serde(default)]
    pub by: Chunking,
    /// Where jitter comes from.
    #[serde(default)]
    pub seed: u64,
    /// Plays the step of a call that died with its worker again.
    #[serde(default)]
    pub replay_interrupted: bool,
}

impl ScriptFile {
    /// Reads a script from text; `name` stands for the file in complaints.
    ///
    /// # Errors
    ///
    /// When the text is no script: the place, what is wrong, the allowed words.
    pub fn parse(name: &str, text: &str) -> Result<Self, DocumentError> {
        let source = Source { file: name, text };
        let document = source.read::<Self>(|_| "word")?;
        match document.value.nonsense() {
            Some((path, message)) => Err(source.complain(&document, &path, message)),
            None => Ok(document.value),
        }
    }

    /// Reads a script from a file.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or as [`ScriptFile::parse`].
    pub fn load(path: impl AsRef<Path>) -> Result<Self, DocumentError> {
        let name = path.as_ref().display().to_string();
        let text =
            fs::read_to_string(path).map_err(|err| DocumentError::of_file(&name, format!("cannot be read: {err}")))?;
        Self::parse(&name, &text)
    }

    /// Gives the JSON Schema of script files.
    pub fn json_schema() -> Value {
        schemars::schema_for!(Self).to_value()
    }

    /// Gives the first thing that is well written and makes no sense.
    fn nonsense(&self) -> Option<(Vec<Segment>, String)> {
        let at = |index: usize, key: &str| vec!["steps".into(), index.into(), Segment::from(key)];
        let mut takes_all = None;
        for (index, step) in self.steps.iter().enumerate() {
            if step.parts.is_empty() {
                return Some((at(index, "parts"), "a step plays at least one part".to_owned()));
            }
            if step.repeat == Some(Repeat::Times(0)) {
                return Some((at(index, "repeat"), "a step answers at least one call".to_owned()));
            }
            let wants_any = step.when.as_ref().is_none_or(|when| *when == When::default());
            if let Some(earlier) = takes_all.filter(|_| wants_any) {
                let message = format!("step {earlier} takes every call before this one can");
                return Some((vec!["steps".into(), index.into()], message));
            }
            if wants_any && step.repeat == Some(Repeat::Forever) {
                takes_all = Some(index);
            }
        }
        (self.by == Chunking::Chars(0)).then(|| (vec!["by".into()], "a delta has at least one character".to_owned()))
    }
}

impl From<ScriptFile> for MockLanguageModel {
    fn from(file: ScriptFile) -> Self {
        let millis = Duration::from_millis;
        let pace = Pace::each(millis(file.pace_ms)).first(millis(file.first_ms)).jitter(millis(file.jitter_ms));
        let model = Self::new().script(file.steps).when_it_runs_out(file.runs_out).pace(pace);
        let model = model.chunking(file.by).seed(file.seed);
        if file.replay_interrupted { model.replay_interrupted() } else { model }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::support::{ask, text, with_result};
    use super::*;

    const GOOD: &str = r#"{
  "$schema": "script.schema.json",
  // The forecast first.
  "steps": [
    { "when": "Oslo", "parts": [{ "call": { "tool": "forecast", "input": { "city": "Oslo" } } }] },
    { "when": { "tool_result": "forecast" }, "parts": [{ "speak": { "text": "Rain, 4 degrees." } }] },
    { "parts": [{ "part": { "type": "text-delta", "id": "1", "delta": "as it is" } }, { "cut": {} }] },
    { "parts": [{ "fail_with": { "rate_limited": { "retry_after_ms": 100 } } }], "repeat": { "times": 2 } },
    { "parts": [{ "say": "hm" }], "repeat": "forever", "break_at": { "at": 0, "how": "mid_token" } },
  ],
  "runs_out": "repeat_last",
  "pace_ms": 20,
  "by": { "chars": 4 },
}"#;

    #[tokio::test(start_paused = true)]
    async fn a_script_from_a_file_plays_like_one_from_code() {
        let model = MockLanguageModel::from(ScriptFile::parse("script.json", GOOD).unwrap());

        assert_eq!(text(&model, ask("What about Oslo?")).await, "");
        assert_eq!(
            text(&model, with_result("What about Oslo?", "forecast", "call-1", "rain")).await,
            "Rain, 4 degrees."
        );
        assert_eq!(text(&model, ask("x")).await, "as it is");
        assert_eq!(text(&model, ask("x")).await, "refused: 429: too many requests");
    }

    #[test]
    fn a_script_survives_being_written_down() {
        let script = ScriptFile::parse("script.json", GOOD).unwrap();

        let written = serde_json::to_string_pretty(&script).unwrap();

        assert_eq!(ScriptFile::parse("again.json", &written).unwrap(), script);
    }

    #[track_caller]
    fn refused(find: &str, replace: &str) -> String {
        assert!(GOOD.contains(find), "the good script has no {find}");
        ScriptFile::parse("script.json", &GOOD.replacen(find, replace, 1)).unwrap_err().to_string()
    }

    #[test]
    fn a_complaint_names_the_place_and_the_allowed_words() {
        insta::assert_snapshot!(refused("\"speak\"", "\"speek\""), @r#"
        script.json:6:58: unknown word `speek`
          |
        6 |     { "when": { "tool_result": "forecast" }, "parts": [{ "speek": { "text": "Rain, 4 degrees." } }] },
          |                                                          ^^^^^^^
          = allowed: `say`, `reason`, `speak`, `think`, `call`, `parallel`, `bad_call`, `provider_call`, `source`, `document`, `file`, `provider_metadata`, `response`, `usage`, `finish`, `part`, `wait_ms`, `ping`, `stall`, `fail`, `fail_with`, `cut`, `cut_mid`
          = did you mean `speak`?
        "#);
        insta::assert_snapshot!(refused("\"tool_result\"", "\"tool_reslt\""), @r#"
        script.json:6:17: unknown field `tool_reslt`
          |
        6 |     { "when": { "tool_reslt": "forecast" }, "parts": [{ "speak": { "text": "Rain, 4 degrees." } }] },
          |                 ^^^^^^^^^^^^
          = allowed: `user`, `system`, `tool_result`, `result`, `tool_call_id`, `offers`, `chat`, `run`, `attempt`, `turn`, `step`
          = did you mean `tool_result`?
        "#);
        insta::assert_snapshot!(refused("{ \"tool_result\": \"forecast\" }", "7"), @r#"
        script.json:6:15: invalid type: integer `7`, expected a text of the newest user message, or an object
          |
        6 |     { "when": 7, "parts": [{ "speak": { "text": "Rain, 4 degrees." } }] },
          |               ^
        "#);
        insta::assert_snapshot!(refused("\"delta\": \"as it is\"", "\"text\": \"as it is\""), @r#"
        script.json:7:27: missing field `delta`
          |
        7 |     { "parts": [{ "part": { "type": "text-delta", "id": "1", "text": "as it is" } }, { "cut": {} }] },
          |                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(refused("[{ \"say\": \"hm\" }]", "[]"), @r#"
        script.json:9:16: a step plays at least one part
          |
        9 |     { "parts": [], "repeat": "forever", "break_at": { "at": 0, "how": "mid_token" } },
          |                ^^
        "#);
        insta::assert_snapshot!(refused("{ \"times\": 2 }", "{ \"times\": 0 }"), @r#"
        script.json:8:92: a step answers at least one call
          |
        8 |     { "parts": [{ "fail_with": { "rate_limited": { "retry_after_ms": 100 } } }], "repeat": { "times": 0 } },
          |                                                                                            ^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(refused("{ \"times\": 2 }", "\"forever\""), @r#"
        script.json:9:5: step 3 takes every call before this one can
          |
        9 |     { "parts": [{ "say": "hm" }], "repeat": "forever", "break_at": { "at": 0, "how": "mid_token" } },
          |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        "#);
        insta::assert_snapshot!(refused("{ \"chars\": 4 }", "{ \"chars\": 0 }"), @r#"
        script.json:13:9: a delta has at least one character
           |
        13 |   "by": { "chars": 0 },
           |         ^^^^^^^^^^^^^^
        "#);
    }

    #[test]
    fn the_schema_names_every_word_of_a_script() {
        let schema = ScriptFile::json_schema().to_string();

        for word in
            ["tool_result", "speak", "parallel", "fail_with", "mid_token", "text-delta", "toolCallId", "repeat_last"]
        {
            assert!(schema.contains(&format!("\"{word}\"")), "{word} is not in {schema}");
        }
    }
}
