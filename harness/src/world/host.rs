//! The parts of a simulated machine (D-48).

use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::task::AbortHandle;
use turnkeep_host::{Absent, Clock, Entropy, Host, HostParts, Inline, Spawn, Timestamp};

use super::net::{Shapes, WorldNet};
use crate::trace::Trace;
use crate::{EPOCH, MemoryFiles};

/// Makes the host of one boot of a simulated machine; call it inside that machine.
///
/// Each boot draws from streams of its own, or a restarted server would hand out the ids of its former life again.
pub(super) fn world_host(name: &str, boot: u64, seed: &Entropy, trace: &Trace, shapes: &Shapes) -> Host {
    Host::from_parts(HostParts {
        clock: Arc::new(WorldClock),
        net: Arc::new(WorldNet::new(name, trace.clone(), shapes.clone())),
        entropy: seed.child(name).child(&format!("boot-{boot}")),
        spawner: Arc::new(LocalTasks),
        blocking: Arc::new(Inline),
        files: Arc::new(MemoryFiles::new()),
        processes: Arc::new(Absent),
    })
}

struct WorldClock;

impl Clock for WorldClock {
    fn now(&self) -> Timestamp {
        let elapsed = turmoil::sim_elapsed().expect("simulated code asks for the time only while its host runs");
        EPOCH.plus(elapsed)
    }
}

/// Runs tasks on the host's own thread. A work-stealing spawn would let a crash drop tasks in the order of process-wide task ids.
struct LocalTasks;

impl Spawn for LocalTasks {
    fn spawn(&self, future: BoxFuture<'static, ()>) -> AbortHandle {
        tokio::task::spawn_local(future).abort_handle()
    }
}
