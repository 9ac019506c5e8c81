//! Randomness by name: one stream per purpose, derived from its parent's key and a label.
//!
//! A draw in one stream never moves another, so removing one source of draws leaves every other as it was.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng as _};
use sha2::{Digest, Sha256};

/// A named place in the tree of random streams.
#[derive(Clone, PartialEq, Eq)]
pub struct Entropy {
    key: [u8; 32],
}

impl Entropy {
    /// Starts the tree from a scenario's seed.
    pub fn from_seed(seed: u64) -> Self {
        Self::from_key(Sha256::digest(seed.to_be_bytes()).into())
    }

    /// Starts the tree from 32 bytes, for example from the operating system.
    pub fn from_key(key: [u8; 32]) -> Self {
        Self { key }
    }

    /// Gives the stream called `label` below this one; equal labels give equal streams.
    #[must_use]
    pub fn child(&self, label: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(label.as_bytes());
        Self::from_key(hash.finalize().into())
    }

    /// Opens the stream at its start. Open it once and keep it: two `draws()` of one place repeat each other.
    pub fn draws(&self) -> Draws {
        Draws(Mutex::new(ChaCha8Rng::from_seed(self.key)))
    }
}

impl fmt::Debug for Entropy {
    /// Leaves the key out, since tokens and ids are drawn from it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entropy")
    }
}

/// An open random stream (ChaCha8), shared by reference.
pub struct Draws(Mutex<ChaCha8Rng>);

const ALPHANUMERIC: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

impl Draws {
    /// Draws 64 random bits.
    pub fn next_u64(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// Draws a number in `[0, 1)`.
    pub fn unit(&self) -> f64 {
        // The 53 high bits fill a double's mantissa exactly.
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws a whole number in `[0, bound)`; 0 when `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("a product of two 64-bit numbers has 64 high bits")
    }

    /// Draws a text of `len` ASCII letters and digits.
    pub fn alphanumeric(&self, len: usize) -> String {
        (0..len)
            .map(|_| {
                let at = usize::try_from(self.below(62)).expect("a number below 62 fits");
                char::from(ALPHANUMERIC[at])
            })
            .collect()
    }
}

impl fmt::Debug for Draws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Draws")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draw_in_one_stream_never_moves_another() {
        let root = Entropy::from_seed(1);
        let quiet = root.child("a").draws();
        let first = quiet.next_u64();

        let noisy = root.child("b").draws();
        noisy.alphanumeric(100);

        assert_eq!(root.child("a").draws().next_u64(), first);
    }

    #[test]
    fn labels_and_seeds_tell_streams_apart() {
        let draws = |seed, label: &str| Entropy::from_seed(seed).child(label).draws().next_u64();

        assert_ne!(draws(1, "a"), draws(1, "b"));
        assert_ne!(draws(1, "a"), draws(2, "a"));
    }

    #[test]
    fn streams_are_written_down_for_ever() {
        // A change of generator would change every trace; this number says so first.
        let draws = Entropy::from_seed(42).child("worker-1").child("backoff").draws();

        assert_eq!(draws.alphanumeric(12), "5ACYEcOVrWar");
    }

    #[test]
    fn bounded_draws_stay_in_bounds() {
        let draws = Entropy::from_seed(3).draws();

        for _ in 0..1000 {
            assert!(draws.below(7) < 7);
            assert!((0.0..1.0).contains(&draws.unit()));
        }
        assert_eq!(draws.below(0), 0);
    }
}
