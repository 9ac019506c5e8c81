//! The turn by rule.
