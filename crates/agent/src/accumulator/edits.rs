//! [`Edits`]: what the steps of one answer read in place of what they would.

use turnkeep_protocol::ModelMessage;

/// The changes that one answer's steps have made so far; they hold for every later step of it.
///
/// What an answer reads only grows, so places in it are counted from its beginning.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    /// These stand for the first so many messages.
    summary: Option<(usize, Vec<ModelMessage>)>,
    /// These follow the first so many messages, in order.
    inserted: Vec<(usize, Vec<ModelMessage>)>,
}

impl Edits {
    /// Adds messages behind what an answer reads now.
    pub(super) fn insert(&mut self, behind: usize, messages: Vec<ModelMessage>) {
        self.inserted.push((behind, messages));
    }

    /// Puts messages in place of what an answer reads now, insertions included.
    pub(super) fn sum_up(&mut self, until: usize, summary: Vec<ModelMessage>) {
        self.inserted.clear();
        self.summary = Some((until, summary));
    }

    pub(super) fn has_summary(&self) -> bool {
        self.summary.is_some()
    }

    /// Tells whether nothing is changed.
    pub(super) fn is_empty(&self) -> bool {
        self.summary.is_none() && self.inserted.is_empty()
    }

    /// Gives what a step reads in place of `messages`.
    pub(super) fn apply(&self, messages: &[ModelMessage]) -> Vec<ModelMessage> {
        let (mut from, mut read) = self.summary.clone().unwrap_or_default();
        from = from.min(messages.len());
        for (behind, inserted) in &self.inserted {
            let until = (*behind).clamp(from, messages.len());
            read.extend_from_slice(&messages[from..until]);
            read.extend(inserted.iter().cloned());
            from = until;
        }
        read.extend_from_slice(&messages[from..]);
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(texts: &str) -> Vec<ModelMessage> {
        texts.split_whitespace().map(ModelMessage::user).collect()
    }

    #[track_caller]
    fn check(edits: &Edits, texts: &str, want: &str) {
        let read: Vec<_> = edits.apply(&messages(texts)).iter().map(ModelMessage::text).collect();

        assert_eq!(read.join(" "), want);
    }

    #[test]
    fn what_joined_keeps_its_place_in_every_later_step_a164() {
        let mut edits = Edits::default();
        check(&edits, "a b", "a b");
        assert!(edits.is_empty());

        edits.insert(2, messages("x y"));
        check(&edits, "a b", "a b x y");
        check(&edits, "a b c", "a b x y c");
        edits.insert(2, messages("y2"));
        edits.insert(3, messages("z"));

        check(&edits, "a b c d", "a b x y y2 c z d");
    }

    #[test]
    fn a_summary_stands_for_all_before_it_and_what_comes_after_follows_a170() {
        let mut edits = Edits::default();
        edits.insert(1, messages("x"));
        edits.sum_up(2, messages("sum"));
        assert!(edits.has_summary());

        check(&edits, "a b", "sum");
        check(&edits, "a b c", "sum c");
        edits.insert(2, messages("y"));
        edits.insert(3, messages("z"));

        check(&edits, "a b c", "sum y c z");
    }

    #[test]
    fn places_beyond_what_is_read_are_its_end() {
        let mut edits = Edits::default();
        edits.sum_up(5, messages("sum"));
        edits.insert(9, messages("x"));

        check(&edits, "a b", "sum x");
        check(&edits, "", "sum x");
    }
}
