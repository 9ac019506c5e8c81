//! The part of JSON schema that models get wrong: types, required fields, enums, nested in objects and arrays.
//!
//! Keywords that are not known here restrict nothing; the tool's own code has the last word.

use serde_json::Value;

/// Says where and why `value` is not what `schema` asks for.
pub(super) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    check_at(schema, value, "input")
}

fn check_at(schema: &Value, value: &Value, at: &str) -> Result<(), String> {
    if let Some(wanted) = schema.get("type")
        && !allows(wanted, value)
    {
        return Err(format!("{at} is not of type {wanted}"));
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        return Err(format!("{at} is none of the allowed values"));
    }
    if let Some(object) = value.as_object() {
        let required = schema.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(key) {
                return Err(format!("{at}.{key} is missing"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (key, schema) in properties.into_iter().flatten() {
            if let Some(field) = object.get(key) {
                check_at(schema, field, &format!("{at}.{key}"))?;
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), schema.get("items")) {
        for (index, item) in items.iter().enumerate() {
            check_at(schema, item, &format!("{at}[{index}]"))?;
        }
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn refused(schema: Value, value: Value, want: &str) {
        assert_eq!(check(&schema, &value), Err(want.to_owned()));
    }

    #[track_caller]
    fn taken(schema: Value, value: Value) {
        assert_eq!(check(&schema, &value), Ok(()));
    }

    #[test]
    fn inputs_are_held_against_the_schema_a119() {
        let city = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });

        taken(city.clone(), json!({ "city": "Oslo", "later": 1 }));
        refused(city.clone(), json!({}), "input.city is missing");
        refused(city.clone(), json!({ "city": 4 }), "input.city is not of type \"string\"");
        refused(city, json!("Oslo"), "input is not of type \"object\"");
        refused(json!({ "items": { "type": "integer" } }), json!([1, 1.5]), "input[1] is not of type \"integer\"");
        taken(json!({ "items": { "type": "integer" } }), json!([1, 1.0]));
        refused(json!({ "enum": ["a"] }), json!("b"), "input is none of the allowed values");
        taken(json!({ "type": ["string", "null"] }), json!(null));
        taken(json!({}), json!(7));
        taken(json!(true), json!(7));
    }
}
