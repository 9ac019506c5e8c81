//! [`Leaks`]: what a chat leaves behind when it should have nothing left.

use std::fmt;
use std::time::Duration;

use turnkeep_protocol::run_api::RunOutcome;

use super::MockChatAgent;
use super::failure::{in_words, place};
use super::progress::Runs;
use super::stage::Stage;

/// How long, in virtual time, an unanswered input may still be answered when the test ends.
const PATIENCE: Duration = Duration::from_secs(600);

/// How long a worker's tasks may take to notice that they are over.
const GRACE: Duration = Duration::from_secs(60);

/// What is left behind, one thing a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaks(Vec<String>);

impl Leaks {
    /// Gives each thing.
    pub fn list(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Leaks {}

impl MockChatAgent {
    /// Ends the chat: closes it, lets its run end, and wants nothing to be left.
    ///
    /// # Panics
    ///
    /// When something is: inputs without an answer, steps of the script, calls that had none, seeds that no boot read, barriers and
    /// faults that nothing met, a run that failed and nobody was told, tasks that outlive their run, addresses that were dialled and
    /// are not of this test.
    pub async fn finish(self) {
        if let Err(leaks) = self.try_finish().await {
            panic!("{leaks}");
        }
    }

    /// Does what [`MockChatAgent::finish`] does and gives what is left.
    ///
    /// # Errors
    ///
    /// [`Leaks`] when something is.
    pub async fn try_finish(mut self) -> Result<(), Leaks> {
        let mut leaks = self.blocked();
        if leaks.is_empty() {
            leaks.extend(self.owed().await);
        }
        // What chats share is looked at with the last of them.
        let is_last = std::sync::Arc::strong_count(&self.ticket) == 2;
        let session = self.session();
        self.stage.progress.change(|runs| {
            session.iter().for_each(|session| runs.release_session(session));
            if is_last {
                runs.release_all();
            }
        });
        if leaks.is_empty() && self.stage.failures.look(Vec::is_empty) {
            leaks.extend(self.try_close().await.err());
        }
        leaks.extend(self.unheard());
        leaks.extend(self.unread_seeds());
        if is_last {
            leaks.extend(self.model.verdict().map(|verdict| format!("the agent and the script disagree\n{verdict}")));
            leaks.extend(unmet(&self.stage));
            leaks.extend(self.outlived().await);
        }
        let unused = self.tokens.unused();
        if unused > 0 {
            leaks.push(format!("{} for the page, never asked for", crate::model::count(unused, "token")));
        }
        if leaks.is_empty() { Ok(()) } else { Err(Leaks(leaks)) }
    }

    /// Names the barriers that still hold a run: nothing can end behind them.
    fn blocked(&self) -> Vec<String> {
        let session = self.session();
        let holding = |runs: &Runs| session.as_ref().map(|session| runs.holding(session)).unwrap_or_default();
        let holding = self.stage.progress.look(holding);
        holding.into_iter().map(|at| format!("a barrier still holds a run at `{at}`")).collect()
    }

    /// Waits a while for inputs that are still owed, then names them.
    async fn owed(&self) -> Vec<String> {
        let chat = &self.chat_id;
        let nothing = self.stage.journal.until(|sessions| {
            let owes = sessions.chat(chat).is_some_and(|kept| !kept.owed().is_empty());
            (!owes).then_some(())
        });
        if !self.is_closed && tokio::time::timeout(PATIENCE, nothing).await.is_ok() {
            return Vec::new();
        }
        let owed = self
            .stage
            .journal
            .look(|sessions| sessions.chat(chat).map(|kept| (kept.owed(), kept.settled)).unwrap_or_default());
        let (owed, settled) = owed;
        let owed = owed.into_iter().map(|seq_num| {
            format!("record {seq_num} on `in` of chat {chat} was never answered; settled is {}", place(settled))
        });
        owed.collect()
    }

    /// Names the runs that failed without any send of the test being told.
    fn unheard(&self) -> Vec<String> {
        let Some(session) = self.session() else {
            return Vec::new();
        };
        self.stage.progress.look(|runs| {
            let failed = runs.exits.iter().filter(|exit| exit.session == session && !exit.is_heard);
            let failed = failed.filter(|exit| exit.outcome != RunOutcome::Completed);
            failed
                .map(|exit| format!("run {} of chat {} ended: {}", exit.run, self.chat_id, in_words(&exit.outcome)))
                .collect()
        })
    }

    fn unread_seeds(&self) -> Vec<String> {
        let Some(session) = self.session() else {
            return Vec::new();
        };
        let unread = self.seeded.iter().filter(|kind| !self.stage.progress.look(|runs| runs.has_read(&session, kind)));
        unread
            .map(|kind| format!("no boot read what was seeded: the {kind}; an agent that hydrates reads no history"))
            .collect()
    }

    /// Ends the worker and names what still runs on its machine.
    async fn outlived(&self) -> Vec<String> {
        self.stage.kill_worker();
        let Some(watch) = &self.stage.watch else {
            return Vec::new();
        };
        if tokio::time::timeout(GRACE, watch.until_idle()).await.is_ok() {
            return Vec::new();
        }
        let tasks = crate::model::count(watch.n_tasks(), "task");
        vec![format!("{tasks} of the worker's machine outlived the worker")]
    }
}

/// Names what was prepared and never met, and whom somebody wanted to reach.
fn unmet(stage: &Stage) -> Vec<String> {
    let mut leaks = stage.failures.look(Clone::clone);
    let unreached = stage.progress.look(|runs| runs.unreached.clone());
    leaks.extend(unreached.into_iter().map(|at| format!("no run ever came to the barrier at `{at}`")));
    leaks.extend(stage.faults.iter().flat_map(super::faults::Faults::unmet));
    let refused = stage.watch.as_ref().map(super::machine::Watch::refused).unwrap_or_default();
    leaks.extend(refused.into_iter().map(|authority| {
        format!("something dialled {authority}, which is not of this test: give the agent a double, or serve it on the chat's machine")
    }));
    leaks
}
