//! Ids renumbered as they appear, so that no draw of a seed shows in a golden.

use std::collections::BTreeMap;

use serde_json::Value;

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Message,
    Run,
    Call,
    Part,
    Approval,
    Source,
    Data,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Message => "msg",
            Self::Run => "run",
            Self::Call => "call",
            Self::Part => "part",
            Self::Approval => "approval",
            Self::Source => "source",
            Self::Data => "data",
        }
    }
}

/// The ids seen so far.
#[derive(Default)]
pub(super) struct Labels {
    known: BTreeMap<Kind, Vec<String>>,
}

impl Labels {
    /// Gives the label of an id, a new one when it is new.
    pub(super) fn of(&mut self, kind: Kind, id: &str) -> String {
        let known = self.known.entry(kind).or_default();
        let place = known.iter().position(|other| other == id).unwrap_or_else(|| {
            known.push(id.to_owned());
            known.len() - 1
        });
        format!("{}-{}", kind.prefix(), place + 1)
    }

    /// Replaces, at any depth, ids that are known of messages, runs and calls.
    pub(super) fn replace_known(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let kinds = [Kind::Message, Kind::Run, Kind::Call];
                let found = kinds.into_iter().find_map(|kind| {
                    let place = self.known.get(&kind)?.iter().position(|id| id == text)?;
                    Some(format!("{}-{}", kind.prefix(), place + 1))
                });
                if let Some(label) = found {
                    *text = label;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.replace_known(item)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.replace_known(field)),
            _ => {}
        }
    }
}
