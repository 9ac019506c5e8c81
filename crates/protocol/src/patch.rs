//! [`Patch`]: changes to the one JSON value that a chat's agent and clients share (A-186, C-176…C-178).
//!
//! RFC 6902 with three things on top: keys that scripting clients must never assign reject the whole patch, numbers are compared by
//! value, and a value has bounds that no chain of copies gets past.

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::MAX_CHUNK_BYTES;

/// The largest value of a store, in bytes of JSON: a record that holds it must fit (A-17).
pub const MAX_STORE_BYTES: usize = MAX_CHUNK_BYTES - 1024;

/// How deep a store's value may be nested; JSON readers stop at 128, and the value lies inside a record or a snapshot.
pub const MAX_STORE_DEPTH: usize = 100;

/// How many operations one patch may have.
pub const MAX_PATCH_OPERATIONS: usize = 10_000;

/// Keys through which a value would reach into a scripting client's own objects (AF-12).
const FORBIDDEN: [&str; 3] = ["__proto__", "constructor", "prototype"];

/// A list of operations, applied in order and all or none.
///
/// ```
/// use serde_json::json;
/// use turnkeep_protocol::Patch;
///
/// let patch = Patch::new().test("/done", json!(0)).add("/items/-", json!("milk"));
/// assert_eq!(patch.apply(&json!({ "done": 0, "items": [] })), Ok(json!({ "done": 0, "items": ["milk"] })));
/// assert!(patch.apply(&json!({ "done": 1, "items": [] })).is_err());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Patch(Vec<PatchOperation>);

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub enum PatchOperation {
    /// Puts a value under a new or known key, or into an array; `-` is behind its last item.
    Add {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Takes away what is there.
    Remove {
        /// Where.
        path: String,
    },
    /// Puts a value in the place of the one that is there.
    Replace {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Takes a value away and adds it elsewhere.
    Move {
        /// From where.
        from: String,
        /// Where to.
        path: String,
    },
    /// Adds a value that is there elsewhere too.
    Copy {
        /// From where.
        from: String,
        /// Where to.
        path: String,
    },
    /// Demands that a value is there, whatever the order of its keys.
    Test {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
}

/// Says why a patch, or a value, is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatchError {
    /// This is no list of operations.
    #[error("not a JSON patch: {0}")]
    Malformed(String),
    /// A pointer has a segment that no store may have as a key.
    #[error("operation {operation}: the segment `{segment}` is forbidden")]
    Forbidden {
        /// The operation, from 0.
        operation: usize,
        /// The segment.
        segment: String,
    },
    /// A pointer is neither empty nor begins with `/`, or escapes what it must not.
    #[error("operation {operation}: `{pointer}` is no JSON pointer")]
    BadPointer {
        /// The operation, from 0.
        operation: usize,
        /// The pointer.
        pointer: String,
    },
    /// An operation does not fit the value.
    #[error("operation {operation} at `{path}`: {reason}")]
    Failed {
        /// The operation, from 0.
        operation: usize,
        /// Where it should have happened.
        path: String,
        /// Why it cannot.
        reason: String,
    },
    /// There are more operations than one patch may have.
    #[error("{n_operations} operations, {MAX_PATCH_OPERATIONS} at most")]
    TooManyOperations {
        /// How many.
        n_operations: usize,
    },
    /// The value would be larger than a store may be.
    #[error("the store would have more than {MAX_STORE_BYTES} bytes")]
    TooLarge,
    /// The value would be nested deeper than a store may be.
    #[error("the store would be nested deeper than {MAX_STORE_DEPTH}")]
    TooDeep,
}

impl Patch {
    /// Makes a patch that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a patch from its JSON list.
    ///
    /// # Errors
    ///
    /// Fails for what is no list of operations, and for pointers with a forbidden segment (AF-12).
    pub fn parse(operations: Value) -> Result<Self, PatchError> {
        let operations: Vec<PatchOperation> =
            serde_json::from_value(operations).map_err(|error| PatchError::Malformed(error.to_string()))?;
        for (index, operation) in operations.iter().enumerate() {
            operation.check(index)?;
        }
        Ok(Self(operations))
    }

    /// Lists the operations.
    pub fn operations(&self) -> &[PatchOperation] {
        &self.0
    }

    /// Tells whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn with(mut self, operation: PatchOperation) -> Self {
        self.0.push(operation);
        self
    }

    /// Adds a value.
    #[must_use]
    pub fn add(self, path: impl Into<String>, value: Value) -> Self {
        self.with(PatchOperation::Add { path: path.into(), value })
    }

    /// Removes a value.
    #[must_use]
    pub fn remove(self, path: impl Into<String>) -> Self {
        self.with(PatchOperation::Remove { path: path.into() })
    }

    /// Replaces a value.
    #[must_use]
    pub fn replace(self, path: impl Into<String>, value: Value) -> Self {
        self.with(PatchOperation::Replace { path: path.into(), value })
    }

    /// Moves a value; named after its operation, `move` being a word of the language.
    #[must_use]
    pub fn move_value(self, from: impl Into<String>, path: impl Into<String>) -> Self {
        self.with(PatchOperation::Move { from: from.into(), path: path.into() })
    }

    /// Copies a value.
    #[must_use]
    pub fn copy(self, from: impl Into<String>, path: impl Into<String>) -> Self {
        self.with(PatchOperation::Copy { from: from.into(), path: path.into() })
    }

    /// Demands a value.
    #[must_use]
    pub fn test(self, path: impl Into<String>, value: Value) -> Self {
        self.with(PatchOperation::Test { path: path.into(), value })
    }

    /// Gives what `value` becomes; `value` itself stays as it is.
    ///
    /// # Errors
    ///
    /// Fails when any operation does, and then none has happened (A-186).
    pub fn apply(&self, value: &Value) -> Result<Value, PatchError> {
        if self.0.len() > MAX_PATCH_OPERATIONS {
            return Err(PatchError::TooManyOperations { n_operations: self.0.len() });
        }
        let mut patched = value.clone();
        // Never less than the true size: measured anew only when it passes the bound.
        let mut at_most = n_bytes(&patched);
        for (index, operation) in self.0.iter().enumerate() {
            // Once more, right before a key is assigned: not every patch went through the parser (AF-12).
            operation.check(index)?;
            at_most += operation.growth(&patched)?;
            operation.apply(&mut patched).map_err(|reason| PatchError::Failed {
                operation: index,
                path: operation.path().to_owned(),
                reason,
            })?;
            if at_most > MAX_STORE_BYTES {
                at_most = n_bytes(&patched);
                if at_most > MAX_STORE_BYTES {
                    return Err(PatchError::TooLarge);
                }
            }
        }
        Ok(patched)
    }
}

/// Checks that a store may have this value.
///
/// # Errors
///
/// Fails for a value that is larger or deeper than a store may be.
pub fn check_store_value(value: &Value) -> Result<(), PatchError> {
    if depth(value, MAX_STORE_DEPTH) > MAX_STORE_DEPTH {
        return Err(PatchError::TooDeep);
    }
    if n_bytes(value) > MAX_STORE_BYTES { Err(PatchError::TooLarge) } else { Ok(()) }
}

impl PatchOperation {
    /// Gives where it happens.
    pub fn path(&self) -> &str {
        match self {
            Self::Add { path, .. }
            | Self::Remove { path }
            | Self::Replace { path, .. }
            | Self::Move { path, .. }
            | Self::Copy { path, .. }
            | Self::Test { path, .. } => path,
        }
    }

    fn from(&self) -> Option<&str> {
        match self {
            Self::Move { from, .. } | Self::Copy { from, .. } => Some(from),
            _ => None,
        }
    }

    /// Checks the pointers, at any depth of them.
    fn check(&self, operation: usize) -> Result<(), PatchError> {
        for pointer in self.from().into_iter().chain([self.path()]) {
            let segments = json_patch::jsonptr::Pointer::parse(pointer)
                .map_err(|_| PatchError::BadPointer { operation, pointer: pointer.to_owned() })?;
            for segment in segments.tokens() {
                let segment = segment.decoded();
                if FORBIDDEN.contains(&segment.as_ref()) {
                    return Err(PatchError::Forbidden { operation, segment: segment.into_owned() });
                }
            }
        }
        Ok(())
    }

    /// Gives how many bytes the value may grow by, unless it would grow too deep.
    fn growth(&self, value: &Value) -> Result<usize, PatchError> {
        let (added, n_bytes) = match self {
            Self::Add { value, .. } | Self::Replace { value, .. } => (Some(value), n_bytes_within_depth(value)?),
            Self::Copy { from, .. } => value.pointer(from).map_or((None, 0), |source| (Some(source), n_bytes(source))),
            Self::Move { from, .. } => (value.pointer(from), 0),
            Self::Remove { .. } | Self::Test { .. } => (None, 0),
        };
        let n_segments = self.path().matches('/').count();
        if added.is_some_and(|added| n_segments + depth(added, MAX_STORE_DEPTH) > MAX_STORE_DEPTH) {
            return Err(PatchError::TooDeep);
        }
        // The key in quotes with a colon and a comma; escapes make six bytes of one at most.
        Ok(n_bytes + 6 * self.path().len() + 4)
    }

    fn apply(&self, value: &mut Value) -> Result<(), String> {
        use json_patch::{AddOperation, CopyOperation, MoveOperation, RemoveOperation, ReplaceOperation};

        let pointer =
            |pointer: &str| json_patch::jsonptr::PointerBuf::parse(pointer).map_err(|error| error.to_string());
        let path = pointer(self.path())?;
        let operation = match self {
            Self::Test { path, value: wanted } => {
                let found = value.pointer(path).ok_or("there is no value")?;
                return if is_same(found, wanted) { Ok(()) } else { Err("the value is another".to_owned()) };
            }
            Self::Add { value, .. } => json_patch::PatchOperation::Add(AddOperation { path, value: value.clone() }),
            Self::Remove { .. } => json_patch::PatchOperation::Remove(RemoveOperation { path }),
            Self::Replace { value, .. } => {
                json_patch::PatchOperation::Replace(ReplaceOperation { path, value: value.clone() })
            }
            Self::Move { from, .. } => json_patch::PatchOperation::Move(MoveOperation { from: pointer(from)?, path }),
            Self::Copy { from, .. } => json_patch::PatchOperation::Copy(CopyOperation { from: pointer(from)?, path }),
        };
        json_patch::patch_unsafe(value, std::slice::from_ref(&operation)).map_err(|error| error.kind.to_string())
    }
}

/// Compares two values as JSON does: keys in any order, and 1 is 1.0.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || ((one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64())
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| is_same(value, other)))
        }
        _ => one == other,
    }
}

/// Counts the levels of a value, a plain one being 0; stops behind `at_most`.
fn depth(value: &Value, at_most: usize) -> usize {
    let Some(left) = at_most.checked_sub(1) else {
        return usize::from(value.is_array() || value.is_object());
    };
    let inner = |value| depth(value, left);
    match value {
        Value::Array(items) => 1 + items.iter().map(inner).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(inner).max().unwrap_or(0),
        _ => 0,
    }
}

fn n_bytes_within_depth(value: &Value) -> Result<usize, PatchError> {
    if depth(value, MAX_STORE_DEPTH) > MAX_STORE_DEPTH { Err(PatchError::TooDeep) } else { Ok(n_bytes(value)) }
}

/// Counts the bytes of a value's JSON.
fn n_bytes(value: &Value) -> usize {
    struct Count(usize);

    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    let mut count = Count(0);
    serde_json::to_writer(&mut count, value).expect("a JSON value is JSON, and counting never fails");
    count.0
}
