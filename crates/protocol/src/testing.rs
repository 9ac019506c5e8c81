//! Arbitrary JSON for the property tests of this crate.

use proptest::prelude::*;
use serde_json::Value;

use crate::wire::JsonObject;

/// Makes any JSON value, small and a few levels deep.
pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        // Quarters survive the way through text exactly.
        any::<i16>().prop_map(|quarters| Value::from(f64::from(quarters) / 4.0 + 0.125)),
        any_text().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any_text(), inner), 0..4)
                .prop_map(|entries| Value::Object(entries.into_iter().collect::<JsonObject>())),
        ]
    })
}

/// Makes text with what JSON and SSE find hard: quotes, line ends, escapes, wide characters.
pub(crate) fn any_text() -> impl Strategy<Value = String> {
    "[a-c\"\\\\\r\n\t{}:, é😀\u{2028}]{0,6}"
}
