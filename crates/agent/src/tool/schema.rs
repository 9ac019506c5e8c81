//! JSON schemas that values are held against: compiled once, refused when they are none, and told in words that a model can act on.
//!
//! A schema that names no `$schema` is read as draft 2020-12, and as draft 7, which [`schema_of`](super::schema_of) gives, where it is
//! not one of those. It may refer to itself and to nothing else: nothing is ever fetched.

#[cfg(test)]
mod tests;
mod told;

use std::sync::Arc;

use jsonschema::{Draft, PatternOptions, Validator};
use serde_json::Value;

/// How many steps back the patterns of a schema may take in one text; beyond it the text counts as wrong.
const MAX_BACKTRACKS: usize = 100_000;

/// What errors call a schema that is none.
const SCHEMA: &str = "schema";

/// A JSON schema, ready to hold values against; cheap to clone.
#[derive(Clone)]
pub(crate) struct Schema(Result<Arc<Validator>, Arc<str>>);

impl Schema {
    /// Compiles a schema; a bad one is kept with what is wrong with it, since tools are made where nobody takes errors.
    pub(crate) fn compile(schema: &Value) -> Self {
        let drafts: &[Option<Draft>] = match schema.get("$schema") {
            Some(_) => &[None],
            None => &[Some(Draft::Draft202012), Some(Draft::Draft7)],
        };
        let mut problem = None;
        for draft in drafts {
            match build(schema, *draft) {
                Ok(validator) => return Self(Ok(Arc::new(validator))),
                // The newest draft has the word: the older one is tried for its own sake.
                Err(told) => problem = problem.or(Some(told)),
            }
        }
        Self(Err(problem.unwrap_or_default().into()))
    }

    /// Says what is wrong with the schema itself.
    pub(crate) fn problem(&self) -> Option<&str> {
        self.0.as_ref().err().map(AsRef::as_ref)
    }

    /// Says where and why `value`, which is called `name`, is not what the schema asks for.
    pub(crate) fn check(&self, value: &Value, name: &str) -> Result<(), String> {
        let validator = self.0.as_ref().map_err(|problem| format!("{name} cannot be judged: {problem}"))?;
        if validator.is_valid(value) {
            return Ok(());
        }
        Err(told::tell(validator.iter_errors(value), name))
    }
}

fn build(schema: &Value, draft: Option<Draft>) -> Result<Validator, String> {
    let patterns = PatternOptions::fancy_regex().backtrack_limit(MAX_BACKTRACKS);
    let mut options = jsonschema::options().offline().with_pattern_options(patterns).should_validate_formats(true);
    if let Some(draft) = draft {
        options = options.with_draft(draft);
    }
    options.build(schema).map_err(|error| match error.kind() {
        jsonschema::error::ValidationErrorKind::Referencing(error) => format!("{SCHEMA}: {error}"),
        _ => told::tell([error], SCHEMA),
    })
}
