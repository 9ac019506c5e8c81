use serde_json::json;

use super::*;

const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";

#[track_caller]
fn refused(schema: Value, value: Value, want: &str) {
    assert_eq!(Schema::compile(&schema).check(&value, "input"), Err(want.to_owned()));
}

#[track_caller]
fn taken(schema: Value, value: Value) {
    assert_eq!(Schema::compile(&schema).check(&value, "input"), Ok(()));
}

#[track_caller]
fn bad(schema: Value, want: &str) {
    let schema = Schema::compile(&schema);
    assert_eq!(schema.problem(), Some(want));
    assert_eq!(schema.check(&json!(1), "input"), Err(format!("input cannot be judged: {want}")));
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
    refused(json!({ "enum": ["a", 1] }), json!("b"), "input is none of the allowed values \"a\", 1");
    refused(json!({ "const": "a" }), json!("b"), "input is not \"a\"");
    taken(json!({ "type": ["string", "null"] }), json!(null));
    refused(json!({ "type": ["string", "null"] }), json!(1), "input is not of type \"null\" or \"string\"");
    taken(json!({}), json!(7));
    taken(json!(true), json!(7));
    refused(json!(false), json!(7), "input is not allowed");
}

#[test]
fn a_strict_object_takes_no_unknown_field_a254() {
    let strict = json!({ "properties": { "a": {} }, "additionalProperties": false });

    taken(strict.clone(), json!({ "a": 1 }));
    refused(strict, json!({ "a": 1, "b": 2 }), "input.b is not allowed");
    refused(json!({ "additionalProperties": false }), json!({ "b": 2 }), "input may have no fields");
    let empty = json!({ "properties": { "to": { "properties": {}, "additionalProperties": false } } });
    taken(empty.clone(), json!({ "to": {} }));
    refused(empty, json!({ "to": { "b": 2, "c": 3 } }), "input.to.b is not allowed; input.to.c is not allowed");
    let counts = json!({ "additionalProperties": { "type": "integer" } });
    refused(counts, json!({ "a": "x" }), "input.a is not of type \"integer\"");
    let patterned = json!({ "patternProperties": { "^x-": { "type": "null" } }, "additionalProperties": false });
    taken(patterned.clone(), json!({ "x-a": null }));
    refused(patterned, json!({ "x-a": 1, "y": 1 }), "input.x-a is not of type \"null\"; input.y is not allowed");
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
    refused(shapes, json!(7), "input is not of type \"object\" or \"null\"");
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
    refused(list, json!({ "next": { "next": 3 } }), "input.next.next is not of type \"object\" or \"null\"");
    taken(json!({ "$ref": "#" }), json!(1));
    taken(json!({ "allOf": [{ "$ref": "#" }] }), json!(1));
}

#[test]
fn the_places_of_a_tuple_have_schemas_of_their_own_a119() {
    let tuple = json!({ "type": "array", "prefixItems": [{ "type": "string" }, { "type": "number" }], "items": false });
    let headed = json!({ "prefixItems": [{ "type": "string" }], "items": { "type": "integer" } });

    taken(tuple.clone(), json!(["Oslo", 4]));
    refused(tuple.clone(), json!(["Oslo", 4, 5]), "input[2] is not allowed");
    let swapped = "input[0] is not of type \"string\"; input[1] is not of type \"number\"";
    refused(tuple, json!([4, "Oslo"]), swapped);
    taken(headed.clone(), json!(["Oslo", 4, 5]));
    refused(headed, json!(["Oslo", "4"]), "input[1] is not of type \"integer\"");
}

#[test]
fn every_word_of_a_schema_holds_a119() {
    refused(json!({ "pattern": "^(?!a)b$" }), json!("ab"), "input does not match the pattern \"^(?!a)b$\"");
    refused(json!({ "format": "date" }), json!("soon"), "input is not of the format \"date\"");
    refused(json!({ "format": "date", "$schema": DRAFT_7 }), json!("soon"), "input is not of the format \"date\"");
    refused(json!({ "multipleOf": 5 }), json!(7), "input is not a multiple of 5");
    refused(json!({ "uniqueItems": true }), json!([1, 2, 1]), "input has the same item twice");
    refused(json!({ "dependentRequired": { "from": ["to"] } }), json!({ "from": 1 }), "input.to is missing");
    refused(json!({ "not": { "const": 0 } }), json!(0), "input must not be what this says: {\"const\":0}");
    let later = json!({ "if": { "required": ["from"] }, "then": { "required": ["to"] } });
    refused(later, json!({ "from": 1 }), "input.to is missing");
    refused(
        json!({ "contains": { "const": 1 } }),
        json!([2]),
        "input has no item, or too many, of the kind that it must contain",
    );
    refused(json!({ "minProperties": 1 }), json!({}), "input has fewer than 1 fields");
    refused(json!({ "maxProperties": 0 }), json!({ "a": 1 }), "input has more than 0 fields");
    let names = json!({ "propertyNames": { "maxLength": 1 } });
    refused(names, json!({ "ab": 1 }), "input has a field with a bad name \"ab\": it has more than 1 characters");
    let one = json!({ "oneOf": [{ "minimum": 1 }, { "minimum": 2 }] });
    taken(one.clone(), json!(1));
    refused(one, json!(3), "input fits more than one of the shapes of which it must fit one");
    let whole = json!({ "allOf": [{ "properties": { "a": {} } }], "unevaluatedProperties": false });
    refused(whole, json!({ "a": 1, "b": 1 }), "input.b is not allowed");
    let encoded = "input: value is not compliant with \"base64\" content encoding";
    refused(json!({ "contentEncoding": "base64", "$schema": DRAFT_7 }), json!("?"), encoded);
    taken(json!({ "format": "uint8", "nullable": true, "x-own": 1, "contentEncoding": "base64" }), json!("?"));
}

#[test]
fn the_shape_that_was_meant_is_known_by_its_tag_a119() {
    let tagged = json!({ "properties": { "step": { "anyOf": [
        { "properties": { "do": { "const": "wait" }, "s": { "type": "number" } }, "required": ["do", "s"] },
        { "properties": { "do": { "const": "say" }, "text": { "type": "string" } }, "required": ["do", "text"] },
    ] } } });

    refused(tagged.clone(), json!({ "step": { "do": "say" } }), "input.step.text is missing");
    refused(tagged.clone(), json!({ "step": { "do": "say", "text": 1 } }), "input.step.text is not of type \"string\"");
    let unknown = "input.step.do is none of the allowed values \"wait\", \"say\"";
    refused(tagged, json!({ "step": { "do": "sing", "text": "la" } }), unknown);
    let mood = json!({ "anyOf": [{ "type": "null" }, { "type": "string", "enum": ["calm", "bold"] }] });
    refused(mood.clone(), json!("wild"), "input is none of the allowed values \"calm\", \"bold\"");
    refused(mood, json!(1), "input is not of type \"null\" or \"string\"");
    refused(json!({ "anyOf": [{ "not": {} }, { "minimum": 3 }] }), json!(1), "input must not be what this says: {}");
}

#[test]
fn as_many_errors_are_told_as_a_model_reads_and_none_is_long_a119() {
    let strict = json!({ "properties": { "a": {} }, "additionalProperties": false });
    let fields = |n: usize| Value::Object((0..n).map(|at| (format!("f{at}"), json!(1))).collect());
    let told = |n: usize| Schema::compile(&strict).check(&fields(n), "input").unwrap_err();

    assert_eq!(told(2), "input.f0 is not allowed; input.f1 is not allowed");
    assert!(told(5).ends_with("; input.f4 is not allowed"), "{}", told(5));
    assert!(told(6).ends_with("; input.f4 is not allowed; and more"), "{}", told(6));
    let long = Schema::compile(&strict).check(&json!({ ("é".repeat(10_000)): 1 }), "input").unwrap_err();
    assert_eq!(long, format!("input.{}… is not allowed", "é".repeat(200)));
    let many =
        Schema::compile(&json!({ "enum": (0..1000).collect::<Vec<_>>() })).check(&json!("x"), "input").unwrap_err();
    assert!(many.ends_with("18, 19, …"), "{many}");
}

#[test]
fn a_pattern_that_never_ends_is_given_up_a119() {
    let pattern = json!({ "pattern": "^(a|a)*(?=b)c$" });

    let wrong = Schema::compile(&pattern).check(&json!("a".repeat(100)), "input").unwrap_err();

    assert!(wrong.starts_with("input"), "{wrong}");
}

#[test]
fn what_is_no_schema_is_told_when_it_is_made_a119() {
    bad(json!(7), "schema is not of type \"boolean\" or \"object\"");
    let kinds = "\"array\", \"boolean\", \"integer\", \"null\", \"number\", \"object\", \"string\"";
    let unknown = format!("schema.properties.city.type is none of the allowed values {kinds}");
    bad(json!({ "properties": { "city": { "type": "text" } } }), &unknown);
    bad(json!({ "required": "city" }), "schema.required is not of type \"array\"");
    bad(json!({ "pattern": "(" }), "schema.pattern is not of the format \"regex\"");
    bad(json!({ "$ref": "#/definitions/City" }), "schema: Pointer '/definitions/City' does not exist");
}

#[test]
fn nothing_that_lies_elsewhere_is_fetched_a119() {
    for elsewhere in ["https://elsewhere/city.json", "file:///etc/hostname", "city.json"] {
        let problem = Schema::compile(&json!({ "$ref": elsewhere })).problem().map(str::to_owned);
        assert!(problem.as_ref().is_some_and(|problem| problem.contains(elsewhere)), "{elsewhere}: {problem:?}");
    }
}

#[test]
fn a_schema_of_draft_7_is_read_as_such_a119() {
    let tuple =
        json!({ "type": "array", "items": [{ "type": "string" }, { "type": "number" }], "additionalItems": false });

    taken(tuple.clone(), json!(["Oslo", 4]));
    refused(tuple.clone(), json!([4, 4]), "input[0] is not of type \"string\"");
    refused(tuple, json!(["Oslo", 4, 5]), "input has more than 2 items");
    let derived = super::super::schema_of::<(String, u8)>();
    taken(derived.clone(), json!(["Oslo", 4]));
    refused(derived, json!(["Oslo", -4]), "input[1] is less than 0");
}
