//! The machinery that every story stands on: exact bytes, lost writes, dead links.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turnkeep_host::{Connection, Entropy, Host};
use turnkeep_session::{Disk as _, conformance};

use super::disk::{Fence, JOURNAL, WorldDisk};
use super::host::world_host;
use super::net::Shapes;
use super::sim::Machines;
use super::stage;
use crate::scenario::Store;
use crate::trace::Trace;

/// A world of two machines: `server` sends what it is told to, `client` writes down what it reads.
struct Pair {
    machines: Machines<'static>,
    heard: Rc<RefCell<Vec<Result<usize, String>>>>,
    shapes: Shapes,
    trace: Trace,
}

async fn hear(mut connection: Connection, heard: Rc<RefCell<Vec<Result<usize, String>>>>) {
    let mut buffer = [0; 64];
    loop {
        let read = connection.read(&mut buffer).await;
        let news = read.map_err(|error| error.kind().to_string());
        let ended = !matches!(news, Ok(n) if n > 0);
        heard.borrow_mut().push(news);
        if ended {
            return;
        }
    }
}

fn pair() -> Pair {
    let (trace, shapes) = (Trace::new(), Shapes::default());
    let mut machines = Machines::new(1, trace.clone(), shapes.clone());
    let heard = Rc::new(RefCell::new(Vec::new()));
    let host = {
        let (trace, shapes) = (trace.clone(), shapes.clone());
        move |name: &str| -> Host { world_host(name, 0, &Entropy::from_seed(1), &trace, &shapes) }
    };
    let server = host.clone();
    machines.add("server", Fence::default(), move || {
        let host = server("server");
        async move {
            let mut port = host.net().listen("0.0.0.0:80").await.unwrap();
            let mut connection = port.accept().await.unwrap();
            loop {
                tokio::time::sleep(Duration::from_millis(100)).await;
                if connection.write_all(b"0123456789").await.is_err() {
                    return;
                }
            }
        }
    });
    let notes = heard.clone();
    machines.add("client", Fence::default(), move || {
        let (host, notes) = (host("client"), notes.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let connection = host.net().dial("server:80").await.unwrap();
            hear(connection, notes).await;
        }
    });
    Pair { machines, heard, shapes, trace }
}

impl Pair {
    fn until(&mut self, ms: u64) {
        while self.trace.now() < ms {
            self.machines.tick().unwrap();
        }
    }

    /// Gives what the client has heard since the last question.
    fn heard(&self) -> Vec<Result<usize, String>> {
        self.heard.borrow_mut().drain(..).collect()
    }
}

const RESET: &str = "connection reset";

#[test]
fn a_cut_lets_exactly_so_many_bytes_through_and_then_resets() {
    for after in [0, 1, 9, 10, 15] {
        let mut pair = pair();
        pair.machines.cut("client", "server", after);

        pair.until(500);

        let heard = pair.heard();
        let bytes: usize = heard.iter().flatten().sum();
        assert_eq!((bytes, heard.last()), (after, Some(&Err(RESET.to_owned()))), "{heard:?}");
    }
}

#[test]
fn a_cut_waits_for_a_byte() {
    let mut pair = pair();
    pair.machines.cut("client", "server", 0);

    pair.until(90);

    assert_eq!(pair.heard(), [], "nothing was sent yet");
}

#[test]
fn a_dribbled_link_hands_over_small_pieces() {
    let mut pair = pair();
    pair.machines.dribble("client", "server", 3);

    pair.until(150);

    assert_eq!(pair.heard(), [Ok(3), Ok(3), Ok(3), Ok(1)]);
}

#[test]
fn a_held_link_delivers_everything_when_it_is_released() {
    let mut pair = pair();
    pair.until(50);
    pair.machines.hold("client", "server");

    pair.until(450);
    let before = pair.heard();
    pair.machines.release("client", "server");
    pair.until(470);

    let after: usize = pair.heard().iter().flatten().sum();
    assert_eq!((before, after), (Vec::new(), 40));
}

#[test]
fn a_crash_is_heard_and_a_power_loss_is_not() {
    let (mut crash, mut power) = (pair(), pair());
    for pair in [&mut crash, &mut power] {
        pair.until(150);
        pair.heard();
    }

    crash.machines.crash("server");
    power.machines.power_loss("server");
    crash.until(400);
    power.until(400);

    assert_eq!(crash.heard(), [Ok(0)], "the process's sockets close");
    assert_eq!(power.heard(), [], "a machine without power says nothing");
}

#[test]
fn a_restart_mends_what_the_power_loss_cut_and_not_what_the_story_cut() {
    let mut pair = pair();
    pair.until(150);
    pair.machines.partition("client", "server");
    pair.machines.power_loss("server");
    pair.machines.restart("server");
    pair.until(200);
    pair.heard();

    pair.until(600);
    let cut = pair.heard();
    pair.machines.heal();
    pair.machines.crash("client");
    pair.machines.restart("client");
    pair.until(900);

    assert_eq!(cut, [], "the story's partition outlives the restart");
    assert!(pair.heard().contains(&Ok(10)), "a healed world carries bytes again");
    assert!(pair.shapes.is_clear());
}

/// Runs `write` on a machine's disk in its first life, crashes it, and gives what the second life reads.
fn after_crash(write: fn(&WorldDisk)) -> Vec<u8> {
    let trace = Trace::new();
    let mut machines = Machines::new(1, trace.clone(), Shapes::default());
    let (fence, found) = (Fence::default(), Rc::new(RefCell::new(None)));
    let (gate, notes) = (fence.clone(), found.clone());
    machines.add("server", fence, move || {
        let (gate, notes) = (gate.clone(), notes.clone());
        async move {
            let disk = WorldDisk::open(&gate, JOURNAL).unwrap();
            let bytes = disk.read().unwrap();
            let first_life = notes.borrow().is_none();
            *notes.borrow_mut() = Some(bytes);
            if first_life {
                write(&disk);
                // What a destructor writes while the host dies must not count.
                let _late = LateWriter(disk);
                std::future::pending::<()>().await;
            }
        }
    });
    for _ in 0..5 {
        machines.tick().unwrap();
    }
    machines.crash("server");
    machines.restart("server");
    for _ in 0..5 {
        machines.tick().unwrap();
    }
    machines.shut_down();
    found.take().unwrap()
}

struct LateWriter(WorldDisk);

impl Drop for LateWriter {
    fn drop(&mut self) {
        assert!(self.0.append(b"from the grave").is_err(), "the fence stands before the host dies");
        assert!(self.0.sync().is_err());
    }
}

#[test]
fn synced_writes_survive_a_crash_and_others_do_not_d12() {
    let synced = after_crash(|disk| {
        disk.append(b"kept").unwrap();
        disk.sync().unwrap();
        disk.append(b"lost").unwrap();
    });
    let unsynced = after_crash(|disk| disk.append(b"lost").unwrap());
    let cut = after_crash(|disk| {
        disk.append(b"kept and cut").unwrap();
        disk.truncate(4).unwrap();
        disk.sync().unwrap();
    });

    assert_eq!(synced, b"kept");
    assert_eq!(unsynced, b"");
    assert_eq!(cut, b"kept");
}

/// Runs the suite of stores on a simulated machine's disk.
fn conforms(store: Store, seed: u64) {
    let (trace, shapes) = (Trace::new(), Shapes::default());
    let mut machines = Machines::new(seed, trace.clone(), shapes.clone());
    let is_through = Rc::new(Cell::new(false));
    let (fence, notes) = (Fence::default(), is_through.clone());
    let gate = fence.clone();
    machines.add("server", fence, move || {
        let host = world_host("server", 0, &Entropy::from_seed(seed), &trace, &shapes);
        let (gate, notes) = (gate.clone(), notes.clone());
        async move {
            conformance::check(seed, || async { stage::open(store, &host, &gate).await.unwrap() }).await;
            notes.set(true);
        }
    });

    machines.tick().unwrap();
    machines.shut_down();

    assert!(is_through.get(), "nothing in a suite waits");
}

#[test]
fn a_store_on_a_simulated_disk_gives_back_what_was_committed_over_its_lives_d12_d26() {
    for seed in 0..2 {
        conforms(Store::Redb, seed);
        conforms(Store::Journal, seed);
    }
}
