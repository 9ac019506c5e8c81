//! [`World`]: simulated machines for a test of one's own, without a scenario.

use std::cell::Cell;
use std::rc::Rc;

use turnkeep_host::{Entropy, Host};
use turnkeep_session::conformance::FaultyDisk;

use super::host::world_host;
use super::net::Shapes;
use super::sim::Machines;
use crate::trace::{Entry, Trace};

/// A simulated network of machines that run plain futures.
///
/// ```
/// # fn main() -> Result<(), String> {
/// let entries = turnkeep_harness::World::new(7)
///     .machine("server", |host| async move {
///         let mut port = host.net().listen("0.0.0.0:80").await.unwrap();
///         let _connection = port.accept().await.unwrap();
///         std::future::pending::<()>().await;
///     })
///     .run("client", 1_000, |host| async move {
///         host.net().dial("server:80").await.unwrap();
///     })?;
/// assert!(!entries.is_empty());
/// # Ok(())
/// # }
/// ```
pub struct World {
    machines: Machines<'static>,
    entropy: Entropy,
    trace: Trace,
    shapes: Shapes,
}

impl World {
    /// Makes an empty world; everything in it is decided by `seed`.
    pub fn new(seed: u64) -> Self {
        let (trace, shapes) = (Trace::new(), Shapes::default());
        let machines = Machines::new(seed, trace.clone(), shapes.clone());
        Self { machines, entropy: Entropy::from_seed(seed), trace, shapes }
    }

    /// Adds a machine that runs `software`.
    #[must_use]
    pub fn machine<F, Fut>(mut self, name: &str, software: F) -> Self
    where
        F: Fn(Host) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let boots = Cell::new(0);
        let (name, entropy) = (name.to_owned(), self.entropy.clone());
        let (trace, shapes) = (self.trace.clone(), self.shapes.clone());
        let host_name = name.clone();
        self.machines.add(&host_name, FaultyDisk::new(), move || {
            let boot = boots.replace(boots.get() + 1);
            software(world_host(&name, boot, &entropy, &trace, &shapes))
        });
        self
    }

    /// Adds the machine that the test is about, and runs the world until its `software` ends; gives the trace.
    ///
    /// # Errors
    ///
    /// When it has not ended after `within_ms` virtual milliseconds, or a machine failed.
    pub fn run<F, Fut>(self, name: &str, within_ms: u64, software: F) -> Result<Vec<Entry>, String>
    where
        F: Fn(Host) -> Fut + 'static,
        Fut: Future<Output = ()> + 'static,
    {
        let done = Rc::new(Cell::new(false));
        let ended = done.clone();
        let mut world = self.machine(name, move |host| {
            let (life, ended) = (software(host), ended.clone());
            async move {
                life.await;
                ended.set(true);
            }
        });
        while !done.get() {
            if world.trace.now() >= within_ms {
                return Err(format!("{name} has not ended after {within_ms} ms"));
            }
            world.machines.tick()?;
        }
        world.machines.shut_down();
        Ok(world.trace.entries())
    }
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("World")
    }
}
