//! The dispatcher of `in`: which record goes to whom, and the three cursors (A-21…A-39, S-146…S-159).
//!
//! A record is buffered until somebody who wants its kind takes it; whoever handles it removes it, so nothing is lost and nothing is
//! handed out twice. The *settled* cursor is what the world is told: a record that is handed out but unfinished holds it back.

use std::collections::{BTreeSet, VecDeque};

use turnkeep_protocol::{ChatInputChunk, InputRecord, SeqNum};

/// How many records wait in the buffer before the tail stops reading; the channel keeps the rest.
pub(crate) const MAX_BUFFERED_RECORDS: usize = 1024;

/// A view of `in` that takes its own kinds only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Facade {
    /// `message` records.
    Messages,
    /// `stop` records.
    Stops,
    /// `handover` and `handover-skip` records.
    Handovers,
}

impl Facade {
    fn of(input: &ChatInputChunk) -> Self {
        match input {
            ChatInputChunk::Message { .. } => Self::Messages,
            ChatInputChunk::Stop { .. } => Self::Stops,
            ChatInputChunk::Handover { .. } | ChatInputChunk::HandoverSkip => Self::Handovers,
        }
    }
}

/// What became of a received record.
#[derive(Debug, PartialEq)]
pub(crate) enum Dispatched {
    /// It was received before (S-154).
    Repeated,
    /// Records before it are missing: nothing is taken in, and the tail must be read again (S-54).
    Gap,
    /// It cannot be read: skipped, cursors moved.
    Skipped,
    /// The handler of its kind took it.
    Handled(ChatInputChunk),
    /// It waits for a taker.
    Buffered,
}

/// The state of one run's reading of `in`.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    received: Option<SeqNum>,
    consumed: Option<SeqNum>,
    /// In channel order; a record and its place are one element (S-155).
    buffer: VecDeque<(SeqNum, ChatInputChunk)>,
    /// Received and not finished.
    open: BTreeSet<SeqNum>,
    /// Open, and finished with the running turn, which they have joined.
    joined: BTreeSet<SeqNum>,
    handlers: BTreeSet<Facade>,
}

impl Inbox {
    /// Starts reading after `cursor`; must precede every other call (A-37, S-158).
    pub(crate) fn seeded(cursor: Option<SeqNum>) -> Self {
        Self { received: cursor, consumed: cursor, ..Self::default() }
    }

    /// Takes in one record of a drain, which holds all there is: what it leaves out was never for us.
    pub(crate) fn receive_drained(&mut self, record: InputRecord) -> Dispatched {
        self.received = self.received.max(record.seq_num.previous());
        self.receive(record)
    }

    /// Takes in the next record of the channel. Places have no holes (S-54): one that skips some is refused, since what it skips
    /// would count as settled unseen.
    pub(crate) fn receive(&mut self, record: InputRecord) -> Dispatched {
        let seq_num = record.seq_num;
        if self.received.is_some_and(|received| seq_num <= received) {
            return Dispatched::Repeated;
        }
        if seq_num.previous() != self.received {
            return Dispatched::Gap;
        }
        self.received = Some(seq_num);
        let Some(input) = record.input else {
            self.consume(seq_num);
            return Dispatched::Skipped;
        };
        self.open.insert(seq_num);
        if self.handlers.contains(&Facade::of(&input)) {
            self.consume(seq_num);
            self.finish_unless_message(seq_num, &input);
            return Dispatched::Handled(input);
        }
        self.buffer.push_back((seq_num, input));
        Dispatched::Buffered
    }

    /// Attaches the handler of a kind and gives it what is buffered of that kind, in order (A-23, S-151).
    pub(crate) fn attach(&mut self, facade: Facade) -> Vec<(SeqNum, ChatInputChunk)> {
        self.handlers.insert(facade);
        let mut mine = Vec::new();
        let mut others = VecDeque::new();
        for (seq_num, input) in std::mem::take(&mut self.buffer) {
            if Facade::of(&input) == facade {
                self.consume(seq_num);
                self.finish_unless_message(seq_num, &input);
                mine.push((seq_num, input));
            } else {
                others.push_back((seq_num, input));
            }
        }
        self.buffer = others;
        mine
    }

    /// Detaches the handler of a kind; later records of that kind are buffered again.
    #[cfg(test)]
    pub(crate) fn detach(&mut self, facade: Facade) {
        self.handlers.remove(&facade);
    }

    /// Takes the oldest buffered record of a kind; others stay where they are (A-24, A-26, D-46).
    pub(crate) fn take(&mut self, facade: Facade) -> Option<(SeqNum, ChatInputChunk)> {
        let at = self.buffer.iter().position(|(_, input)| Facade::of(input) == facade)?;
        let taken = self.buffer.remove(at)?;
        self.consume(taken.0);
        Some(taken)
    }

    /// Shows the buffer, in channel order, and takes nothing (S-153).
    pub(crate) fn buffered(&self) -> impl Iterator<Item = &(SeqNum, ChatInputChunk)> {
        self.buffer.iter()
    }

    /// Takes a buffered record into the running turn, with which it is finished.
    pub(crate) fn join_turn(&mut self, seq_num: SeqNum) {
        let Some(at) = self.buffer.iter().position(|(place, _)| *place == seq_num) else {
            return;
        };
        self.buffer.remove(at);
        self.consume(seq_num);
        self.joined.insert(seq_num);
    }

    /// Takes everything but one record out of the buffer: boot decides by itself what becomes of each.
    pub(crate) fn clear_buffer(&mut self, kept: Option<SeqNum>) {
        for (seq_num, input) in std::mem::take(&mut self.buffer) {
            if Some(seq_num) == kept {
                self.buffer.push_back((seq_num, input));
            } else {
                self.consume(seq_num);
            }
        }
    }

    /// Tells whether the tail must rest until something is taken.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= MAX_BUFFERED_RECORDS
    }

    /// Says that a record needs no more work: its turn ended, or it was dropped on purpose.
    pub(crate) fn finish(&mut self, seq_num: SeqNum) {
        self.open.remove(&seq_num);
    }

    /// Says that the running turn has ended: the record it served and those that joined it are finished.
    pub(crate) fn finish_turn(&mut self, served: Option<SeqNum>) {
        for seq_num in std::mem::take(&mut self.joined).into_iter().chain(served) {
            self.finish(seq_num);
        }
    }

    /// Gives the highest place at and below which every record is finished (A-30, D-32).
    pub(crate) fn settled(&self) -> Option<SeqNum> {
        self.settled_with(None)
    }

    /// Gives what [`Inbox::settled`] will be once the turn that serves `finishing` has ended: what its `turn-complete` publishes.
    pub(crate) fn settled_with(&self, finishing: Option<SeqNum>) -> Option<SeqNum> {
        match self.open.iter().find(|seq_num| Some(**seq_num) != finishing && !self.joined.contains(seq_num)) {
            Some(first_open) => first_open.previous(),
            None => self.received,
        }
    }

    /// Gives the highest place received: where the tail resumes.
    pub(crate) fn received(&self) -> Option<SeqNum> {
        self.received
    }

    /// Gives where a durable wait registers: everything up to here has left the dispatcher (A-33, S-135, D-46).
    ///
    /// A buffered record keeps the wait below it, so the server's race check finds it.
    pub(crate) fn wait_cursor(&self) -> Option<SeqNum> {
        match self.buffer.front() {
            Some((seq_num, _)) => seq_num.previous(),
            None => self.consumed,
        }
    }

    fn consume(&mut self, seq_num: SeqNum) {
        self.consumed = self.consumed.max(Some(seq_num));
    }

    /// Signals take effect or are dropped the moment they are handled; a message stays open until its turn ends.
    fn finish_unless_message(&mut self, seq_num: SeqNum, input: &ChatInputChunk) {
        if !matches!(input, ChatInputChunk::Message { .. }) {
            self.open.remove(&seq_num);
        }
    }
}

#[cfg(test)]
mod tests;
