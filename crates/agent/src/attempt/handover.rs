//! Waiting for a head start's signal (A-224…A-227).

use std::time::Duration;

use tokio::time::Instant;
use turnkeep_protocol::SeqNum;

use super::Attempt;
use crate::error::Error;
use crate::handover::HandoverSignal;

/// How long a run waits for the signal when neither the agent nor the payload says.
const DEFAULT_HANDOVER_IDLE: Duration = Duration::from_secs(60);

impl Attempt {
    /// Waits for the head start's signal, for the agent's idle time, else the payload's, else 60 s; never asleep. Gives it with
    /// its place, which is owed until its turn has ended; none when nothing came. Every later signal has no effect (C-199).
    ///
    /// Records of other kinds stay where they are (A-227, AR-32). A worker that ends lets the wait come to its end, like a turn: the first
    /// step of one is under way.
    pub(crate) async fn wait_for_handover(
        &mut self,
        agents: Option<Duration>,
    ) -> Result<Option<(SeqNum, HandoverSignal)>, Error> {
        let until = Instant::now() + self.idle_timeout_or(agents, DEFAULT_HANDOVER_IDLE);
        self.input.connect();
        let taken = loop {
            if let Some(taken) = self.input.take_handover() {
                break Some(taken);
            }
            if self.input.is_session_closed() {
                // After a close nothing more comes; what came before it still counts (D-2).
                self.read_on().await?;
                break self.input.take_handover();
            }
            tokio::select! {
                biased;
                () = self.input.arrived() => {}
                () = tokio::time::sleep_until(until) => break None,
            }
        };
        self.awaits_handover = false;
        self.input.ignore_handovers();
        let read = taken.and_then(|(seq_num, input)| Some((seq_num, HandoverSignal::read(input)?)));
        Ok(read.map(|(seq_num, (signal, n_unreadable))| {
            if n_unreadable > 0 {
                self.warn(format!("{n_unreadable} messages of the head start cannot be read and are left out"));
            }
            (seq_num, signal)
        }))
    }
}
