//! `one-writer`: at any moment at most one run of a session is live, and only it writes.
//!
//! Exactly: after every commit at most one run of a session is not terminal (I1); a terminal run never becomes live again; a
//! run's attempt number never falls. Every record of `out` that a run writes, boundaries and commands included, names the run and
//! the attempt that hold the lease at that moment (D-36). While a lease is held, nobody else streams chunks or ends turns;
//! without one, only the server does: with `error` and a boundary (D-34), and with `abort` where it has cancelled the run. `data-*` chunks may come from whoever has the key. A
//! message is written whole by one attempt of one run, and its boundary too: another attempt may close it with `abort` or `error`, end its
//! turn once it is closed, or open another message in its place, and nothing else goes on with it (D-31).

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
    /// The message that is streaming.
    open: Option<Open<'t>>,
}

/// A message whose turn has not ended.
#[derive(Clone, Copy)]
struct Open<'t> {
    author: Option<Lease<'t>>,
    entry: &'t Entry,
    closed: bool,
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
        let foreign = self.foreign(stored);
        let mixed = self.mixed(stored);
        let (what, opened) = foreign.map(|what| (what, None)).or(mixed)?;
        let violation = broken_at(NAME, stored.session, stored.entry, stored.seq(), what);
        Some(opened.map_or(violation.clone(), |opened| since(violation, opened)))
    }

    /// Says how a record was written by somebody who does not hold the lease.
    fn foreign(&self, stored: &Stored<'t>) -> Option<String> {
        let (lease, seq, kind) = (self.lease(), stored.seq(), kind(stored));
        if let Some(writer) = author(stored) {
            let ended = self.runs.get(writer.0).is_some_and(|run| run.terminal);
            let ended = if ended { ", which had ended," } else { "" };
            let (by, holder) = (name(Some(writer)), name(lease));
            let what = format!("`{kind}` at seq_num {seq} was stored by {by}{ended} while {holder} held the lease");
            return (lease != Some(writer)).then_some(what);
        }
        let servers = match &stored.content {
            Content::Boundary(_) => lease.is_none(),
            Content::Chunk(chunk) => match **chunk {
                UiMessageChunk::Data(_) => true,
                UiMessageChunk::Error(_) => lease.is_none(),
                UiMessageChunk::Abort(_) => lease.is_none() && self.was_cancelled(),
                _ => lease.is_none() && self.runs.is_empty(),
            },
            _ => true,
        };
        let holder = name(lease);
        (!servers).then(|| format!("`{kind}` at seq_num {seq} was stored by no run while {holder} held the lease"))
    }

    /// Tells whether the newest that became of a run is that it was cancelled.
    fn was_cancelled(&self) -> bool {
        let newest = self.runs.values().max_by_key(|run| run.entry.n);
        newest.is_some_and(|run| matches!(&run.entry.event, Event::Run { status, .. } if status == "cancelled"))
    }

    /// Says how a record goes on with a message that another attempt opened, and where that was.
    fn mixed(&mut self, stored: &Stored<'t>) -> Option<(String, Option<&'t Entry>)> {
        let (author, seq, kind) = (author(stored), stored.seq(), kind(stored));
        let before = self.open.filter(|open| open.author != author);
        let faulty = match &stored.content {
            Content::Boundary(_) => {
                self.open = None;
                before.filter(|open| !open.closed)
            }
            Content::Chunk(chunk) => match **chunk {
                UiMessageChunk::Data(_) => None,
                UiMessageChunk::Start(_) => {
                    let opened = Open { author, entry: stored.entry, closed: false };
                    let same = self.open.replace(opened).filter(|open| open.author == author)?;
                    let what =
                        format!("`start` at seq_num {seq} opens a second message in one turn of {}", name(author));
                    return Some((what, Some(same.entry)));
                }
                UiMessageChunk::Abort(_) | UiMessageChunk::Error(_) => {
                    self.open.iter_mut().for_each(|open| open.closed = true);
                    None
                }
                UiMessageChunk::Finish(_) => {
                    self.open.iter_mut().for_each(|open| open.closed = true);
                    before
                }
                _ => before,
            },
            _ => None,
        };
        let open = faulty?;
        let (by, opener) = (name(author), name(open.author));
        Some((format!("`{kind}` at seq_num {seq} of {by} goes on with a message of {opener}"), Some(open.entry)))
    }
}

/// Gives the attempt that wrote a record.
fn author<'t>(stored: &Stored<'t>) -> Option<Lease<'t>> {
    stored.writer.map(|writer| (&writer.run, writer.attempt))
}

/// Names a record for people.
fn kind(stored: &Stored<'_>) -> String {
    match &stored.content {
        Content::Chunk(chunk) => chunk.kind().to_owned(),
        Content::Boundary(_) => "turn-complete".to_owned(),
        Content::Control(word) | Content::Command(word) => word.clone(),
        _ => "record".to_owned(),
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
        let delta = || UiMessageChunk::text_delta("t", "llo");
        let queued = || leased().begin("a1", &["He"]).run("run_1", 2, "queued");
        let other = || leased().begin("a1", &["He"]).run("run_1", 2, "leased");

        let nobody = "`text-delta` at seq_num 4 was stored by run run_1, attempt 1 while no run held the lease";
        assert_eq!(judge(check, &queued().by("run_1", 1).chunk(delta())), [nobody]);
        let late =
            "`text-delta` at seq_num 4 was stored by run run_1, attempt 1 while run run_1, attempt 2 held the lease";
        assert_eq!(judge(check, &other().by("run_1", 1).chunk(delta())), [late]);
        let unnamed = "`text-delta` at seq_num 4 was stored by no run while run run_1, attempt 2 held the lease";
        assert_eq!(judge(check, &other().by_nobody().chunk(delta())), [unnamed]);
        let mixed = "`text-delta` at seq_num 4 of run run_1, attempt 2 goes on with a message of run run_1, attempt 1";
        assert_eq!(judge(check, &other().chunk(delta())), [mixed]);
    }

    #[test]
    fn a_write_of_a_run_that_had_ended_is_seen_d36() {
        let tale = leased().say("a1", &["A"]).boundary(0).run("run_1", 1, "completed").run("run_2", 1, "leased");

        let want = "`start` at seq_num 8 was stored by run run_1, attempt 1, which had ended, while run run_2, attempt 1 held the lease";
        assert_eq!(judge(check, &tale.by("run_1", 1).chunk(UiMessageChunk::start("a2"))), [want]);
    }

    #[test]
    fn boundaries_and_commands_have_one_writer_too() {
        let handed_over = || leased().begin("a1", &["He"]).run("run_1", 2, "leased");
        let finished = || leased().say("a1", &["He"]).run("run_1", 2, "leased");

        let late =
            "`turn-complete` at seq_num 4 was stored by run run_1, attempt 1 while run run_1, attempt 2 held the lease";
        assert_eq!(judge(check, &handed_over().by("run_1", 1).boundary(0)), [late]);
        let open =
            "`turn-complete` at seq_num 4 of run run_1, attempt 2 goes on with a message of run run_1, attempt 1";
        assert_eq!(judge(check, &handed_over().boundary(0)), [open]);
        let nobody = "`turn-complete` at seq_num 7 was stored by no run while run run_1, attempt 2 held the lease";
        assert_eq!(judge(check, &finished().by_nobody().boundary(0)), [nobody]);
        let trim = "`trim` at seq_num 4 was stored by run run_1, attempt 1 while run run_1, attempt 2 held the lease";
        assert_eq!(judge(check, &handed_over().by("run_1", 1).trim(0)), [trim]);
        assert_eq!(judge(check, &finished().boundary(0)), [""; 0]);
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

    #[test]
    fn the_server_aborts_only_what_a_cancelled_run_was_saying_a199() {
        let aborted =
            |how| leased().begin("a1", &["He"]).run("run_1", 1, how).by_nobody().chunk(UiMessageChunk::abort("no"));

        assert_eq!(judge(check, &aborted("cancelled").run("run_2", 1, "queued")), [""; 0]);
        let want = |holder| format!("`abort` at seq_num 4 was stored by no run while {holder} held the lease");
        assert_eq!(judge(check, &aborted("completed")), [want("no run")]);
        assert_eq!(judge(check, &aborted("leased")), [want("run run_1, attempt 1")]);
    }
}
