//! The bounds of every number in a story: what is past them would hang, overflow or fill this machine's memory.

use serde_json::Value;

use super::Complaint;
use crate::document::Segment;
use crate::scenario::Scenario;

/// An hour of virtual time, the longest that any story may take.
const MAX_MS: u64 = 3_600_000;

/// The longest one-way latency that is drawn, a minute.
const MAX_LATENCY_MS: u64 = 60_000;

/// The longest read of a page (C-24).
const MAX_WINDOW_S: u64 = 600;

/// The most worker hosts; each adds a link to every other host.
const MAX_WORKERS: u64 = 16;

/// The most of anything that is counted: records, runs, chunks.
const MAX_COUNT: u64 = 100_000;

/// The longest that a page is in the browser's cache: its own timers go on there, and give a silent connection up after a minute.
const MAX_AWAY_MS: u64 = 59_999;

/// The most bytes that a shaped link counts, 16 MiB.
const MAX_BYTES: u64 = 16 << 20;

/// The most tokens of one step, so that any sum of them stays a number.
const MAX_TOKENS: u64 = 1 << 40;

/// Each number's key, in whatever object it is, with its least and most.
const BOUNDS: &[(&str, u64, u64)] = &[
    ("workers", 1, MAX_WORKERS),
    ("pace_ms", 0, MAX_MS),
    ("latency_ms", 0, MAX_LATENCY_MS),
    ("lease_ms", 0, MAX_MS),
    ("idle_ms", 0, MAX_MS),
    ("turn_timeout_ms", 0, MAX_MS),
    ("window_s", 1, MAX_WINDOW_S),
    ("settle_within_ms", 0, MAX_MS),
    ("seed", 0, u64::MAX),
    ("wait_ms", 0, MAX_MS),
    ("advance_ms", 0, MAX_MS),
    ("after_ms", 0, MAX_MS),
    ("away_ms", 0, MAX_AWAY_MS),
    ("within_ms", 0, MAX_MS),
    ("ms", 0, MAX_MS),
    ("count", 0, MAX_COUNT),
    ("messages", 0, MAX_COUNT),
    ("after_bytes", 0, MAX_BYTES),
    ("bytes", 0, MAX_BYTES),
    ("runs", 0, MAX_COUNT),
    ("attempts", 0, MAX_COUNT),
    ("turns", 0, MAX_COUNT),
    ("inputs", 0, MAX_COUNT),
    ("model_calls", 0, MAX_COUNT),
    ("prompts", 0, MAX_COUNT),
    ("takes_away", 0, MAX_COUNT),
    ("times", 1, MAX_COUNT),
    ("at", 0, MAX_COUNT),
    ("chars", 1, MAX_COUNT),
    ("run", 0, MAX_COUNT),
    ("attempt", 1, MAX_COUNT),
    ("turn", 0, MAX_COUNT),
    ("step", 0, MAX_COUNT),
    ("input_tokens", 0, MAX_TOKENS),
    ("output_tokens", 0, MAX_TOKENS),
    ("cached_tokens", 0, MAX_TOKENS),
    ("reasoning_tokens", 0, MAX_TOKENS),
    ("server_error", 500, 599),
    ("retry_after_ms", 0, MAX_MS),
    ("timestampMs", 0, u64::MAX),
];

/// What tools, actions and providers are called with and give back is the author's own, not a number of the story.
const FOREIGN: &[&str] = &["action", "input", "output", "provider_metadata", "part"];

/// Says which number is the first past its bounds.
pub(super) fn check(scenario: &Scenario) -> Result<(), Complaint> {
    let whole = serde_json::to_value(scenario).expect("a scenario that was read always serialises");
    walk(&whole, "", &mut Vec::new())
}

fn walk(value: &Value, key: &str, path: &mut Vec<Segment>) -> Result<(), Complaint> {
    match value {
        Value::Object(object) => {
            object.iter().filter(|(key, _)| !FOREIGN.contains(&key.as_str())).try_for_each(|(key, value)| {
                path.push(key.as_str().into());
                walk(value, key, path)?;
                path.pop();
                Ok(())
            })
        }
        Value::Array(array) => array.iter().enumerate().try_for_each(|(index, value)| {
            path.push(index.into());
            walk(value, key, path)?;
            path.pop();
            Ok(())
        }),
        Value::Number(number) => {
            let bounds = BOUNDS.iter().find(|(name, ..)| *name == key);
            match (bounds, number.as_u64()) {
                (Some((_, least, most)), Some(number)) if !(*least..=*most).contains(&number) => {
                    Err(Complaint::new(path.clone(), format!("`{key}` is from {least} to {most}, not {number}")))
                }
                _ => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::schema;

    /// Lists the keys of all numbers in a schema, those in lists included.
    fn numbers(schema: &Value, found: &mut Vec<String>) {
        let names_number = |kind: &Value| kind == "integer" || kind == "number";
        let is_number = |value: &Value| {
            let kinds = value["type"].as_array();
            names_number(&value["type"]) || kinds.is_some_and(|kinds| kinds.iter().any(names_number))
        };
        match schema {
            Value::Object(object) => {
                for (key, value) in object.get("properties").and_then(Value::as_object).into_iter().flatten() {
                    if is_number(value) || is_number(&value["items"]) {
                        found.push(key.clone());
                    }
                }
                object.values().for_each(|value| numbers(value, found));
            }
            Value::Array(array) => array.iter().for_each(|value| numbers(value, found)),
            _ => {}
        }
    }

    #[test]
    fn every_number_of_the_schema_has_bounds_and_every_bound_a_number() {
        let mut found = Vec::new();
        numbers(&schema(), &mut found);
        found.sort();
        found.dedup();

        let mut bounded: Vec<String> = BOUNDS.iter().map(|(key, ..)| (*key).to_owned()).collect();
        bounded.sort();
        assert_eq!(found, bounded);
    }
}
