//! [`make_up`]: a value that fits a JSON Schema, from a seed.
//!
//! What cannot be made up, such as a text for a `pattern`, is an error with its place, never a value that breaks the schema.

use serde_json::{Map, Value, json};
use turnkeep_host::Draws;

/// How deep a schema may nest or refer to itself.
const MAX_DEPTH: usize = 24;

/// How many optional items and characters are added at most to what is asked for.
const MOST_MORE: u64 = 3;

/// How often a unique item is tried for.
const MAX_TRIES: usize = 100;

/// Makes up a value that fits `schema`; equal draws, equal value.
///
/// # Errors
///
/// Says where, and what there cannot be made up.
pub fn make_up(schema: &Value, draws: &Draws) -> Result<Value, String> {
    Maker { root: schema, draws }.value(schema, "input", 0)
}

struct Maker<'a> {
    root: &'a Value,
    draws: &'a Draws,
}

impl Maker<'_> {
    fn value(&self, schema: &Value, at: &str, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("{at}: the schema nests deeper than {MAX_DEPTH}"));
        }
        if schema == &Value::Bool(false) {
            return Err(format!("{at}: nothing is allowed here"));
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            let target = target.ok_or_else(|| format!("{at}: {} refers to nothing in the schema", schema["$ref"]))?;
            return self.value(target, at, depth + 1);
        }
        if let Some(value) = schema.get("const") {
            return Ok(value.clone());
        }
        if let Some(values) = list(schema, "enum").or_else(|| list(schema, "examples")) {
            return Ok(self.pick(values).clone());
        }
        if let Some(parts) = list(schema, "allOf") {
            return self.value(&self.merged(schema, parts), at, depth + 1);
        }
        if let Some(branches) = list(schema, "anyOf").or_else(|| list(schema, "oneOf")) {
            return self.branch(schema, branches, at, depth);
        }
        match self.kind(schema) {
            "object" => self.object(schema, at, depth),
            "array" => self.array(schema, at, depth),
            "integer" => self.number(schema, at, true),
            "number" => self.number(schema, at, false),
            "boolean" => Ok(json!(self.draws.below(2) == 1)),
            "null" => Ok(Value::Null),
            _ => self.text(schema, at),
        }
    }

    fn pick<'v>(&self, values: &'v [Value]) -> &'v Value {
        let at = self.draws.below(values.len() as u64);
        &values[usize::try_from(at).expect("an index fits")]
    }

    /// Tells what a schema describes, by its type or by the keywords that only one type has.
    fn kind<'s>(&self, schema: &'s Value) -> &'s str {
        let named = match schema.get("type") {
            Some(Value::String(kind)) => Some(kind.as_str()),
            // Null is what is left out; something says more.
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
            _ => None,
        };
        let has = |keys: &[&str]| keys.iter().any(|key| schema.get(key).is_some());
        named.unwrap_or_else(|| match () {
            () if has(&["properties", "required"]) => "object",
            () if has(&["items", "minItems"]) => "array",
            () if has(&["minimum", "maximum", "multipleOf"]) => "number",
            () => "string",
        })
    }

    /// Lays the parts of `allOf` over each other: properties and requirements add up, of the rest the last word counts.
    fn merged(&self, schema: &Value, parts: &[Value]) -> Value {
        let mut merged = schema.as_object().cloned().unwrap_or_default();
        merged.shift_remove("allOf");
        for part in parts {
            let target = part.get("$ref").and_then(Value::as_str).and_then(|target| target.strip_prefix('#'));
            let part = target.and_then(|pointer| self.root.pointer(pointer)).unwrap_or(part);
            if part == &Value::Bool(false) {
                return Value::Bool(false);
            }
            for (key, value) in part.as_object().into_iter().flatten() {
                match (key.as_str(), merged.get_mut(key), value) {
                    ("properties", Some(Value::Object(known)), Value::Object(more)) => known.extend(more.clone()),
                    ("required", Some(Value::Array(known)), Value::Array(more)) => known.extend(more.clone()),
                    _ => {
                        merged.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        Value::Object(merged)
    }

    /// Takes a branch that can be made up, beginning with a drawn one.
    fn branch(&self, schema: &Value, branches: &[Value], at: &str, depth: usize) -> Result<Value, String> {
        let first = usize::try_from(self.draws.below(branches.len() as u64)).expect("an index fits");
        let mut refused = String::new();
        for turn in 0..branches.len() {
            let branch = &branches[(first + turn) % branches.len()];
            let mut rest = schema.as_object().cloned().unwrap_or_default();
            rest.shift_remove("anyOf");
            rest.shift_remove("oneOf");
            match self.value(&self.merged(&Value::Object(rest), std::slice::from_ref(branch)), at, depth + 1) {
                Ok(value) => return Ok(value),
                Err(why) => refused = why,
            }
        }
        Err(refused)
    }

    fn object(&self, schema: &Value, at: &str, depth: usize) -> Result<Value, String> {
        let required: Vec<&str> = list(schema, "required").into_iter().flatten().filter_map(Value::as_str).collect();
        let properties = schema.get("properties").and_then(Value::as_object);
        let mut object = Map::new();
        for (key, schema) in properties.into_iter().flatten() {
            let is_required = required.contains(&key.as_str());
            if !is_required && self.draws.below(2) == 0 {
                continue;
            }
            match self.value(schema, &format!("{at}.{key}"), depth + 1) {
                Ok(value) => drop(object.insert(key.clone(), value)),
                Err(why) if is_required => return Err(why),
                // What may be left out is left out.
                Err(_) => {}
            }
        }
        let unnamed = schema.get("additionalProperties").cloned().unwrap_or(Value::Bool(true));
        for key in required {
            if !object.contains_key(key) {
                object.insert(key.to_owned(), self.value(&unnamed, &format!("{at}.{key}"), depth + 1)?);
            }
        }
        Ok(Value::Object(object))
    }

    fn array(&self, schema: &Value, at: &str, depth: usize) -> Result<Value, String> {
        let least = whole(schema, "minItems").unwrap_or(0);
        let most = whole(schema, "maxItems").unwrap_or(least + MOST_MORE).min(least + MOST_MORE);
        let n_items = least + self.draws.below(most.saturating_sub(least) + 1);
        let is_unique = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let item = schema.get("items").cloned().unwrap_or(Value::Bool(true));
        let mut items: Vec<Value> = Vec::new();
        let mut n_tries = 0;
        while (items.len() as u64) < n_items {
            let made = self.value(&item, &format!("{at}[{}]", items.len()), depth + 1);
            let enough = items.len() as u64 >= least;
            n_tries += 1;
            match made {
                Ok(value) if !is_unique || !items.contains(&value) => items.push(value),
                Err(_) if enough => break,
                Err(why) => return Err(why),
                Ok(_) if n_tries < MAX_TRIES => {}
                Ok(_) if enough => break,
                Ok(_) => return Err(format!("{at}: there are not {least} different items")),
            }
        }
        Ok(Value::Array(items))
    }

    fn number(&self, schema: &Value, at: &str, is_integer: bool) -> Result<Value, String> {
        let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
        let step = bound("multipleOf").filter(|step| *step > 0.0).unwrap_or(if is_integer { 1.0 } else { 0.5 });
        let least = bound("minimum").or_else(|| bound("exclusiveMinimum"));
        let most = bound("maximum").or_else(|| bound("exclusiveMaximum"));
        let least = least.unwrap_or_else(|| most.map_or(0.0, |most| most.min(100.0) - 100.0));
        let most = most.unwrap_or(least + 100.0);
        let mut first = (least / step).ceil();
        let mut last = (most / step).floor();
        if bound("exclusiveMinimum").is_some_and(|out| first * step <= out) {
            first += 1.0;
        }
        if bound("exclusiveMaximum").is_some_and(|out| last * step >= out) {
            last -= 1.0;
        }
        if first > last {
            return Err(format!("{at}: no number lies between {least} and {most}"));
        }
        let drawn = (first + (self.draws.unit() * (last - first + 1.0)).floor().min(last - first)) * step;
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within the schema's bounds")]
        Ok(if drawn.fract() == 0.0 { json!(drawn as i64) } else { json!(drawn) })
    }

    fn text(&self, schema: &Value, at: &str) -> Result<Value, String> {
        if let Some(pattern) = schema.get("pattern") {
            return Err(format!("{at}: no text can be made up for pattern {pattern}"));
        }
        let day = 10 + self.draws.below(18);
        let name = self.draws.alphanumeric(8).to_lowercase();
        Ok(Value::String(match schema.get("format").and_then(Value::as_str) {
            Some("date") => format!("2024-01-{day}"),
            Some("date-time") => format!("2024-01-{day}T12:00:00Z"),
            Some("time") => format!("{day}:00:00Z"),
            Some("email") => format!("{name}@example.com"),
            Some("uri" | "url") => format!("https://example.com/{name}"),
            Some("hostname") => format!("{name}.example.com"),
            Some("ipv4") => format!("192.0.2.{day}"),
            Some("uuid") => format!("00000000-0000-4000-8000-{:012x}", self.draws.below(1 << 48)),
            _ => {
                let least = whole(schema, "minLength").unwrap_or(1);
                let most = whole(schema, "maxLength").unwrap_or(least + MOST_MORE).min(least + MOST_MORE);
                let length = least.min(most) + self.draws.below(most.saturating_sub(least) + 1);
                self.draws.alphanumeric(usize::try_from(length).unwrap_or(usize::MAX))
            }
        }))
    }
}

fn list<'s>(schema: &'s Value, key: &str) -> Option<&'s [Value]> {
    schema.get(key)?.as_array().map(Vec::as_slice).filter(|list| !list.is_empty())
}

fn whole(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use turnkeep_host::Entropy;

    use super::*;

    /// Makes up a value for many seeds and checks each.
    #[track_caller]
    fn check(schema: Value, fits: impl Fn(&Value) -> bool) {
        for seed in 0..200 {
            let value = make_up(&schema, &Entropy::from_seed(seed).draws());
            let value = value.unwrap_or_else(|why| panic!("seed {seed} of {schema}: {why}"));
            assert!(fits(&value), "seed {seed}: {value} does not fit {schema}");
        }
    }

    fn int(value: &Value, within: std::ops::RangeInclusive<i64>) -> bool {
        value.as_i64().is_some_and(|number| within.contains(&number))
    }

    #[test]
    fn numbers_keep_their_bounds_and_steps() {
        check(json!({ "type": "integer", "minimum": 3, "maximum": 5 }), |value| int(value, 3..=5));
        check(json!({ "type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 5 }), |value| int(value, 4..=4));
        check(json!({ "type": "integer", "maximum": -7 }), |value| int(value, -107..=-7));
        check(json!({ "type": "integer", "multipleOf": 25, "minimum": 1 }), |value| {
            int(value, 25..=100) && value.as_i64().unwrap() % 25 == 0
        });
        check(json!({ "type": "number", "minimum": 0.2, "maximum": 0.9 }), |value| value == &json!(0.5));
    }

    #[test]
    fn texts_keep_their_length_and_form() {
        let length = |value: &Value| value.as_str().unwrap().len();
        check(json!({ "type": "string", "minLength": 5 }), |value| length(value) >= 5);
        check(json!({ "type": "string", "maxLength": 2 }), |value| length(value) <= 2);
        check(json!({ "type": "string", "format": "date" }), |value| value.as_str().unwrap().starts_with("2024-01-"));
        check(json!({ "format": "email" }), |value| value.as_str().unwrap().ends_with("@example.com"));
        check(json!({ "type": ["null", "string"] }), Value::is_string);
    }

    #[test]
    fn lists_keep_their_length_and_their_items_differ_when_they_must() {
        let length = |value: &Value| value.as_array().unwrap().len();
        check(json!({ "type": "array", "minItems": 2, "maxItems": 3 }), |value| (2..=3).contains(&length(value)));
        check(json!({ "type": "array", "items": { "enum": [1, 2] }, "minItems": 2, "uniqueItems": true }), |value| {
            length(value) == 2 && value[0] != value[1]
        });
    }

    #[test]
    fn objects_have_what_is_required_and_nothing_that_is_not_named() {
        let schema = json!({
            "type": "object",
            "properties": { "city": { "type": "string" }, "days": { "type": "integer" }, "odd": false },
            "required": ["city", "more"],
            "additionalProperties": { "type": "boolean" },
        });

        check(schema, |value| {
            let keys: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
            value["city"].is_string() && value["more"].is_boolean() && !keys.contains(&"odd")
        });
    }

    #[test]
    fn branches_references_and_sums_are_followed() {
        let tree = json!({
            "$ref": "#/$defs/tree",
            "$defs": { "tree": {
                "type": "object",
                "properties": { "leaf": { "const": 7 }, "left": { "$ref": "#/$defs/tree" } },
                "required": ["leaf"],
            } },
        });
        check(tree, |value| value["leaf"] == 7);
        check(json!({ "anyOf": [{ "type": "integer" }, { "type": "null" }] }), |value| {
            value.is_i64() || value.is_null()
        });
        check(json!({ "oneOf": [false, { "pattern": "^a$" }, { "const": "b" }] }), |value| value == "b");
        let sum = json!({
            "allOf": [
                { "properties": { "a": { "const": 1 } }, "required": ["a"] },
                { "properties": { "b": { "const": 2 } }, "required": ["b"] },
            ],
        });
        check(sum, |value| value == &json!({ "a": 1, "b": 2 }));
    }

    #[test]
    fn what_cannot_be_made_up_is_named_with_its_place() {
        let refused = |schema: Value| make_up(&schema, &Entropy::from_seed(1).draws()).unwrap_err();
        let nested = json!({ "properties": { "zip": { "pattern": "^[0-9]{5}$" } }, "required": ["zip"] });

        assert_eq!(refused(nested), r#"input.zip: no text can be made up for pattern "^[0-9]{5}$""#);
        assert_eq!(refused(json!({ "$ref": "#/$defs/x" })), r##"input: "#/$defs/x" refers to nothing in the schema"##);
        assert_eq!(
            refused(json!({ "type": "integer", "minimum": 3, "maximum": 2 })),
            "input: no number lies between 3 and 2"
        );
        let endless = json!({ "properties": { "x": { "$ref": "#" } }, "required": ["x"] });
        assert!(refused(endless).ends_with("the schema nests deeper than 24"));
    }

    #[test]
    fn the_same_seed_makes_up_the_same() {
        let schema = json!({ "type": "object", "properties": { "a": {}, "b": { "type": "array" } } });
        let made = |seed| make_up(&schema, &Entropy::from_seed(seed).draws()).unwrap();

        assert_eq!(made(5), made(5));
        assert!((0..20).any(|seed| made(seed) != made(5)));
    }
}
