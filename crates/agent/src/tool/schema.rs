//! The part of JSON schema that models get wrong: types, required and unknown fields, choices and bounds, nested in objects and arrays.
//!
//! Keywords that are not known here restrict nothing; the tool's own type or code has the last word.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

/// How deep schemas are followed; what lies deeper is not restricted. A schema may refer to itself for ever.
const MAX_DEPTH: usize = 64;

/// Says where and why `value`, which is called `name`, is not what `schema` asks for.
pub(crate) fn check(schema: &Value, value: &Value, name: &str) -> Result<(), String> {
    Schema { root: schema, here: schema, depth: 0 }.check(value, name)
}

/// A schema inside the one that its `$ref`s start from.
#[derive(Clone, Copy)]
struct Schema<'a> {
    root: &'a Value,
    here: &'a Value,
    depth: usize,
}

impl<'a> Schema<'a> {
    fn at(self, here: &'a Value) -> Self {
        Self { here, depth: self.depth + 1, ..self }
    }

    fn get(self, keyword: &str) -> Option<&'a Value> {
        self.here.get(keyword)
    }

    /// Gives the schemas under a keyword that holds a list of them.
    fn list(self, keyword: &str) -> impl Iterator<Item = Self> {
        let list = self.get(keyword).and_then(Value::as_array);
        list.into_iter().flatten().map(move |schema| self.at(schema))
    }

    fn check(self, value: &Value, at: &str) -> Result<(), String> {
        if self.here == &Value::Bool(false) {
            return Err(format!("{at} is not allowed"));
        }
        if self.depth >= MAX_DEPTH {
            return Ok(());
        }
        if let Some(target) = self.get("$ref").and_then(Value::as_str).and_then(|reference| self.resolve(reference)) {
            self.at(target).check(value, at)?;
        }
        self.check_kind(value, at)?;
        self.check_choices(value, at)?;
        match value {
            Value::Object(fields) => self.check_object(fields, at),
            Value::Array(items) => self.check_array(items, at),
            Value::Number(_) => self.check_number(value.as_f64().unwrap_or_default(), at),
            Value::String(text) => self.check_length("Length", "characters", text.chars().count(), at),
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    /// Follows a `$ref` inside the document.
    fn resolve(self, reference: &str) -> Option<&'a Value> {
        self.root.pointer(reference.strip_prefix('#')?)
    }

    fn check_kind(self, value: &Value, at: &str) -> Result<(), String> {
        if let Some(wanted) = self.get("type")
            && !allows(wanted, value)
        {
            return Err(format!("{at} is not of type {wanted}"));
        }
        if let Some(allowed) = self.get("enum").and_then(Value::as_array)
            && !allowed.contains(value)
        {
            return Err(format!("{at} is none of the allowed values"));
        }
        if let Some(wanted) = self.get("const")
            && wanted != value
        {
            return Err(format!("{at} is not {wanted}"));
        }
        Ok(())
    }

    fn check_choices(self, value: &Value, at: &str) -> Result<(), String> {
        for schema in self.list("allOf") {
            schema.check(value, at)?;
        }
        for keyword in ["anyOf", "oneOf"] {
            let mut wrongs = Vec::new();
            for schema in self.list(keyword) {
                match schema.check(value, at) {
                    // More than one fit is nobody's mistake that a model could mend.
                    Ok(()) => {
                        wrongs.clear();
                        break;
                    }
                    Err(wrong) => wrongs.push(wrong),
                }
            }
            // The branch that failed deepest is the one that was meant.
            let meant =
                wrongs.into_iter().enumerate().max_by_key(|(index, wrong)| (place_of(wrong), usize::MAX - index));
            if let Some((_, wrong)) = meant {
                return Err(wrong);
            }
        }
        Ok(())
    }

    fn check_object(self, fields: &Map<String, Value>, at: &str) -> Result<(), String> {
        let required = self.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if !fields.contains_key(key) {
                return Err(format!("{at}.{key} is missing"));
            }
        }
        let known = self.get("properties").and_then(Value::as_object);
        let others = self.get("additionalProperties");
        for (key, field) in fields {
            let schema = known.and_then(|known| known.get(key));
            // A pattern may allow what is not listed; patterns are not judged here.
            let schema = schema.or(others.filter(|_| self.get("patternProperties").is_none()));
            if let Some(schema) = schema {
                self.at(schema).check(field, &format!("{at}.{key}"))?;
            }
        }
        Ok(())
    }

    fn check_array(self, items: &[Value], at: &str) -> Result<(), String> {
        self.check_length("Items", "items", items.len(), at)?;
        // The first ones may have schemas of their own; `items` is for those behind them.
        let heads = self.get("prefixItems").and_then(Value::as_array);
        for (index, item) in items.iter().enumerate() {
            let own = heads.and_then(|heads| heads.get(index));
            if let Some(schema) = own.or(self.get("items")) {
                self.at(schema).check(item, &format!("{at}[{index}]"))?;
            }
        }
        Ok(())
    }

    fn check_number(self, number: f64, at: &str) -> Result<(), String> {
        let bound = |keyword: &str| self.get(keyword).and_then(Value::as_f64);
        if let Some(least) = bound("minimum").filter(|least| number < *least) {
            return Err(format!("{at} is less than {least}"));
        }
        if let Some(most) = bound("maximum").filter(|most| number > *most) {
            return Err(format!("{at} is more than {most}"));
        }
        if let Some(floor) = bound("exclusiveMinimum").filter(|floor| number <= *floor) {
            return Err(format!("{at} is not more than {floor}"));
        }
        if let Some(ceiling) = bound("exclusiveMaximum").filter(|ceiling| number >= *ceiling) {
            return Err(format!("{at} is not less than {ceiling}"));
        }
        Ok(())
    }

    /// Checks `min…` and `max…` of texts and arrays.
    fn check_length(self, keyword: &str, unit: &str, length: usize, at: &str) -> Result<(), String> {
        let bound = |side: &str| self.get(&format!("{side}{keyword}")).and_then(Value::as_u64);
        if let Some(least) = bound("min").filter(|least| (length as u64) < *least) {
            return Err(format!("{at} has fewer than {least} {unit}"));
        }
        if let Some(most) = bound("max").filter(|most| length as u64 > *most) {
            return Err(format!("{at} has more than {most} {unit}"));
        }
        Ok(())
    }
}

/// Counts how deep the place lies that an error names.
fn place_of(wrong: &str) -> usize {
    let place = wrong.split(' ').next().unwrap_or_default();
    place.matches(['.', '[']).count()
}

fn allows(wanted: &Value, value: &Value) -> bool {
    match wanted {
        Value::String(name) => is_of(name, value),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(|name| is_of(name, value)),
        _ => true,
    }
}

fn is_of(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        "number" => value.is_number(),
        // JSON schema counts 1.0 as an integer.
        "integer" => value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0),
        _ => true,
    }
}
