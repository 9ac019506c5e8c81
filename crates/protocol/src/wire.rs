//! How a tagged JSON object becomes a typed struct and back without losing a byte of meaning.
//!
//! A struct declared with [`wire_struct!`] takes its known fields out of the object and keeps the rest in `extra`, so
//! what a newer peer added survives a round trip (D-25). An explicit `null` in an optional field stays in `extra` for
//! the same reason. Tags (`type`) are the business of [`crate::chunk`] and [`crate::message`].

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::Value;

/// Names a JSON object whose keys keep their order.
pub type JsonObject = serde_json::Map<String, Value>;

/// Reads a field that is there, a null included: null is a value like any other.
pub(crate) fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    serde::Deserialize::deserialize(deserializer).map(Some)
}

/// Says how one JSON value becomes the value of a field.
pub(crate) trait JsonValue: Serialize + Sized {
    /// Tells whether `null` is a value of this type rather than the absence of one.
    const NULL_IS_VALUE: bool = false;

    /// Tells whether [`JsonValue::from_json`] will succeed.
    fn fits(value: &Value) -> bool;

    /// Converts a value that fits.
    fn from_json(value: Value) -> Option<Self>;

    /// Makes a value out of a fuzzer's bytes.
    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self>;
}

impl JsonValue for String {
    fn fits(value: &Value) -> bool {
        value.is_string()
    }

    fn from_json(value: Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
        u.arbitrary()
    }
}

impl JsonValue for bool {
    fn fits(value: &Value) -> bool {
        value.is_boolean()
    }

    fn from_json(value: Value) -> Option<Self> {
        value.as_bool()
    }

    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
        u.arbitrary()
    }
}

impl JsonValue for Value {
    const NULL_IS_VALUE: bool = true;

    fn fits(_: &Value) -> bool {
        true
    }

    fn from_json(value: Value) -> Option<Self> {
        Some(value)
    }

    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
        crate::arbitrary_json::value(u)
    }
}

/// Says how a field of a struct is found in, and put back into, its object: required as `T`, or optional as
/// `Option<T>`.
pub(crate) trait Field: Sized {
    /// Tells whether the object holds what this field needs.
    fn fits(value: Option<&Value>) -> bool;

    /// Moves the field out of an object that fits.
    fn take(object: &mut JsonObject, key: &str) -> Option<Self>;

    /// Tells whether [`Field::write`] writes an entry.
    fn is_present(&self) -> bool;

    /// Writes the entry, unless the field is absent.
    fn write<M: SerializeMap>(&self, key: &'static str, out: &mut M) -> Result<(), M::Error>;

    /// Makes a value out of a fuzzer's bytes.
    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self>;
}

impl<T: JsonValue> Field for T {
    fn fits(value: Option<&Value>) -> bool {
        value.is_some_and(T::fits)
    }

    fn take(object: &mut JsonObject, key: &str) -> Option<Self> {
        T::from_json(object.shift_remove(key)?)
    }

    fn is_present(&self) -> bool {
        true
    }

    fn write<M: SerializeMap>(&self, key: &'static str, out: &mut M) -> Result<(), M::Error> {
        out.serialize_entry(key, self)
    }

    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
        T::make(u)
    }
}

impl<T: JsonValue> Field for Option<T> {
    fn fits(value: Option<&Value>) -> bool {
        match value {
            None | Some(Value::Null) => true,
            Some(value) => T::fits(value),
        }
    }

    fn take(object: &mut JsonObject, key: &str) -> Option<Self> {
        match object.get(key) {
            None => Some(None),
            // Left in `extra`: `"title": null` and no title are different words on the wire.
            Some(Value::Null) if !T::NULL_IS_VALUE => Some(None),
            Some(_) => object.shift_remove(key).and_then(T::from_json).map(Some),
        }
    }

    fn is_present(&self) -> bool {
        self.is_some()
    }

    fn write<M: SerializeMap>(&self, key: &'static str, out: &mut M) -> Result<(), M::Error> {
        match self {
            Some(value) => out.serialize_entry(key, value),
            None => Ok(()),
        }
    }

    #[cfg(feature = "arbitrary")]
    fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
        if u.arbitrary()? { T::make(u).map(Some) } else { Ok(None) }
    }
}

/// Says how a struct is read from the untagged rest of an object; implemented by [`wire_struct!`].
pub(crate) trait WireStruct: Sized {
    /// Tells whether every field finds what it needs.
    fn fits(object: &JsonObject) -> bool;

    /// Converts an object, giving it back untouched when it does not fit.
    fn from_object(object: JsonObject) -> Result<Self, JsonObject>;

    /// Writes every present field, then what is in `extra` and not shadowed by a field.
    fn write<M: SerializeMap>(&self, out: &mut M) -> Result<(), M::Error>;
}

/// Declares a wire struct: `field: Type = "jsonKey"`, with `Option` for what may be absent.
///
/// Fields in brackets are not read here but set by the one who reads the tag.
macro_rules! wire_struct {
    ($(
        $(#[$doc:meta])*
        $name:ident $([ $( $(#[$tag_doc:meta])* $tag_field:ident: $tag_type:ty, )* ])? { $( $(#[$field_doc:meta])* $field:ident: $type:ty = $key:literal, )* }
    )*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Default)]
        pub struct $name {
            $($( $(#[$tag_doc])* pub $tag_field: $tag_type, )*)?
            $( $(#[$field_doc])* pub $field: $type, )*
            /// Keeps the fields that this version does not know (D-25); a declared field shadows its namesake here, and
            /// `type` has no place here.
            pub extra: $crate::wire::JsonObject,
        }

        impl $crate::wire::WireStruct for $name {
            fn fits(object: &$crate::wire::JsonObject) -> bool {
                let _ = object;
                $( <$type as $crate::wire::Field>::fits(object.get($key)) && )* true
            }

            fn from_object(mut object: $crate::wire::JsonObject) -> Result<Self, $crate::wire::JsonObject> {
                if !<Self as $crate::wire::WireStruct>::fits(&object) {
                    return Err(object);
                }
                Ok(Self {
                    $($( $tag_field: <$tag_type>::default(), )*)?
                    $( $field: <$type as $crate::wire::Field>::take(&mut object, $key).expect("fits was asked first"), )*
                    extra: std::mem::take(&mut object),
                })
            }

            fn write<M: serde::ser::SerializeMap>(&self, out: &mut M) -> Result<(), M::Error> {
                $( $crate::wire::Field::write(&self.$field, $key, out)?; )*
                for (key, value) in &self.extra {
                    let shadowed = match key.as_str() {
                        $( $key => $crate::wire::Field::is_present(&self.$field), )*
                        _ => false,
                    };
                    if !shadowed {
                        out.serialize_entry(key, value)?;
                    }
                }
                Ok(())
            }
        }

        #[cfg(feature = "arbitrary")]
        impl<'a> arbitrary::Arbitrary<'a> for $name {
            fn arbitrary(u: &mut arbitrary::Unstructured<'a>) -> arbitrary::Result<Self> {
                Ok(Self {
                    $($( $tag_field: u.arbitrary()?, )*)?
                    $( $field: <$type as $crate::wire::Field>::make(u)?, )*
                    extra: $crate::arbitrary_json::extra(u)?,
                })
            }
        }
    )* };
}
pub(crate) use wire_struct;

/// Declares an enum that is one word on the wire: `Variant = "word"`; the first variant is the default.
macro_rules! wire_word {
    (
        $(#[$doc:meta])*
        $name:ident { $( $(#[$variant_doc:meta])* $variant:ident = $word:literal, )* }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub enum $name {
            #[default]
            $( $(#[$variant_doc])* $variant, )*
        }

        impl $name {
            /// Lists every word, in the order of declaration.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )* ];

            /// Gives the word as it is on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }

            /// Finds the variant for a word.
            pub fn parse(word: &str) -> Option<Self> {
                match word { $( $word => Some(Self::$variant), )* _ => None }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
                Self::parse(&word).ok_or_else(|| {
                    serde::de::Error::custom(format_args!(concat!("unknown ", stringify!($name), " `{}`"), word))
                })
            }
        }

        impl $crate::wire::JsonValue for $name {
            fn fits(value: &serde_json::Value) -> bool {
                value.as_str().is_some_and(|word| Self::parse(word).is_some())
            }

            fn from_json(value: serde_json::Value) -> Option<Self> {
                Self::parse(value.as_str()?)
            }

            #[cfg(feature = "arbitrary")]
            fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
                u.arbitrary()
            }
        }
    };
}
pub(crate) use wire_word;

/// Makes a wire struct a JSON value of its own, for use as the type of a field.
macro_rules! wire_value {
    ($($name:ident),*) => { $(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap;
                let mut out = serializer.serialize_map(None)?;
                $crate::wire::WireStruct::write(self, &mut out)?;
                out.end()
            }
        }

        impl $crate::wire::JsonValue for $name {
            fn fits(value: &serde_json::Value) -> bool {
                value.as_object().is_some_and(<Self as $crate::wire::WireStruct>::fits)
            }

            fn from_json(value: serde_json::Value) -> Option<Self> {
                match value {
                    serde_json::Value::Object(object) => $crate::wire::WireStruct::from_object(object).ok(),
                    _ => None,
                }
            }

            #[cfg(feature = "arbitrary")]
            fn make(u: &mut arbitrary::Unstructured<'_>) -> arbitrary::Result<Self> {
                u.arbitrary()
            }
        }
    )* };
}
pub(crate) use wire_value;
