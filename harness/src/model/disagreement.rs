//! What a test reads when the agent and the script disagree: what was asked, what the script holds, how near they came.

use std::fmt::Write as _;

use similar::{ChangeTag, TextDiff};

use super::call::ModelCall;
use super::facts::Facts;
use super::stage::Slot;
use super::when::{Miss, When};

/// How many further steps or calls a text lists.
const MAX_LISTED: usize = 8;

/// How many characters of a text are shown.
const MAX_SHOWN: usize = 200;

/// Says that the script has nothing for a call: the nearest step, and what it misses.
pub(super) fn unexpected(call: &ModelCall, facts: &Facts, slots: &[Slot]) -> String {
    let mut text = format!("the script has no step for {call}");
    let left: Vec<&Slot> = slots.iter().filter(|slot| slot.left != Some(0)).collect();
    if left.is_empty() {
        let n_steps = slots.len();
        let used = match n_steps {
            0 => "it is empty".to_owned(),
            1 => "its one step is used up".to_owned(),
            _ => format!("its {n_steps} steps are used up"),
        };
        let _ = write!(text, "; {used}");
        return text;
    }
    let nearest = left.iter().min_by_key(|slot| distance(&slot.when(), facts)).expect("there is a step left");
    let _ = write!(text, "\n  nearest is step {}, which wants {}", nearest.number, nearest.when());
    for miss in nearest.when().misses(facts) {
        let _ = write!(text, "\n    {}", describe(&miss));
    }
    for slot in left.iter().filter(|slot| slot.number != nearest.number).take(MAX_LISTED) {
        let _ = write!(text, "\n  step {} wants {}", slot.number, slot.when());
    }
    text
}

/// Says that a step is left over: what it wants, and the call that came nearest.
pub(super) fn leftover(slot: &Slot, calls: &[ModelCall], n_steps: usize) -> String {
    let times = match slot.left {
        Some(left) if left > 1 => format!("{left} more calls"),
        _ => "a call".to_owned(),
    };
    let mut text = format!("step {} of {n_steps} still waits for {times}: it wants {}", slot.number, slot.when());
    let holds = serde_json::to_string(&slot.step.parts).expect("a script always serialises");
    let plays = if slot.respond.is_some() { "what a function says".to_owned() } else { cut(&holds) };
    let _ = write!(text, " and plays {plays}");
    let facts = |call: &ModelCall| Facts::of(&call.prompt, call.run);
    let nearest = calls.iter().min_by_key(|call| distance(&slot.when(), &facts(call)));
    match nearest {
        None => text.push_str("\n  the model was never called"),
        Some(call) => {
            let misses = slot.when().misses(&facts(call));
            if misses.is_empty() {
                let _ = write!(text, "\n  the model had {}", count(calls.len(), "call"));
            } else {
                let _ = write!(text, "\n  nearest came {call}");
            }
            for miss in misses {
                let _ = write!(text, "\n    {}", describe(&miss));
            }
        }
    }
    text
}

/// Rates how far a call is from what a step wants: by the number of misses, then by how unlike the texts are.
fn distance(when: &When, facts: &Facts) -> (usize, usize) {
    let misses = when.misses(facts);
    let unlike = misses.iter().map(|miss| strsim::levenshtein(&cut(&miss.wanted), &cut(&miss.found))).sum();
    (misses.len(), unlike)
}

fn describe(miss: &Miss) -> String {
    if miss.found.is_empty() {
        return format!("{}: wanted {:?}, there is none", miss.what, cut(&miss.wanted));
    }
    format!("{}: {}", miss.what, word_diff(&miss.wanted, &miss.found))
}

/// Shows what was wanted and what was found as one text: `[-wanted-]{+found+}`, equal words as they are.
pub(crate) fn word_diff(wanted: &str, found: &str) -> String {
    let (wanted, found) = (cut(wanted), cut(found));
    let diff = TextDiff::from_words(wanted.as_str(), found.as_str());
    let mut text = String::new();
    let mut runs: Vec<(ChangeTag, String)> = Vec::new();
    for change in diff.iter_all_changes() {
        match runs.last_mut().filter(|(tag, _)| *tag == change.tag()) {
            Some((_, run)) => run.push_str(change.value()),
            None => runs.push((change.tag(), change.value().to_owned())),
        }
    }
    for (tag, run) in runs {
        let _ = match tag {
            ChangeTag::Equal => write!(text, "{run}"),
            ChangeTag::Delete => write!(text, "[-{run}-]"),
            ChangeTag::Insert => write!(text, "{{+{run}+}}"),
        };
    }
    // One difference is one line.
    text.replace('\n', "\\n")
}

/// Counts things in words: `1 call`, `2 calls`.
pub(crate) fn count(n: usize, thing: &str) -> String {
    format!("{n} {thing}{}", if n == 1 { "" } else { "s" })
}

fn cut(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_owned();
    }
    text.chars().take(MAX_SHOWN).chain(['…']).collect()
}
