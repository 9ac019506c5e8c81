//! [`When`]: which call a step answers.
//!
//! Content decides: what was asked, what a tool gave back, which tools are offered. Turn and step numbers never exclude a call, they
//! only order steps that fit equally well: a conversation that shifts by one turn keeps its answers. `chat`, `run` and `attempt` are
//! no content: they give each run a script of its own.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::facts::Facts;

/// What a step wants of a call; what is not given may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(default)]
pub struct When {
    /// The newest user message contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) user: Option<String>,
    /// The system prompt contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) system: Option<String>,
    /// The newest message brings a result of this tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_result: Option<String>,
    /// A result in the newest message contains this text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) result: Option<String>,
    /// The newest message brings the result of the call with this id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tool_call_id: Option<String>,
    /// This tool is offered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) offers: Option<String>,
    /// The call comes from this chat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) chat: Option<String>,
    /// The call comes from this run of its chat, counted from 0 as the model meets them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<usize>,
    /// The call comes from this attempt of its run, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) attempt: Option<u32>,
    /// Among steps that fit equally well: the conversation holds this many user messages before the newest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turn: Option<usize>,
    /// Among steps that fit equally well: the turn has had this many model calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<usize>,
}

/// Declares the builder's methods.
macro_rules! wants {
    ($( $(#[$doc:meta])* $name:ident($kind:ty); )*) => { $(
        $(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $kind) -> Self {
            self.$name = Some($name.into());
            self
        }
    )* };
}

impl When {
    /// Wants nothing: any call will do.
    pub fn new() -> Self {
        Self::default()
    }

    wants! {
        /// Wants this text in the newest user message.
        user(impl Into<String>);
        /// Wants this text in the system prompt.
        system(impl Into<String>);
        /// Wants a result of this tool in the newest message.
        tool_result(impl Into<String>);
        /// Wants this text in a result in the newest message.
        result(impl Into<String>);
        /// Wants the result of the call with this id in the newest message.
        tool_call_id(impl Into<String>);
        /// Wants this tool to be offered.
        offers(impl Into<String>);
        /// Wants a call from this chat.
        chat(impl Into<String>);
        /// Wants a call from this run of its chat, counted from 0 as the model meets them.
        run(usize);
        /// Wants a call from this attempt of its run, from 1.
        attempt(u32);
        /// Prefers the turn that has so many user messages before it; decides only among steps that fit equally well.
        turn(usize);
        /// Prefers this model call of a turn, from 0; decides only among steps that fit equally well.
        step(usize);
    }

    /// Tells what a call lacks; nothing when it fits.
    pub(super) fn misses(&self, facts: &Facts) -> Vec<Miss> {
        let mut misses = self.foreign(facts);
        let mut holds = |what: &'static str, wanted: &Option<String>, found: &str| {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| !found.contains(*wanted)) {
                misses.push(Miss { what, wanted: wanted.clone(), found: found.to_owned() });
            }
        };
        holds("the newest user message", &self.user, &facts.user);
        holds("the system prompt", &self.system, &facts.system);
        let mut one_is = |what: &'static str, wanted: &Option<String>, found: &[String], is: fn(&str, &str) -> bool| {
            if let Some(wanted) = wanted.as_ref().filter(|wanted| !found.iter().any(|found| is(found, wanted))) {
                misses.push(Miss { what, wanted: wanted.clone(), found: found.join(", ") });
            }
        };
        let is = |found: &str, wanted: &str| found == wanted;
        one_is("the tool whose result is newest", &self.tool_result, &facts.result_tools, is);
        one_is("the newest tool result", &self.result, &facts.results, |found, wanted| found.contains(wanted));
        one_is("the newest result's call id", &self.tool_call_id, &facts.result_ids, is);
        one_is("the tools on offer", &self.offers, &facts.tools, is);
        misses
    }

    /// Tells why a call is none of this step's business.
    pub(super) fn foreign(&self, facts: &Facts) -> Vec<Miss> {
        let mut misses = Vec::new();
        let mut same = |what: &'static str, wanted: Option<String>, found: Option<String>| {
            if let Some(wanted) = wanted.filter(|wanted| found.as_ref() != Some(wanted)) {
                misses.push(Miss { what, wanted, found: found.unwrap_or_default() });
            }
        };
        same("the chat", self.chat.clone(), facts.chat.clone());
        same("the run of the chat", self.run.map(|run| run.to_string()), facts.run.map(|run| run.to_string()));
        let attempt = |attempt: Option<u32>| attempt.map(|attempt| attempt.to_string());
        same("the attempt", attempt(self.attempt), attempt(facts.attempt));
        misses
    }

    /// Counts what is wanted of the content; more of it is a better fit.
    pub(super) fn n_content(&self) -> usize {
        let content =
            [&self.user, &self.system, &self.tool_result, &self.result, &self.tool_call_id, &self.offers, &self.chat];
        let owners = usize::from(self.run.is_some()) + usize::from(self.attempt.is_some());
        content.into_iter().filter(|wanted| wanted.is_some()).count() + owners
    }

    /// Rates the numbers: 2 when they agree, 1 when there are none, 0 when one is off.
    pub(super) fn tie(&self, facts: &Facts) -> u8 {
        let numbers = [(self.turn, facts.turn), (self.step, facts.step)];
        let mut given = numbers.iter().filter_map(|(wanted, found)| wanted.map(|wanted| wanted == *found)).peekable();
        if given.peek().is_none() {
            return 1;
        }
        if given.all(|agrees| agrees) { 2 } else { 0 }
    }
}

/// One thing that a step wants and a call lacks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Miss {
    pub(super) what: &'static str,
    pub(super) wanted: String,
    pub(super) found: String,
}

impl fmt::Display for When {
    /// Lists what is wanted, such as `user "cat", tool_result "forecast"`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_value(self).expect("wants always serialise");
        let fields = json.as_object().into_iter().flatten();
        let wants: Vec<String> = fields.map(|(name, wanted)| format!("{name} {wanted}")).collect();
        f.write_str(if wants.is_empty() { "any call" } else { "" })?;
        f.write_str(&wants.join(", "))
    }
}

impl From<&str> for When {
    fn from(user: &str) -> Self {
        Self::new().user(user)
    }
}

impl From<String> for When {
    fn from(user: String) -> Self {
        Self::new().user(user)
    }
}

/// The object form, as files have it.
#[derive(Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct WhenObject {
    /// The newest user message contains this text.
    user: Option<String>,
    /// The system prompt contains this text.
    system: Option<String>,
    /// The newest message brings a result of this tool.
    tool_result: Option<String>,
    /// A result in the newest message contains this text.
    result: Option<String>,
    /// The newest message brings the result of the call with this id.
    tool_call_id: Option<String>,
    /// This tool is offered.
    offers: Option<String>,
    /// The call comes from this chat.
    chat: Option<String>,
    /// The call comes from this run of its chat, counted from 0 as the model meets them.
    run: Option<usize>,
    /// The call comes from this attempt of its run, from 1.
    attempt: Option<u32>,
    /// Among steps that fit equally well: the conversation holds this many user messages before the newest.
    turn: Option<usize>,
    /// Among steps that fit equally well: the turn has had this many model calls.
    step: Option<usize>,
}

impl From<WhenObject> for When {
    fn from(object: WhenObject) -> Self {
        let WhenObject { user, system, tool_result, result, tool_call_id, offers, chat, run, attempt, turn, step } =
            object;
        Self { user, system, tool_result, result, tool_call_id, offers, chat, run, attempt, turn, step }
    }
}

/// A text stands for `user`.
struct WhenVisitor;

impl<'de> Visitor<'de> for WhenVisitor {
    type Value = When;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text of the newest user message, or an object")
    }

    fn visit_str<E>(self, user: &str) -> Result<When, E> {
        Ok(When::from(user))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<When, A::Error> {
        WhenObject::deserialize(MapAccessDeserializer::new(map)).map(When::from)
    }
}

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WhenVisitor)
    }
}

impl JsonSchema for When {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "When".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let object = WhenObject::json_schema(generator);
        json_schema!({
            "description": "Which call a step answers: a text of the newest user message, or an object.",
            "anyOf": [{ "type": "string" }, object]
        })
    }
}
