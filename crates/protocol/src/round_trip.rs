//! Whatever a peer sends comes out as it went in (D-25, A-7): chunks, parts and messages, known or not, fitting or not.

use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::testing::any_json;
use crate::wire::JsonObject;
use crate::{ContentPart, ModelMessage, UiMessage, UiMessageChunk, UiPart};

#[track_caller]
fn check<T: Serialize + DeserializeOwned>(value: &Value) {
    let typed: T = serde_json::from_value(value.clone()).expect("tolerant types take any object");
    assert_eq!(&serde_json::to_value(&typed).expect("json"), value);
    assert_eq!(serde_json::from_str::<Value>(&serde_json::to_string(&typed).expect("json")).expect("json"), *value);
}

/// Makes an object whose keys and values are often, but not always, those of the wire.
fn any_object() -> impl Strategy<Value = JsonObject> {
    let keys = prop::sample::select(vec![
        "id",
        "messageId",
        "delta",
        "text",
        "toolCallId",
        "toolName",
        "input",
        "output",
        "errorText",
        "state",
        "approval",
        "approvalId",
        "data",
        "transient",
        "url",
        "mediaType",
        "title",
        "sourceId",
        "providerMetadata",
        "reason",
        "finishReason",
        "dynamic",
        "inputTextDelta",
        "preliminary",
        "metadata",
        "approved",
        "unheardOf",
    ]);
    let values = prop_oneof![
        3 => "[a-z]{0,3}".prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => prop::sample::select(vec!["input-streaming", "output-available", "streaming", "done"]).prop_map(Value::from),
        1 => "[a-z]".prop_map(|id| json!({ "id": id, "approved": true, "type": "x" })),
        1 => "[a-z]".prop_map(|value| json!({ "type": "text", "value": value })),
        2 => any_json(),
    ];
    prop::collection::vec((keys.prop_map(str::to_owned), values), 0..10)
        .prop_map(|entries| entries.into_iter().collect())
}

/// Adds a `type` that is known, half known, unknown, not text, or missing.
fn any_tagged() -> impl Strategy<Value = Value> {
    let parts =
        ["text", "reasoning", "file", "source-url", "step-start", "tool-t", "tool-", "dynamic-tool", "data-", "data-x"];
    let model =
        ["tool-call", "tool-result", "tool-approval-request", "tool-approval-response", "custom", "steering-message"];
    let known = UiMessageChunk::KINDS.iter().chain(&parts).chain(&model).map(|kind| json!(kind)).collect::<Vec<_>>();
    let kind = prop_oneof![
        8 => prop::sample::select(known).prop_map(Some),
        1 => any_json().prop_map(Some),
        1 => Just(None),
    ];
    (kind, any_object()).prop_map(|(kind, mut object)| {
        if let Some(kind) = kind {
            object.insert("type".to_owned(), kind);
        }
        Value::Object(object)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_chunk_survives_d25(value in any_tagged()) {
        check::<UiMessageChunk>(&value);
    }

    #[test]
    fn any_part_survives_d25(value in any_tagged()) {
        check::<UiPart>(&value);
    }

    #[test]
    fn any_content_part_survives_d25(value in any_tagged()) {
        check::<ContentPart>(&value);
    }

    #[test]
    fn any_message_survives_d25(
        mut object in any_object(),
        role in prop::sample::select(vec!["user", "assistant", "system"]),
        parts in prop::collection::vec(any_tagged(), 0..3),
    ) {
        if object.get("id").is_some_and(|id| !id.is_string()) {
            object.remove("id");
        }
        object.insert("role".to_owned(), json!(role));
        object.insert("parts".to_owned(), json!(parts));

        check::<UiMessage>(&Value::Object(object));
    }

    #[test]
    fn any_model_message_survives_d25(
        mut object in any_object(),
        role in prop::sample::select(vec!["user", "assistant", "tool"]),
        content in prop::collection::vec(any_tagged(), 0..3),
    ) {
        object.insert("role".to_owned(), json!(role));
        object.insert("content".to_owned(), json!(content));

        check::<ModelMessage>(&Value::Object(object));
    }
}

#[test]
fn every_chunk_kind_is_typed_when_it_fits() {
    let whole = json!({
        "id": "i", "delta": "d", "errorText": "e", "toolCallId": "c", "toolName": "t", "inputTextDelta": "x", "approvalId": "p",
        "sourceId": "s", "url": "u", "mediaType": "m", "title": "t",
    });
    for kind in UiMessageChunk::KINDS.iter().chain(&["data-x"]) {
        let mut object = whole.as_object().expect("an object").clone();
        object.insert("type".to_owned(), json!(kind));
        for key in ["data", "value", "operations"] {
            object.insert(key.to_owned(), json!(null));
        }

        let chunk = UiMessageChunk::from_object(object.clone());

        assert!(!matches!(chunk, UiMessageChunk::Unknown(_)), "{kind}");
        assert_eq!(chunk.kind(), *kind);
        check::<UiMessageChunk>(&Value::Object(object));
    }
}

#[test]
fn the_type_comes_first_and_absent_options_are_left_out() {
    let text = |chunk: UiMessageChunk| serde_json::to_string(&chunk).expect("json");

    assert_eq!(text(UiMessageChunk::start("m1")), r#"{"type":"start","messageId":"m1"}"#);
    assert_eq!(text(UiMessageChunk::text_delta("1", "hi")), r#"{"type":"text-delta","id":"1","delta":"hi"}"#);
    assert_eq!(text(UiMessageChunk::start_step()), r#"{"type":"start-step"}"#);
    assert_eq!(text(UiMessageChunk::data("p", Some("1"), json!(2))), r#"{"type":"data-p","id":"1","data":2}"#);
    assert_eq!(
        text(UiMessageChunk::tool_output_available("c", Value::Null)),
        r#"{"type":"tool-output-available","toolCallId":"c","output":null}"#
    );
}

#[test]
fn an_explicit_null_is_kept_and_a_misfit_is_unknown_d25() {
    check::<UiMessageChunk>(&json!({ "type": "abort", "reason": null }));
    assert!(matches!(serde_json::from_value(json!({ "type": "abort", "reason": null })), Ok(UiMessageChunk::Abort(_))));
    assert!(matches!(serde_json::from_value(json!({ "type": "abort", "reason": 1 })), Ok(UiMessageChunk::Unknown(_))));
    assert!(matches!(
        serde_json::from_value(json!({ "type": "text-delta", "id": "1" })),
        Ok(UiMessageChunk::Unknown(_))
    ));
    assert!(serde_json::from_value::<UiMessageChunk>(json!("text")).is_err());
    assert_eq!(UiMessageChunk::from_value(json!([1])), None);
}

#[test]
fn messages_that_are_none_are_refused() {
    for value in [
        json!({ "id": "1", "parts": [] }),
        json!({ "id": "1", "role": "robot", "parts": [] }),
        json!({ "id": 1, "role": "user", "parts": [] }),
        json!({ "id": "1", "role": "user", "parts": {} }),
        json!({ "id": "1", "role": "user", "parts": ["hi"] }),
        json!("hi"),
    ] {
        assert!(serde_json::from_value::<UiMessage>(value.clone()).is_err(), "{value}");
    }
    let bare: UiMessage = serde_json::from_value(json!({ "role": "user" })).expect("tolerated");
    assert_eq!((bare.id.as_str(), bare.parts.len()), ("", 0));
}

#[test]
fn plain_text_content_of_a_model_message_becomes_a_text_part_a230() {
    let message: ModelMessage =
        serde_json::from_value(json!({ "role": "assistant", "content": "hi" })).expect("a message");
    assert_eq!(message, ModelMessage::assistant(vec![ContentPart::text("hi")]));
    check::<ModelMessage>(&json!({ "role": "system", "content": "be brief", "providerOptions": {} }));
}
