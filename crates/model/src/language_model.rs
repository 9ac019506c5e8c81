//! [`LanguageModel`]: the seam between an agent and whatever answers its prompts.

use futures::future::BoxFuture;
use futures::stream::BoxStream;

use crate::error::ModelError;
use crate::part::StreamPart;
use crate::prompt::Prompt;

/// Holds what a model yields during one step, in order; dropping it cancels the call.
pub type StreamParts = BoxStream<'static, StreamPart>;

/// Answers prompts: an author brings one per provider, tests bring a scripted one.
pub trait LanguageModel: Send + Sync {
    /// Names the model, as its provider does.
    fn model_id(&self) -> &str;

    /// Begins one step.
    ///
    /// The call is under way when the future resolves. A failure afterwards comes as [`StreamPart::Error`], and then
    /// the stream ends.
    ///
    /// # Errors
    ///
    /// Resolves to an error when the call could not begin; [`ModelError::is_retryable`] tells whether another try may
    /// help.
    fn stream(&self, prompt: Prompt) -> BoxFuture<'static, Result<StreamParts, ModelError>>;
}
