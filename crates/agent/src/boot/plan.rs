//! What recovery makes of a replayed history: the default and what a hook may change (A-58…A-71, D-31).

use turnkeep_protocol::{ChatTaskWirePayload, Messages, SeqNum, ToolState, UiMessage};

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
    pub(crate) chain: Messages,
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
    /// The dead turn's message is open on `out`.
    pub(crate) aborts: bool,
    /// A record was owed that nobody can use, and nothing else tells its sender.
    pub(crate) tells: bool,
    /// Whether a boundary is due. One that covers no record would end the wait of every sender: the turn that runs next
    /// writes its own.
    pub(crate) ends: bool,
}

/// Decides the boot; `choice` is what a recovery hook returned, if one ran.
pub(crate) fn plan(mut replay: Replay, payload: &ChatTaskWirePayload, choice: Option<Choice>) -> BootPlan {
    let boundaries = Boundaries::booted(replay.snapshot_boundary, replay.newest_boundary);
    let choice = choice.unwrap_or_default();
    let cut = replay.open_turns_record().and_then(|owed| owed.seq_num);
    let (default_chain, answered) = default(&replay);
    let settled_chain = replay.settled.messages().clone();

    let all = std::mem::take(&mut replay.in_flight);
    let (recovered, unserved) = match choice.recovered_turns {
        Some(messages) => chosen(messages, all, payload),
        None => all.into_iter().partition(|owed| !owed.seq_num.is_some_and(|seq_num| answered.contains(&seq_num))),
    };
    // A record that runs again must not find its own cut answer in the history: it would count as answered.
    let runs_again = cut.is_some() && recovered.iter().any(|owed| owed.seq_num == cut);
    let chain = choice.chain.map(Messages::from).unwrap_or(if runs_again { settled_chain } else { default_chain });

    let unserved: Vec<_> =
        unserved.iter().filter_map(|owed| owed.seq_num).chain(replay.unusable.iter().copied()).collect();
    let closing = closing(&replay, &recovered, &unserved, !answered.is_empty());
    let mut finished = replay.dropped;
    finished.extend(unserved);
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

/// The smart default: what a dead turn had said stays, under the messages it answers; the rest runs again. Gives the chain and
/// the places of the in-flight records that are answered: the turn's own, and what had joined it.
fn default(replay: &Replay) -> (Messages, Vec<SeqNum>) {
    let settled = || (replay.settled.messages().clone(), Vec::new());
    let Some(turn) = &replay.open_turn else {
        return settled();
    };
    // A partial alone is dropped; and when nothing was said yet, the turn runs again as a whole.
    let Some(first) = replay.open_turns_record().and_then(|first| first.seq_num).filter(|_| turn.has_answer()) else {
        return settled();
    };
    let mut chain = turn.base.clone();
    for message in &turn.ended {
        chain.commit(message.clone());
    }
    if let Some(partial) = &turn.partial {
        chain.commit(partial.cleaned.clone());
    }
    (chain.messages().clone(), [first].into_iter().chain(turn.joined.iter().copied()).collect())
}

/// Decides what must be written for the dead turn and the records that will not run (D-31, D-33, A-20).
fn closing(replay: &Replay, recovered: &[Owed], unserved: &[SeqNum], is_answered: bool) -> Option<Closing> {
    let first_run = recovered.iter().filter_map(|owed| owed.seq_num).min();
    let covers = unserved.iter().any(|seq_num| first_run.is_none_or(|first| *seq_num < first));
    let turn = replay.open_turn.as_ref();
    // The next turn goes on where this one had not begun.
    let runs_whole =
        !is_answered && !recovered.is_empty() && turn.is_some_and(|turn| !turn.has_answer() && turn.partial.is_none());
    if !covers && (turn.is_none() || runs_whole) {
        return None;
    }
    let aborts = turn.is_some_and(|turn| turn.is_open);
    Some(Closing { aborts, tells: covers && turn.is_none(), ends: covers || recovered.is_empty() })
}

/// Sorts the in-flight records by a hook's list of messages: those it names run; regenerates, actions and human answers run in any
/// case, since the hook never saw them; the other messages do not run.
///
/// Records run in channel order, so that an open turn always serves the lowest one; what the hook invented runs last.
fn chosen(messages: Vec<UiMessage>, in_flight: Vec<Owed>, boot: &ChatTaskWirePayload) -> (Vec<Owed>, Vec<Owed>) {
    let mut left = in_flight;
    let (mut recovered, mut invented) = (Vec::new(), Vec::new());
    for message in messages {
        let known =
            left.iter().position(|owed| owed.payload.message.as_ref().is_some_and(|known| known.id == message.id));
        match known {
            Some(at) => {
                let owed = left.remove(at);
                let payload = ChatTaskWirePayload { message: Some(message), ..owed.payload };
                recovered.push(Owed { payload, ..owed });
            }
            None => {
                let metadata = boot.metadata.clone();
                let payload =
                    ChatTaskWirePayload { metadata, ..ChatTaskWirePayload::submit(boot.chat_id.clone(), message) };
                invented.push(Owed { seq_num: None, payload });
            }
        }
    }
    let is_users = |owed: &Owed| owed.payload.message.as_ref().is_some_and(UiMessage::is_user);
    let (unserved, others): (Vec<_>, Vec<_>) = left.into_iter().partition(is_users);
    recovered.extend(others);
    recovered.sort_by_key(|owed| owed.seq_num);
    recovered.extend(invented);
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
