//! Client data: what a client sends along with each message, as an agent demands it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Agent;
use crate::error::HookError;
use crate::tool::{Schema, parse, schema_of};

/// Checks and shapes what a client sent.
pub(crate) type Parse = Arc<dyn Fn(Value) -> Result<Value, HookError> + Send + Sync>;

/// What errors call client data.
const CLIENT_DATA: &str = "clientData";

/// What an agent demands of client data.
#[derive(Clone)]
pub(crate) struct ClientData {
    pub(crate) parse: Parse,
    /// The JSON schema that is published, if it has one (A-259).
    schema: Option<Value>,
}

impl ClientData {
    pub(super) fn of<T: DeserializeOwned + JsonSchema>() -> Self {
        let published = schema_of::<T>();
        let schema = Schema::compile(&published);
        let parse = move |raw: Value| {
            schema.check(&raw, CLIENT_DATA)?;
            parse::<T>(raw.clone(), CLIENT_DATA)?;
            Ok(raw)
        };
        Self { parse: Arc::new(parse), schema: Some(published) }
    }

    pub(super) fn with(parse: impl Fn(Value) -> Result<Value, HookError> + Send + Sync + 'static) -> Self {
        Self { parse: Arc::new(parse), schema: None }
    }
}

/// Reads client data as the type that the agent demands.
///
/// ```
/// use turnkeep_agent::{Agent, TurnInput, client_data};
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Person {
///     name: String,
/// }
///
/// let agent = Agent::new("greeter", |turn: TurnInput| async move {
///     let person: Person = client_data(&turn.client_data)?;
///     Ok(turn.stream_text().system(format!("Greet {}.", person.name)))
/// })
/// .client_data_as::<Person>();
/// assert_eq!(agent.payload_schema().unwrap()["required"], serde_json::json!(["name"]));
/// ```
///
/// # Errors
///
/// Fails when it is not of that type, and says where.
pub fn client_data<T: DeserializeOwned>(value: &Value) -> Result<T, HookError> {
    Ok(parse(value.clone(), CLIENT_DATA)?)
}

impl Agent {
    /// Demands client data of this type, and publishes its schema (A-8, A-259). Hooks get it as it was sent, unknown keys included
    /// (A-291); [`client_data`](crate::client_data) gives it as a `T`.
    ///
    /// A client that sends none sends null, which an `Option<T>` takes.
    pub fn client_data_as<T: DeserializeOwned + JsonSchema>(mut self) -> Self {
        self.client_data = Some(ClientData::of::<T>());
        self
    }

    /// Checks and shapes client data; null when the client sent none (A-8, A-9).
    pub fn client_data(mut self, parse: impl Fn(Value) -> Result<Value, HookError> + Send + Sync + 'static) -> Self {
        self.client_data = Some(ClientData::with(parse));
        self
    }

    /// Gives the JSON schema of the client data that the agent demands, if it demands any (A-259).
    pub fn payload_schema(&self) -> Option<&Value> {
        self.client_data.as_ref()?.schema.as_ref()
    }
}
