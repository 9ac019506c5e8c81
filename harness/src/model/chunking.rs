//! [`Chunking`] and [`Pace`]: how a text is cut into deltas, and how they are spread in time.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use turnkeep_host::Draws;

/// How a text is cut into deltas; joined they are the text again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Chunking {
    /// One delta.
    Whole,
    /// Word by word, each with the white space behind it.
    #[default]
    Words,
    /// So many characters each, at least 1.
    Chars(usize),
}

impl Chunking {
    /// Cuts a text; an empty one is no delta.
    pub(super) fn cut(self, text: &str) -> Vec<String> {
        let mut deltas: Vec<String> = Vec::new();
        match self {
            Self::Whole => deltas.push(text.to_owned()),
            Self::Words => {
                let mut in_space = false;
                for c in text.chars() {
                    let begins_word = in_space && !c.is_whitespace();
                    in_space = c.is_whitespace();
                    match deltas.last_mut().filter(|_| !begins_word) {
                        Some(delta) => delta.push(c),
                        None => deltas.push(c.to_string()),
                    }
                }
            }
            Self::Chars(size) => {
                let chars: Vec<char> = text.chars().collect();
                deltas.extend(chars.chunks(size.max(1)).map(|delta| delta.iter().collect::<String>()));
            }
        }
        deltas.retain(|delta| !delta.is_empty());
        deltas
    }
}

/// How a model's parts are spread in time, all of it virtual under a paused clock.
///
/// Waited for are text, reasoning and argument deltas and calls; starts, ends and the rest follow at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    first: Duration,
    each: Duration,
    jitter: Duration,
}

impl Pace {
    /// Waits so long before each part.
    pub fn each(each: Duration) -> Self {
        Self { each, ..Self::default() }
    }

    /// Waits so much longer before the first part of a step, as providers do.
    #[must_use]
    pub fn first(mut self, first: Duration) -> Self {
        self.first = first;
        self
    }

    /// Adds up to so much to each wait; how much comes from the model's seed.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// Gives the wait before the `n`-th paced part of a step.
    pub(super) fn before(&self, n: usize, draws: &Draws) -> Duration {
        let first = if n == 0 { self.first } else { Duration::ZERO };
        let jitter = if self.jitter.is_zero() { Duration::ZERO } else { self.jitter.mul_f64(draws.unit()) };
        first + self.each + jitter
    }
}

impl From<Duration> for Pace {
    fn from(each: Duration) -> Self {
        Self::each(each)
    }
}

#[cfg(test)]
mod tests {
    use turnkeep_host::Entropy;

    use super::*;

    #[track_caller]
    fn check(chunking: Chunking, text: &str, want: &[&str]) {
        let deltas = chunking.cut(text);

        assert_eq!(deltas, want);
        assert_eq!(deltas.concat(), text);
    }

    #[test]
    fn texts_are_cut_and_nothing_is_lost() {
        check(Chunking::Words, "Rain,  4 degrees.\n", &["Rain,  ", "4 ", "degrees.\n"]);
        check(Chunking::Words, " a", &[" ", "a"]);
        check(Chunking::Chars(2), "über", &["üb", "er"]);
        check(Chunking::Chars(0), "ab", &["a", "b"]);
        check(Chunking::Whole, "a b", &["a b"]);
        for chunking in [Chunking::Words, Chunking::Whole, Chunking::Chars(3)] {
            check(chunking, "", &[]);
        }
    }

    #[test]
    fn the_first_part_waits_longer_and_jitter_comes_from_the_seed() {
        let pace = Pace::each(Duration::from_millis(10)).first(Duration::from_secs(1));
        let waits = |pace: Pace, seed| {
            let draws = Entropy::from_seed(seed).draws();
            (0..3).map(|n| pace.before(n, &draws)).collect::<Vec<_>>()
        };

        assert_eq!(waits(pace, 1), [1010, 10, 10].map(Duration::from_millis));
        let jittered = pace.jitter(Duration::from_millis(100));
        assert_eq!(waits(jittered, 1), waits(jittered, 1));
        assert_ne!(waits(jittered, 1), waits(jittered, 2));
        assert!(
            waits(jittered, 3)
                .iter()
                .zip(waits(pace, 3))
                .all(|(jittered, plain)| { *jittered >= plain && *jittered <= plain + Duration::from_millis(100) })
        );
    }
}
