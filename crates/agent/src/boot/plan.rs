//! What recovery makes of a replayed history: the default and what a hook may change (A-58…A-71, D-31).

use turnkeep_protocol::{ChatTaskWirePayload, SeqNum, ToolState, UiMessage};

use super::replay::{Owed, Replay};
use crate::boundary::Boundaries;
use crate::event::PendingToolCall;

/// What a recovery hook decides instead of the default.
#[derive(Debug, Default)]
pub(crate) struct Choice {
    pub(crate) chain: Option<Vec<UiMessage>>,
    pub(crate) recovered_turns: Option<Vec<UiMessage>>,
}

/// The boot, decided.
#[derive(Debug, PartialEq)]
pub(crate) struct BootPlan {
    /// The chain that the run starts with.
    pub(crate) chain: Vec<UiMessage>,
    /// What must be written before the first recovered turn or wait.
    pub(crate) closing: Option<Closing>,
    /// The turns to run first, in order.
    pub(crate) recovered: Vec<Owed>,
    /// The records that are finished without a turn; they move the settled cursor.
    pub(crate) finished: Vec<SeqNum>,
    /// Whether the run ends once the recovered turns are through (A-39, D-32).
    pub(crate) ends_after_recovered: bool,
    /// Where `in` is settled.
    pub(crate) cursor: Option<SeqNum>,
    /// Where `out` may be trimmed.
    pub(crate) boundaries: Boundaries,
}

/// The end of a turn that died (D-31): `abort` if its message is open, then a `turn-complete`, then the snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) aborts: bool,
}

/// Decides the boot; `choice` is what a recovery hook returned, if one ran.
pub(crate) fn plan(replay: Replay, payload: &ChatTaskWirePayload, choice: Option<Choice>) -> BootPlan {
    let boundaries = Boundaries::booted(replay.snapshot_boundary, replay.newest_boundary);
    let choice = choice.unwrap_or_default();
    let (default_chain, n_answered, closing) = default(&replay);
    let chain = choice.chain.unwrap_or(default_chain);

    let all = replay.in_flight;
    let (recovered, unserved) = match choice.recovered_turns {
        Some(messages) => chosen(messages, all, payload),
        None => {
            let mut answered = all;
            let rest = answered.split_off(n_answered);
            (rest, answered)
        }
    };
    let mut finished = replay.dropped;
    finished.extend(unserved.iter().filter_map(|owed| owed.seq_num));
    let closes_records = unserved.iter().any(|owed| owed.seq_num.is_some());
    let aborts = replay.open_turn.as_ref().is_some_and(|turn| turn.is_open);
    // A record that will not run is closed in any case, with or without something to abort (D-31).
    let closing = if closes_records { Some(Closing { aborts }) } else { closing };
    let recovered = recovered.into_iter().map(|owed| with_boot_fields(owed, payload)).collect();
    BootPlan {
        chain,
        closing,
        recovered,
        finished,
        ends_after_recovered: replay.closing,
        cursor: replay.cursor,
        boundaries,
    }
}

/// The smart default: what a dead turn had said stays, under the message it answers; the rest runs again.
fn default(replay: &Replay) -> (Vec<UiMessage>, usize, Option<Closing>) {
    let settled = || replay.settled.messages().to_vec();
    let Some(turn) = &replay.open_turn else {
        return (settled(), 0, None);
    };
    let closing = Some(Closing { aborts: turn.is_open });
    if replay.in_flight.is_empty() {
        // A partial alone is dropped, but its segment must not stay open: readers would wait for ever.
        return (settled(), 0, closing);
    }
    if !turn.has_answer() {
        // Nothing was said yet: the turn runs again as a whole.
        return (settled(), 0, None);
    }
    let mut chain = turn.base.clone();
    for message in &turn.ended {
        chain.commit(message.clone());
    }
    if let Some(partial) = &turn.partial {
        chain.commit(partial.cleaned.clone());
    }
    (chain.messages().to_vec(), 1, closing)
}

/// Sorts the in-flight records by a hook's list of messages: those it names run, in its order; regenerates and actions run after
/// them; the other messages do not run.
fn chosen(messages: Vec<UiMessage>, in_flight: Vec<Owed>, boot: &ChatTaskWirePayload) -> (Vec<Owed>, Vec<Owed>) {
    let mut left = in_flight;
    let mut recovered = Vec::new();
    for message in messages {
        let known =
            left.iter().position(|owed| owed.payload.message.as_ref().is_some_and(|known| known.id == message.id));
        recovered.push(match known {
            Some(at) => {
                let owed = left.remove(at);
                Owed { payload: ChatTaskWirePayload { message: Some(message), ..owed.payload }, ..owed }
            }
            None => {
                let metadata = boot.metadata.clone();
                let payload =
                    ChatTaskWirePayload { metadata, ..ChatTaskWirePayload::submit(boot.chat_id.clone(), message) };
                Owed { seq_num: None, payload }
            }
        });
    }
    let (others, unserved): (Vec<_>, Vec<_>) = left.into_iter().partition(|owed| owed.payload.message.is_none());
    recovered.extend(others);
    (recovered, unserved)
}

/// Gives a recovered turn what its record could not know.
fn with_boot_fields(owed: Owed, boot: &ChatTaskWirePayload) -> Owed {
    let message_id = owed.payload.message.as_ref().map(|message| message.id.clone());
    let payload = ChatTaskWirePayload {
        message_id: message_id.or(owed.payload.message_id),
        continuation: boot.continuation,
        previous_run_id: boot.previous_run_id.clone(),
        session_id: boot.session_id.clone(),
        ..owed.payload
    };
    Owed { payload, ..owed }
}

/// Lists the calls that nobody has answered, as the raw partial has them (A-62, AF-15).
pub(crate) fn pending_tool_calls(raw: &UiMessage) -> Vec<PendingToolCall> {
    let calls = raw.parts.iter().enumerate().filter_map(|(part_index, part)| Some((part_index, part.as_tool()?)));
    calls
        .filter(|(_, part)| part.state == ToolState::InputAvailable)
        .map(|(part_index, part)| PendingToolCall {
            tool_call_id: part.tool_call_id.clone(),
            tool_name: part.tool_name.clone(),
            input: part.input.clone().unwrap_or_default(),
            part_index,
        })
        .collect()
}
