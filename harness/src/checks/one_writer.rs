//! `one-writer`: at any moment at most one run of a session is live, and only it writes.
//!
//! Exactly: after every commit at most one run of a session is not terminal (I1); a terminal run never becomes live again; a run's
//! attempt number never falls. What a turn streams is written while a run holds the lease, and a message is written whole by one
//! attempt of one run: after the lease has changed hands, `abort` may close the open message and `start` may open another, and
//! nothing else goes on with it (D-36). The server's own `error` (D-34) and `data-*` chunks are nobody's message.

use std::collections::BTreeMap;

use turnkeep_protocol::{ChannelName, RunId, UiMessageChunk};

use super::story::{Content, Stored, Story, broken, broken_at, since};
use crate::outcome::Violation;
use crate::trace::{Entry, Event};

pub(super) const NAME: &str = "one-writer";

/// One attempt of one run.
type Lease<'t> = (&'t RunId, u32);

#[derive(Default)]
struct Session<'t> {
    runs: BTreeMap<&'t RunId, Run<'t>>,
    /// Who opened the message that is streaming, and where.
    open: Option<(Option<Lease<'t>>, &'t Entry)>,
}

struct Run<'t> {
    entry: &'t Entry,
    attempt: u32,
    leased: bool,
    terminal: bool,
}

impl<'t> Session<'t> {
    fn lease(&self) -> Option<Lease<'t>> {
        self.runs.iter().find(|(_, run)| run.leased).map(|(id, run)| (*id, run.attempt))
    }

    /// Takes a run's new row; gives what is wrong with it.
    fn row(&mut self, entry: &'t Entry) -> Option<Violation> {
        let Event::Run { session, run: id, attempt, status, terminal, .. } = &entry.event else { return None };
        let (leased, terminal, attempt) = (status == "leased", *terminal, *attempt);
        let before = self.runs.insert(id, Run { entry, attempt, leased, terminal })?;
        let what = if before.terminal && !terminal {
            format!("run {id} is {status} after it had ended")
        } else if attempt < before.attempt {
            format!("run {id} went back from attempt {} to {attempt}", before.attempt)
        } else {
            return None;
        };
        Some(since(broken(NAME, session, entry, what), before.entry))
    }

    /// Gives what is wrong when a commit leaves two runs live.
    fn two_live(&self, session: &str, at: &Entry) -> Option<Violation> {
        let mut live: Vec<_> = self.runs.iter().filter(|(_, run)| !run.terminal).collect();
        live.sort_by_key(|(_, run)| run.entry.n);
        let [(first, earlier), (second, _), ..] = live[..] else { return None };
        let what = format!("runs {first} and {second} are live at once");
        Some(since(broken(NAME, session, at, what), earlier.entry))
    }

    /// Takes a record of `out`; gives what is wrong with its writer.
    fn record(&mut self, stored: &Stored<'t>) -> Option<Violation> {
        let Content::Chunk(chunk) = &stored.content else {
            if matches!(stored.content, Content::Boundary(_)) {
                self.open = None;
            }
            return None;
        };
        let chunk = &**chunk;
        if matches!(chunk, UiMessageChunk::Data(_) | UiMessageChunk::Error(_)) {
            return None;
        }
        let (lease, seq, kind) = (self.lease(), stored.seq(), chunk.kind());
        let nobody = lease.is_none() && !self.runs.is_empty();
        let before = match chunk {
            UiMessageChunk::Start(_) => self.open.replace((lease, stored.entry)).filter(|before| before.0 == lease),
            UiMessageChunk::Abort(_) => None,
            _ => self.open.filter(|before| before.0 != lease),
        };
        let violation = |what| broken_at(NAME, stored.session, stored.entry, seq, what);
        if nobody {
            return Some(violation(format!("`{kind}` at seq_num {seq} was stored while no run held the lease")));
        }
        let (opener, opened) = before?;
        let violation = violation(match chunk {
            UiMessageChunk::Start(_) => {
                format!("`start` at seq_num {seq} opens a second message in one turn of {}", name(lease))
            }
            _ => format!("`{kind}` at seq_num {seq} of {} goes on with a message of {}", name(lease), name(opener)),
        });
        Some(since(violation, opened))
    }
}

fn name(lease: Option<Lease<'_>>) -> String {
    lease.map_or_else(|| "no run".to_owned(), |(run, attempt)| format!("run {run}, attempt {attempt}"))
}

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut sessions: BTreeMap<&str, Session<'_>> = BTreeMap::new();
    let mut violations = Vec::new();
    for (index, (entry, stored)) in story.walk().enumerate() {
        if let Event::Run { session, .. } = &entry.event {
            let state = sessions.entry(session).or_default();
            violations.extend(state.row(entry));
        }
        if let Some(stored) = stored.filter(|stored| stored.channel == ChannelName::Out) {
            violations.extend(sessions.entry(stored.session).or_default().record(stored));
        }
        // What one commit changes becomes durable together: only its end counts.
        if durable(&entry.event) && !story.entries.get(index + 1).is_some_and(|next| same_commit(entry, next)) {
            violations.extend(sessions.iter().filter_map(|(session, state)| state.two_live(session, entry)));
        }
    }
    violations
}

fn durable(event: &Event) -> bool {
    matches!(event, Event::Stored { .. } | Event::Run { .. } | Event::Trimmed { .. } | Event::SnapshotStored { .. })
}

/// Tells whether two neighbours in the trace may be of one commit.
fn same_commit(entry: &Entry, next: &Entry) -> bool {
    durable(&next.event) && entry.ms == next.ms && entry.host == next.host
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tale::{Tale, judge};

    fn leased() -> Tale {
        Tale::new().ask("alice-1", "Hi").run("run_1", 1, "queued").run("run_1", 1, "leased")
    }

    #[test]
    fn a_run_a_second_attempt_and_a_continuation_follow_one_another() {
        let tale = leased().begin("a1", &["He"]).run("run_1", 2, "queued").run("run_1", 2, "leased");
        let tale = tale.chunk(UiMessageChunk::abort("interrupted")).boundary(0).run("run_1", 2, "completed");

        assert_eq!(judge(check, &tale.run("run_2", 1, "queued")), [""; 0]);
    }

    #[test]
    fn two_live_runs_are_seen_but_not_within_one_commit_i1() {
        let two = leased().run("run_2", 1, "queued");
        let swapped = leased().run("run_2", 1, "queued").run("run_1", 1, "completed").at_once();

        assert_eq!(judge(check, &two), ["runs run_1 and run_2 are live at once"]);
        assert_eq!(judge(check, &swapped), [""; 0]);
    }

    #[test]
    fn a_run_that_rises_from_the_dead_or_counts_back_is_seen() {
        let risen = leased().run("run_1", 1, "completed").run("run_1", 1, "leased");
        let back = leased().run("run_1", 2, "leased").run("run_1", 1, "leased");

        assert_eq!(judge(check, &risen), ["run run_1 is leased after it had ended"]);
        assert_eq!(judge(check, &back), ["run run_1 went back from attempt 2 to 1"]);
    }

    #[test]
    fn a_write_under_a_lapsed_lease_is_seen_d36() {
        let nobody =
            leased().begin("a1", &["He"]).run("run_1", 2, "queued").chunk(UiMessageChunk::text_delta("t", "llo"));
        let other =
            leased().begin("a1", &["He"]).run("run_1", 2, "leased").chunk(UiMessageChunk::text_delta("t", "llo"));

        assert_eq!(judge(check, &nobody), ["`text-delta` at seq_num 4 was stored while no run held the lease"]);
        let want = "`text-delta` at seq_num 4 of run run_1, attempt 2 goes on with a message of run run_1, attempt 1";
        assert_eq!(judge(check, &other), [want]);
    }

    #[test]
    fn a_second_message_in_one_turn_is_seen_unless_another_attempt_began_it() {
        let same = leased().begin("a1", &[]).chunk(UiMessageChunk::start("a2"));
        let retried = leased().begin("a1", &[]).run("run_1", 2, "leased").say("a2", &["Hello"]).boundary(0);

        let want = "`start` at seq_num 3 opens a second message in one turn of run run_1, attempt 1";
        assert_eq!(judge(check, &same), [want]);
        assert_eq!(judge(check, &retried), [""; 0]);
    }

    #[test]
    fn the_server_may_close_poison_without_a_run_d34() {
        let tale = leased().run("run_1", 1, "failed").chunk(UiMessageChunk::error("no answer")).boundary(0);

        assert_eq!(judge(check, &tale), [""; 0]);
    }
}
