//! [`StopSignal`]: what a custom agent's code hears of people's stops.

use std::fmt;

use crate::input::InputChannel;
use crate::signal::Signal;

/// Hears people's stops until it is dropped; made by [`CustomRun::create_stop_signal`](crate::CustomRun::create_stop_signal).
pub struct StopSignal {
    input: InputChannel,
    signal: Signal,
}

impl StopSignal {
    pub(super) fn attach(input: InputChannel) -> Self {
        let signal = Signal::new();
        input.enter_turn(signal.clone());
        Self { input, signal }
    }

    /// Gives the signal that the next stop sets.
    pub fn signal(&self) -> Signal {
        self.signal.clone()
    }

    /// Begins a turn: a stop of the turn before does not stop this one.
    pub fn reset(&mut self) {
        self.signal = Signal::new();
        self.input.enter_turn(self.signal.clone());
    }

    /// Hears nothing more; stops have no effect from now on. Dropping does the same.
    pub fn cleanup(self) {}
}

impl Drop for StopSignal {
    fn drop(&mut self) {
        self.input.leave_turn_of(&self.signal);
    }
}

impl fmt::Debug for StopSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StopSignal").field(&self.signal).finish()
    }
}
