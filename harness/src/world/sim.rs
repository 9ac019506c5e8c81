//! Virtual time and the links between hosts: the only owner of turmoil's `Sim`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, SystemTime};

use turmoil::Sim;
use turnkeep_host::{Draws, Entropy};
use turnkeep_session::conformance::{DiskFault, FaultyDisk};

use super::net::Shapes;
use crate::EPOCH;
use crate::trace::{Event, Trace};

/// The world's tick, and so the grain of every latency.
const TICK: Duration = Duration::from_millis(1);

/// The longest that any story may take, in virtual time.
const LONGEST_STORY: Duration = Duration::from_secs(3600);

/// Segments in flight on one connection before a writer waits; also the backlog of a listener.
const TCP_CAPACITY: usize = 4096;

/// Whether a host runs, and what it keeps.
struct Machine {
    up: bool,
    disk: FaultyDisk,
}

/// The simulated machines and their links.
pub(super) struct Machines<'a> {
    sim: Sim<'a>,
    trace: Trace,
    shapes: Shapes,
    machines: BTreeMap<String, Machine>,
    /// Disks of what is no host.
    shelves: BTreeMap<String, FaultyDisk>,
    latencies: BTreeMap<(String, String), u64>,
    held: BTreeSet<(String, String)>,
    parted: BTreeSet<(String, String)>,
    /// Links that a power loss has cut; a restart of the host mends them, unless the story has cut them too.
    dark: BTreeSet<(String, String)>,
    slowed: BTreeSet<(String, String)>,
    /// Hosts whose network the story has taken away.
    offline: BTreeSet<String>,
    /// What is left of unsynced writes when a host dies.
    tears: Draws,
}

impl<'a> Machines<'a> {
    pub(super) fn new(seed: u64, trace: Trace, shapes: Shapes) -> Self {
        let sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_millis(EPOCH.as_millis()))
            .tick_duration(TICK)
            .min_message_latency(TICK)
            .max_message_latency(TICK)
            .tcp_capacity(TCP_CAPACITY)
            .simulation_duration(LONGEST_STORY)
            .enable_random_order()
            .build();
        Self {
            sim,
            trace,
            shapes,
            machines: BTreeMap::new(),
            shelves: BTreeMap::new(),
            latencies: BTreeMap::new(),
            held: BTreeSet::new(),
            parted: BTreeSet::new(),
            dark: BTreeSet::new(),
            slowed: BTreeSet::new(),
            offline: BTreeSet::new(),
            tears: Entropy::from_seed(seed).child("tears").draws(),
        }
    }

    /// Adds a host; `software` is called on each boot with the number of boots before it.
    pub(super) fn add<F, Fut>(&mut self, name: &str, disk: FaultyDisk, software: F)
    where
        F: Fn() -> Fut + 'a,
        Fut: Future<Output = ()> + 'static,
    {
        self.machines.insert(name.to_owned(), Machine { up: true, disk });
        self.sim.host(name, move || {
            let life = software();
            async move {
                life.await;
                // A host whose future returns would freeze its tasks and keep its sockets open and silent.
                std::future::pending::<turmoil::Result>().await
            }
        });
    }

    /// Adds something that is no host and has a disk.
    pub(super) fn add_shelf(&mut self, name: &str, disk: FaultyDisk) {
        self.shelves.insert(name.to_owned(), disk);
    }

    fn disk(&self, name: &str) -> Option<&FaultyDisk> {
        self.machines.get(name).map(|machine| &machine.disk).or_else(|| self.shelves.get(name))
    }

    /// Draws each link's latency in `[least, most]` from a stream of its own.
    pub(super) fn draw_latencies(&mut self, seed: &Entropy, [least, most]: [u64; 2]) {
        let names: Vec<String> = self.machines.keys().cloned().collect();
        for (at, one) in names.iter().enumerate() {
            for other in &names[at + 1..] {
                let draws = seed.child(one).child(other).draws();
                let ms = (least + draws.below(most.saturating_sub(least) + 1)).max(1);
                self.latencies.insert((one.clone(), other.clone()), ms);
                self.sim.set_link_latency(one.as_str(), other.as_str(), Duration::from_millis(ms));
            }
        }
    }

    /// Lets one tick pass.
    pub(super) fn tick(&mut self) -> Result<(), String> {
        self.sim.step().map_err(|error| error.to_string())?;
        let now = u64::try_from(self.sim.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.trace.set_now(now);
        Ok(())
    }

    pub(super) fn fault(&self, what: String) {
        self.trace.log("world", Event::Fault { what });
    }

    pub(super) fn hold(&mut self, a: &str, b: &str) {
        self.fault(format!("hold {a} – {b}"));
        self.held.insert((a.to_owned(), b.to_owned()));
        self.sim.hold(a, b);
    }

    pub(super) fn release(&mut self, a: &str, b: &str) {
        self.fault(format!("release {a} – {b}"));
        self.held.retain(|link| !same(link, a, b));
        self.sim.release(a, b);
    }

    pub(super) fn partition(&mut self, a: &str, b: &str) {
        self.fault(format!("partition {a} – {b}"));
        self.parted.insert((a.to_owned(), b.to_owned()));
        self.sim.partition(a, b);
    }

    pub(super) fn repair(&mut self, a: &str, b: &str) {
        self.fault(format!("repair {a} – {b}"));
        self.parted.retain(|link| !same(link, a, b));
        if !self.is_cut(a, b) {
            self.sim.repair(a, b);
        }
    }

    /// Takes a host's network away: what it has open is silent for good, and what it dials fails at once.
    pub(super) fn go_offline(&mut self, host: &str) {
        self.fault(format!("{host} is offline"));
        self.offline.insert(host.to_owned());
        self.shapes.set_offline(host, true);
        for other in self.others(host) {
            self.sim.partition(host, other.as_str());
        }
    }

    /// Gives a host its network again.
    pub(super) fn go_online(&mut self, host: &str) {
        self.fault(format!("{host} is online"));
        self.offline.remove(host);
        self.shapes.set_offline(host, false);
        for other in self.others(host) {
            if !self.is_cut(host, &other) {
                self.sim.repair(host, other.as_str());
            }
        }
    }

    /// Lists the hosts without network.
    pub(super) fn offline(&self) -> Vec<String> {
        self.offline.iter().cloned().collect()
    }

    fn others(&self, host: &str) -> Vec<String> {
        self.machines.keys().filter(|name| *name != host).cloned().collect()
    }

    /// Tells whether something else keeps a link cut: hosts without power or network, or the story on its own account.
    fn is_cut(&self, a: &str, b: &str) -> bool {
        let is_offline = [a, b].iter().any(|end| self.offline.contains(*end));
        is_offline || self.parted.iter().chain(&self.dark).any(|link| same(link, a, b))
    }

    pub(super) fn slow(&mut self, a: &str, b: &str, ms: u64) {
        self.fault(format!("slow {a} – {b}: {ms} ms one way"));
        self.slowed.insert((a.to_owned(), b.to_owned()));
        self.sim.set_link_latency(a, b, Duration::from_millis(ms.max(1)));
    }

    pub(super) fn cut(&mut self, reader: &str, source: &str, after_bytes: usize) {
        self.fault(format!("reset what {reader} reads from {source} after {after_bytes} bytes"));
        self.shapes.change(reader, source, |shape| shape.cut_after = Some(after_bytes));
    }

    pub(super) fn dribble(&mut self, reader: &str, source: &str, bytes: usize) {
        self.fault(format!("hand {reader} what {source} sends in pieces of {bytes} bytes"));
        self.shapes.change(reader, source, |shape| shape.piece = Some(bytes));
    }

    /// Counts the answers that stream from `source` to `reader`.
    pub(super) fn streams(&self, source: &str, reader: &str) -> usize {
        self.shapes.streams(source, reader)
    }

    pub(super) fn crash(&mut self, host: &str) {
        self.fault(format!("crash {host}"));
        self.kill(host);
    }

    pub(super) fn power_loss(&mut self, host: &str) {
        self.fault(format!("power loss at {host}"));
        for other in self.others(host) {
            // Its peers hear nothing: no end of stream, no reset.
            self.dark.insert((host.to_owned(), other.clone()));
            self.sim.partition(host, other.as_str());
        }
        self.kill(host);
    }

    pub(super) fn disk_fails(&mut self, host: &str, fault: DiskFault, what: &str) {
        self.fault(format!("the disk of {host}: {what}"));
        if let Some(disk) = self.disk(host) {
            disk.fail(fault);
        }
    }

    pub(super) fn disk_mends(&mut self, host: &str) {
        self.fault(format!("the disk of {host} is mended"));
        if let Some(disk) = self.disk(host) {
            disk.mend();
        }
    }

    /// Takes everything away that the disk of a host holds.
    pub(super) fn wipe(&mut self, host: &str) {
        self.fault(format!("wipe {host}"));
        if let Some(disk) = self.disk(host) {
            disk.wipe();
        }
    }

    fn kill(&mut self, host: &str) {
        if let Some(machine) = self.machines.get_mut(host)
            && machine.up
        {
            machine.up = false;
            // First of all: a crash runs destructors, and code that has died must not write.
            machine.disk.lose_power(&self.tears);
            self.sim.crash(host);
        }
    }

    pub(super) fn restart(&mut self, host: &str) {
        let Some(machine) = self.machines.get_mut(host) else { return };
        if machine.up {
            return;
        }
        machine.up = true;
        self.fault(format!("restart {host}"));
        let links: Vec<_> = self.dark.iter().filter(|(dark, _)| dark == host).cloned().collect();
        for link in links {
            self.dark.remove(&link);
            let (a, b) = &link;
            if !self.is_cut(a, b) {
                self.sim.repair(a.as_str(), b.as_str());
            }
        }
        self.sim.bounce(host);
    }

    /// Ends every fault and starts every dead host.
    pub(super) fn heal(&mut self) {
        self.trace.log("world", Event::Heal);
        self.shapes.clear();
        self.machines.values().map(|machine| &machine.disk).chain(self.shelves.values()).for_each(FaultyDisk::mend);
        for (a, b) in std::mem::take(&mut self.held) {
            self.sim.release(a.as_str(), b.as_str());
        }
        for (a, b) in std::mem::take(&mut self.parted).into_iter().chain(std::mem::take(&mut self.dark)) {
            self.sim.repair(a.as_str(), b.as_str());
        }
        for host in std::mem::take(&mut self.offline) {
            for other in self.others(&host) {
                self.sim.repair(host.as_str(), other.as_str());
            }
        }
        for (a, b) in std::mem::take(&mut self.slowed) {
            let drawn = self.latencies.iter().find(|(link, _)| same(link, &a, &b)).map_or(1, |(_, ms)| *ms);
            self.sim.set_link_latency(a.as_str(), b.as_str(), Duration::from_millis(drawn));
        }
        let down: Vec<String> =
            self.machines.iter().filter(|(_, machine)| !machine.up).map(|(name, _)| name.clone()).collect();
        for host in down {
            self.restart(&host);
        }
    }

    /// Kills every host, so that no destructor touches a simulated file outside the simulation.
    pub(super) fn shut_down(&mut self) {
        let names: Vec<String> = self.machines.keys().cloned().collect();
        for name in names {
            self.kill(&name);
        }
    }
}

fn same((one, other): &(String, String), a: &str, b: &str) -> bool {
    (one == a && other == b) || (one == b && other == a)
}
