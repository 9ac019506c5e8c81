//! What a run does before its first turn, as one pure function of what was found (A §3).
//!
//! [`segments`] cuts the drained `out` into turns and messages, [`replay`] folds them with `in` and the snapshot into a history, and
//! [`plan`] decides what is closed, what runs again and from where `in` is read. [`hydrated`] is all there is to it when the author
//! keeps the history.

pub(crate) mod hydrated;
pub(crate) mod plan;
pub(crate) mod replay;
pub(crate) mod segments;

#[cfg(test)]
mod tests;
