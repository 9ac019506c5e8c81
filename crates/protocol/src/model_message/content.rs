//! [`Content`]: the parts of a model message, shared by every list that the message stands in.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::ContentPart;

/// The parts of a message, in order; used like the list that it is.
///
/// A clone shares the parts until one of the two is changed: a history is handed from hook to hook and from step to step, and what was
/// said long ago is copied for none of them.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Content(Arc<Vec<ContentPart>>);

impl Content {
    /// Tells whether two messages share their parts.
    pub fn is_shared_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Deref for Content {
    type Target = Vec<ContentPart>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Content {
    /// Gives the parts to change; they are copied first when others see them.
    fn deref_mut(&mut self) -> &mut Self::Target {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Vec<ContentPart>> for Content {
    fn from(parts: Vec<ContentPart>) -> Self {
        Self(Arc::new(parts))
    }
}

impl FromIterator<ContentPart> for Content {
    fn from_iter<I: IntoIterator<Item = ContentPart>>(parts: I) -> Self {
        Self(Arc::new(parts.into_iter().collect()))
    }
}

impl<'a> IntoIterator for &'a Content {
    type Item = &'a ContentPart;
    type IntoIter = slice::Iter<'a, ContentPart>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl IntoIterator for Content {
    type Item = ContentPart;
    type IntoIter = std::vec::IntoIter<ContentPart>;

    fn into_iter(self) -> Self::IntoIter {
        Arc::unwrap_or_clone(self.0).into_iter()
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_shares_its_parts_until_one_of_the_two_changes() {
        let before: Content = vec![ContentPart::text("a")].into();
        let mut after = before.clone();
        assert!(after.is_shared_with(&before));

        after.push(ContentPart::text("b"));

        assert_eq!((before.len(), after.len(), after.is_shared_with(&before)), (1, 2, false));
    }
}
