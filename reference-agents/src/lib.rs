//! Small agents, each written as an author would write it and tested offline as an author would test it.

pub mod asking;
pub mod conformance;
pub mod custom;
pub mod delegating;
pub mod echo;
pub mod forgetful;
pub mod hydrated;
pub mod persisted;
pub mod refunds;
pub mod steered;
pub mod storyteller;
pub mod undoing;
pub mod weather;

#[cfg(test)]
mod testing;
