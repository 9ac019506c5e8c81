//! The scripted model as a runtime calls it.

mod choice;
mod endings;
mod improvised;
mod playing;
pub(super) mod prompts;
pub(super) mod support;
