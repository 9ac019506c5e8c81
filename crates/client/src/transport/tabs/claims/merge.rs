//! One list out of those of two tabs that sent at once, so that neither's message is lost (C-133).

use turnkeep_protocol::{SeqNum, UiMessage};

/// Whose message the server has had first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    OursFirst,
    TheirsFirst,
}

impl Order {
    /// Judges by the places on `in` of what two tabs sent; where there is none the send is not accepted yet, and where both are
    /// missing the tabs' ids decide.
    pub(super) fn of(ours: (Option<SeqNum>, &str), theirs: (Option<SeqNum>, &str)) -> Self {
        let is_ours = match (ours.0, theirs.0) {
            (Some(ours), Some(theirs)) => ours < theirs,
            (None, None) => ours.1 < theirs.1,
            (ours, _) => ours.is_some(),
        };
        if is_ours { Self::OursFirst } else { Self::TheirsFirst }
    }
}

/// Tells whether a list lacks a message of another one.
pub(super) fn lacks_any(list: &[UiMessage], other: &[UiMessage]) -> bool {
    other.iter().any(|message| find(list, message).is_none())
}

/// Puts two lists together: the first tab's whole, then what only the other has.
pub(super) fn merge(ours: &[UiMessage], theirs: &[UiMessage], order: Order) -> Vec<UiMessage> {
    let (first, second) = match order {
        Order::OursFirst => (ours, theirs),
        Order::TheirsFirst => (theirs, ours),
    };
    let both = first.iter().map(|message| match find(second, message) {
        // A tab that came later to an answer has less of it.
        Some(other) if told(other) > told(message) => other,
        _ => message,
    });
    let rest = second.iter().filter(|message| find(first, message).is_none());
    both.chain(rest).cloned().collect()
}

fn find<'m>(list: &'m [UiMessage], message: &UiMessage) -> Option<&'m UiMessage> {
    list.iter().find(|other| other.id == message.id)
}

/// Measures how much of a message there is.
fn told(message: &UiMessage) -> (usize, usize) {
    (message.parts.len(), message.text().len())
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::Role;

    use super::*;

    fn list(messages: &[(&str, &str)]) -> Vec<UiMessage> {
        let message = |(id, text): &(&str, &str)| {
            let role = if id.starts_with('a') { Role::Assistant } else { Role::User };
            UiMessage { role, ..UiMessage::user(*id, *text) }
        };
        messages.iter().map(message).collect()
    }

    const EARLIER: [(&str, &str); 3] = [("u0", "Hi"), ("u1", "One"), ("a1", "First.")];
    const LATER: [(&str, &str); 4] = [("u0", "Hi"), ("u2", "Two"), ("a1", "First."), ("a2", "Second.")];

    fn ids(messages: Vec<UiMessage>) -> Vec<String> {
        messages.into_iter().map(|message| message.id).collect()
    }

    #[test]
    fn each_question_stands_before_its_own_answer_in_both_tabs_c133() {
        let (earlier, later) = (list(&EARLIER), list(&LATER));

        for merged in [merge(&earlier, &later, Order::OursFirst), merge(&later, &earlier, Order::TheirsFirst)] {
            assert_eq!(ids(merged), ["u0", "u1", "a1", "u2", "a2"]);
        }
    }

    #[test]
    fn a_list_lacks_what_only_the_other_has_c128() {
        let (part, whole) = (list(&EARLIER[..2]), list(&EARLIER));

        assert!(lacks_any(&part, &whole) && lacks_any(&list(&LATER), &whole));
        assert!(!lacks_any(&whole, &part) && !lacks_any(&whole, &[]));
    }

    #[test]
    fn of_an_answer_that_both_have_the_longer_stays_c133() {
        let (short, long) = ([("u1", "One"), ("a1", "Fi")], [("u2", "Two"), ("a1", "First.")]);

        for (ours, theirs) in [(short, long), (long, short)] {
            let merged = merge(&list(&ours), &list(&theirs), Order::OursFirst);
            let answer = merged.iter().find(|message| message.id == "a1").unwrap();
            assert_eq!(answer.text(), "First.");
        }
    }

    #[test]
    fn who_was_accepted_first_is_first_and_who_is_not_accepted_is_last_c133() {
        let place = |at: u64| Some(SeqNum::new(at));

        assert_eq!(Order::of((place(1), "b"), (place(2), "a")), Order::OursFirst);
        assert_eq!(Order::of((place(2), "a"), (place(1), "b")), Order::TheirsFirst);
        assert_eq!(Order::of((place(1), "b"), (None, "a")), Order::OursFirst);
        assert_eq!(Order::of((None, "a"), (place(1), "b")), Order::TheirsFirst);
        assert_eq!(Order::of((None, "a"), (None, "b")), Order::OursFirst);
        assert_eq!(Order::of((None, "b"), (None, "a")), Order::TheirsFirst);
    }
}
