use serde_json::json;

use super::*;

#[track_caller]
fn refused(schema: Value, value: Value, want: &str) {
    assert_eq!(check(&schema, &value, "input"), Err(want.to_owned()));
}

#[track_caller]
fn taken(schema: Value, value: Value) {
    assert_eq!(check(&schema, &value, "input"), Ok(()));
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
    refused(json!({ "const": "a" }), json!("b"), "input is not \"a\"");
    taken(json!({ "type": ["string", "null"] }), json!(null));
    taken(json!({}), json!(7));
    taken(json!(true), json!(7));
    refused(json!(false), json!(7), "input is not allowed");
}

#[test]
fn a_strict_object_takes_no_unknown_field_a254() {
    let strict = json!({ "properties": { "a": {} }, "additionalProperties": false });

    taken(strict.clone(), json!({ "a": 1 }));
    refused(strict, json!({ "a": 1, "b": 2 }), "input.b is not allowed");
    let counts = json!({ "additionalProperties": { "type": "integer" } });
    refused(counts, json!({ "a": "x" }), "input.a is not of type \"integer\"");
    let patterned = json!({ "patternProperties": { "^x-": {} }, "additionalProperties": false });
    taken(patterned, json!({ "x-a": 1 }));
}

#[test]
fn bounds_hold_at_their_edges_a119() {
    let number = json!({ "minimum": 1, "exclusiveMaximum": 3 });
    taken(number.clone(), json!(1));
    taken(number.clone(), json!(2.5));
    refused(number.clone(), json!(0), "input is less than 1");
    refused(number, json!(3), "input is not less than 3");
    let other = json!({ "exclusiveMinimum": 1, "maximum": 3 });
    taken(other.clone(), json!(3));
    refused(other.clone(), json!(1), "input is not more than 1");
    refused(other, json!(4), "input is more than 3");
    let text = json!({ "minLength": 1, "maxLength": 2 });
    taken(text.clone(), json!("éé"));
    refused(text.clone(), json!(""), "input has fewer than 1 characters");
    refused(text, json!("éée"), "input has more than 2 characters");
    refused(json!({ "maxItems": 0 }), json!([1]), "input has more than 0 items");
}

#[test]
fn of_several_shapes_one_must_fit_and_the_nearest_miss_is_told_a119() {
    let shapes = json!({ "anyOf": [
        { "type": "object", "properties": { "to": { "type": "string" } }, "required": ["to"] },
        { "type": "null" },
    ] });

    taken(shapes.clone(), json!(null));
    taken(shapes.clone(), json!({ "to": "x" }));
    refused(shapes.clone(), json!({ "to": 1 }), "input.to is not of type \"string\"");
    refused(shapes, json!(7), "input is not of type \"object\"");
    refused(json!({ "allOf": [{ "minimum": 1 }, { "maximum": 3 }] }), json!(4), "input is more than 3");
    refused(json!({ "oneOf": [{ "const": 1 }] }), json!(4), "input is not 1");
}

#[test]
fn a_schema_may_refer_to_itself_a119() {
    let list = json!({
        "$ref": "#/definitions/Node",
        "definitions": { "Node": {
            "type": "object",
            "properties": { "next": { "anyOf": [{ "$ref": "#/definitions/Node" }, { "type": "null" }] } },
        } },
    });

    taken(list.clone(), json!({ "next": { "next": null } }));
    refused(list, json!({ "next": { "next": 3 } }), "input.next.next is not of type \"object\"");
    taken(json!({ "$ref": "#" }), json!(1));
    taken(json!({ "$ref": "elsewhere.json" }), json!(1));
}

#[test]
fn the_places_of_a_tuple_have_schemas_of_their_own_a119() {
    let tuple = json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "number" }], "items": false });
    let headed = json!({ "prefixItems": [{ "type": "string" }], "items": { "type": "integer" } });

    assert_eq!(super::check(&tuple, &json!(["Oslo", 4]), "input"), Ok(()));
    assert!(super::check(&tuple, &json!([4, "Oslo"]), "input").is_err());
    assert!(super::check(&tuple, &json!(["Oslo", 4, 5]), "input").unwrap_err().contains("input[2]"));
    assert_eq!(super::check(&headed, &json!(["Oslo", 4, 5]), "input"), Ok(()));
    assert!(super::check(&headed, &json!(["Oslo", "4"]), "input").is_err());
}
