//! `nothing-after-boundary`: what belongs to a turn is stored before the turn's `turn-complete`.
//!
//! Exactly: after a `turn-complete`, until the next `start`, no chunk of a message is stored on `out`. Allowed are `trim`,
//! `session-closed` and `upgrade-required`, stream-only `data-*` parts (A-189, D-59), the `error` of a turn that fails before it
//! streams (RC-11, D-34), and further `turn-complete` records, each of which ends a turn that streamed nothing.

use std::collections::BTreeMap;

use turnkeep_protocol::{ChannelName, UiMessageChunk};

use super::story::{Content, Story, broken_at, since};
use crate::outcome::Violation;
use crate::trace::Entry;

pub(super) const NAME: &str = "nothing-after-boundary";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut closed: BTreeMap<&str, Option<(u64, &Entry)>> = BTreeMap::new();
    let mut violations = Vec::new();
    for stored in story.records().filter(|stored| stored.channel == ChannelName::Out) {
        let boundary = closed.entry(stored.session).or_default();
        if let Content::Boundary(_) = stored.content {
            *boundary = Some((stored.seq(), stored.entry));
        }
        match (stored.chunk(), *boundary) {
            (Some(UiMessageChunk::Start(_)), _) => *boundary = None,
            (None | Some(UiMessageChunk::Data(_) | UiMessageChunk::Error(_)), _) | (_, None) => {}
            (Some(chunk), Some((end, ended))) => {
                let (seq, kind) = (stored.seq(), chunk.kind());
                let what = format!("`{kind}` was stored at seq_num {seq}, after the turn had ended at seq_num {end}");
                violations.push(since(broken_at(NAME, stored.session, stored.entry, seq, what), ended));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_protocol::control;

    use super::*;
    use crate::checks::tale::{Tale, judge};

    fn ended() -> Tale {
        Tale::new().ask("alice-1", "Hi").say("a1", &["Hello"]).boundary(0)
    }

    #[test]
    fn what_is_not_of_a_turn_may_follow_its_end_d59() {
        let tale = ended()
            .trim(0)
            .control(control::UPGRADE_REQUIRED)
            .control(control::SESSION_CLOSED)
            .chunk(UiMessageChunk::data("status", None, json!(1)))
            .chunk(UiMessageChunk::error("rejected"))
            .boundary(0)
            .say("a2", &["More"])
            .boundary(1);

        assert_eq!(judge(check, &tale), [""; 0]);
    }

    #[test]
    fn every_kind_of_chunk_of_a_message_is_seen_after_the_end() {
        for chunk in [
            UiMessageChunk::text_delta("t", "late"),
            UiMessageChunk::reasoning_end("r"),
            UiMessageChunk::tool_output_available("call", json!(1)),
            UiMessageChunk::finish_step(),
            UiMessageChunk::finish("stop"),
            UiMessageChunk::abort("stopped"),
        ] {
            let kind = chunk.kind().to_owned();
            let want = format!("`{kind}` was stored at seq_num 8, after the turn had ended at seq_num 7");
            assert_eq!(judge(check, &ended().chunk(chunk)), [want], "{kind}");
        }
    }
}
