//! A failure's address, `scenario@seed+virtual_ms` (D-30), taken wherever a scenario's name is.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// A scenario, one run of it, or one moment of that run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) name: String,
    pub(crate) seed: Option<u64>,
    pub(crate) ms: Option<u64>,
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |digits: &str, what: &str| {
            digits
                .parse::<u64>()
                .map_err(|_| format!("`{digits}` is no {what}; an address is NAME, NAME@SEED or NAME@SEED+MS"))
        };
        let Some((name, run)) = text.split_once('@') else {
            return Ok(Self { name: text.to_owned(), seed: None, ms: None });
        };
        let (seed, ms) = match run.split_once('+') {
            Some((seed, ms)) => (seed, Some(number(ms, "number of milliseconds")?)),
            None => (run, None),
        };
        Ok(Self { name: name.to_owned(), seed: Some(number(seed, "seed")?), ms })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.seed.map_or(Ok(()), |seed| write!(f, "@{seed}"))?;
        self.ms.map_or(Ok(()), |ms| write!(f, "+{ms}"))
    }
}

/// Reads `A..B`, the end excluded (D-53).
pub(crate) fn seeds(text: &str) -> Result<Range<u64>, String> {
    let wrong = || format!("`{text}` is no range of seeds; write A..B, for example 1..50 for 1 to 49");
    let (first, end) = text.split_once("..").ok_or_else(wrong)?;
    let (first, end) = (first.parse().map_err(|_| wrong())?, end.parse().map_err(|_| wrong())?);
    if first >= end {
        return Err(format!("`{text}` has no seeds: the end is excluded and must be above the start"));
    }
    Ok(first..end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn reads(text: &str, name: &str, seed: Option<u64>, ms: Option<u64>) {
        let address: Address = text.parse().unwrap();

        assert_eq!(address, Address { name: name.to_owned(), seed, ms });
        assert_eq!(address.to_string(), text);
    }

    #[test]
    fn an_address_is_a_name_a_run_or_a_moment() {
        reads("several-turns", "several-turns", None, None);
        reads("several-turns@7", "several-turns", Some(7), None);
        reads("several-turns@7+1234", "several-turns", Some(7), Some(1234));
    }

    #[test]
    fn a_broken_address_is_refused() {
        for text in ["reload@", "reload@x", "reload@7+", "reload@-1", "reload@7+1s"] {
            assert!(text.parse::<Address>().unwrap_err().contains("an address is NAME"), "{text}");
        }
    }

    #[test]
    fn a_range_of_seeds_excludes_its_end() {
        assert_eq!(seeds("1..50"), Ok(1..50));
        assert_eq!(seeds("0..1"), Ok(0..1));
        for text in ["5..5", "6..5", "5", "1..=5", "a..b", ".."] {
            assert!(seeds(text).is_err(), "{text}");
        }
    }
}
