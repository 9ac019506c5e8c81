//! [`Api`] and [`Reader`]: what one provider's API is, apart from moving bytes.

use http::HeaderName;
use serde_json::Value;

use crate::error::ModelError;
use crate::part::StreamPart;
use crate::prompt::Prompt;

/// Says how a provider is spoken to.
pub(crate) trait Api: Send + Sync {
    /// Names the provider, as it is named in provider options and metadata.
    fn name(&self) -> &'static str;

    /// Gives the path of the call below the base URL.
    fn path(&self) -> &'static str;

    /// Gives the headers that every call carries; an empty key is no key.
    fn headers(&self, api_key: &str) -> Vec<(HeaderName, String)>;

    /// Puts a prompt as the provider wants it.
    ///
    /// # Errors
    ///
    /// [`ModelError::Refused`] when the prompt holds what this API has no way to say.
    fn body(&self, model_id: &str, prompt: &Prompt) -> Result<Value, ModelError>;

    /// Makes the reader of one answer.
    fn reader(&self) -> Box<dyn Reader>;
}

/// Turns the events of one answer into stream parts.
///
/// The last part is [`StreamPart::Finish`], pushed when the provider has said all; an error ends the answer too.
pub(crate) trait Reader: Send {
    /// Takes the data of the next event.
    ///
    /// # Errors
    ///
    /// Fails when the provider reports a failure, or says what cannot be understood.
    fn read(&mut self, data: &str, parts: &mut Vec<StreamPart>) -> Result<(), ModelError>;

    /// Takes the clean end of the body.
    ///
    /// # Errors
    ///
    /// Fails when the provider had not said all.
    fn end(&mut self, parts: &mut Vec<StreamPart>) -> Result<(), ModelError>;
}

/// Says that an answer ended before its time.
pub(crate) fn broke_off(why: &str) -> ModelError {
    ModelError::unavailable(format!("the provider's answer broke off: {why}"))
}
