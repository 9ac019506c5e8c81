//! Small bounded JSON out of a fuzzer's bytes, for the fields that hold any JSON.

use arbitrary::{Arbitrary, Result, Unstructured};
use serde_json::Value;

use crate::message::UiMessage;
use crate::model_message::{ContentPart, ModelMessage, ModelRole, ToolResultOutput};
use crate::wire::JsonObject;

/// Bounds how deep a made value nests.
const MAX_DEPTH: usize = 3;

/// Bounds the items of one made array or object.
const MAX_ITEMS: usize = 4;

/// Makes any value.
pub(crate) fn value(u: &mut Unstructured<'_>) -> Result<Value> {
    nested(u, MAX_DEPTH)
}

/// Makes some values.
pub(crate) fn values(u: &mut Unstructured<'_>) -> Result<Vec<Value>> {
    (0..u.int_in_range(0..=MAX_ITEMS)?).map(|_| value(u)).collect()
}

/// Makes a value that is not `null`, or none: an optional field says nothing with `null`.
pub(crate) fn optional(u: &mut Unstructured<'_>) -> Result<Option<Value>> {
    Ok(Some(value(u)?).filter(|value| !value.is_null()))
}

/// Makes fields that no version of ours knows.
pub(crate) fn extra(u: &mut Unstructured<'_>) -> Result<JsonObject> {
    let entries = (0..u.int_in_range(0..=2)?).map(|_| Ok((format!("x-{}", String::arbitrary(u)?), value(u)?)));
    entries.collect()
}

/// Makes an object whose `type` no version of ours knows.
pub(crate) fn unknown(u: &mut Unstructured<'_>) -> Result<JsonObject> {
    let mut object = extra(u)?;
    object.insert("type".to_owned(), Value::String(format!("x-{}", String::arbitrary(u)?)));
    Ok(object)
}

fn nested(u: &mut Unstructured<'_>, depth: usize) -> Result<Value> {
    let n_shapes = if depth == 0 { 3 } else { 5 };
    Ok(match u.int_in_range(0..=n_shapes)? {
        0 => Value::Null,
        1 => Value::from(bool::arbitrary(u)?),
        2 => Value::from(i64::arbitrary(u)?),
        3 => Value::from(String::arbitrary(u)?),
        4 => {
            let items = (0..u.int_in_range(0..=MAX_ITEMS)?).map(|_| nested(u, depth - 1));
            Value::Array(items.collect::<Result<_>>()?)
        }
        _ => {
            let entries =
                (0..u.int_in_range(0..=MAX_ITEMS)?).map(|_| Ok((String::arbitrary(u)?, nested(u, depth - 1)?)));
            Value::Object(entries.collect::<Result<_>>()?)
        }
    })
}

impl<'a> Arbitrary<'a> for UiMessage {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(Self {
            id: u.arbitrary()?,
            role: u.arbitrary()?,
            metadata: optional(u)?,
            parts: u.arbitrary()?,
            extra: extra(u)?,
        })
    }
}

impl<'a> Arbitrary<'a> for ToolResultOutput {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=4)? {
            0 => Self::Text(u.arbitrary()?),
            1 => Self::Json(value(u)?),
            2 => Self::ErrorText(u.arbitrary()?),
            3 => Self::ErrorJson(value(u)?),
            _ => Self::Other(unknown(u)?),
        })
    }
}

impl<'a> Arbitrary<'a> for ModelMessage {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        let role = u.arbitrary()?;
        let content = match role {
            // Only text has a place in a system message on the wire.
            ModelRole::System => vec![ContentPart::text(String::arbitrary(u)?)],
            _ => u.arbitrary()?,
        };
        Ok(Self { role, content: content.into(), provider_options: optional(u)?, extra: extra(u)? })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert_eq, proptest};
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    use super::*;
    use crate::{MessageReducer, UiMessageChunk};

    #[track_caller]
    fn check<'a, T>(bytes: &'a [u8])
    where
        T: Arbitrary<'a> + Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
    {
        let Ok(made) = T::arbitrary(&mut Unstructured::new(bytes)) else {
            return;
        };
        let text = serde_json::to_string(&made).expect("json");
        let read: T = serde_json::from_str(&text).expect("what we write we read");
        assert_eq!(read, made, "{text}");
    }

    proptest! {
        #[test]
        fn made_values_survive_the_wire(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            check::<UiMessageChunk>(&bytes);
            check::<UiMessage>(&bytes);
            check::<ModelMessage>(&bytes);
        }

        #[test]
        fn no_chunks_make_the_reducer_panic(bytes in prop::collection::vec(any::<u8>(), 0..800)) {
            let Ok(chunks) = Vec::<UiMessageChunk>::arbitrary(&mut Unstructured::new(&bytes)) else {
                return Ok(());
            };
            let mut reducer = MessageReducer::new();
            for chunk in &chunks {
                let before = reducer.message().clone();
                if reducer.apply(chunk).is_err() {
                    prop_assert_eq!(reducer.message(), &before);
                }
            }
        }
    }
}
