//! The handler against the real session server and a scripted model, over an in-memory network in paused time.

mod answering;
mod by_hand;
mod detached;
mod failing;
mod leaving;
#[path = "../../../client/tests/client/net.rs"]
mod net;
mod rig;
mod serving;
