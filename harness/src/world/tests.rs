//! The machinery that every story stands on: exact bytes, lost writes, dead links.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turnkeep_host::{Connection, Entropy, Host};
use turnkeep_session::Disk;
use turnkeep_session::conformance::{self, DiskLife, FaultyDisk};

use super::host::world_host;
use super::net::Shapes;
use super::sim::Machines;
use super::{World, stage};
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
    machines.add("server", FaultyDisk::new(), move || {
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
    machines.add("client", FaultyDisk::new(), move || {
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
fn what_was_open_when_a_host_went_offline_is_silent_for_good_though_nothing_was_on_its_way() {
    let mut pair = pair();
    pair.until(150);
    assert_eq!(pair.heard(), [Ok(10)]);

    // Between two of the server's words.
    pair.machines.go_offline("client");
    pair.until(160);
    pair.machines.go_online("client");
    pair.until(600);
    assert_eq!(pair.heard(), []);
    pair.machines.heal();
    pair.until(1200);

    assert_eq!(pair.heard(), [], "nor does it come to an end");
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
fn after_crash(write: fn(&DiskLife)) -> Vec<u8> {
    let trace = Trace::new();
    let mut machines = Machines::new(1, trace.clone(), Shapes::default());
    let (disk, found) = (FaultyDisk::new(), Rc::new(RefCell::new(None)));
    let (own, notes) = (disk.clone(), found.clone());
    machines.add("server", disk, move || {
        let (disk, notes) = (own.life(), notes.clone());
        async move {
            let bytes = Disk::read(&disk).unwrap();
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

struct LateWriter(DiskLife);

impl Drop for LateWriter {
    fn drop(&mut self) {
        assert!(self.0.append(b"from the grave").is_err(), "the process is dead before its host is");
        assert!(self.0.sync().is_err());
    }
}

#[test]
fn synced_writes_survive_a_crash_and_of_others_any_part_d12() {
    let synced = after_crash(|disk| {
        disk.append(b"kept").unwrap();
        disk.sync().unwrap();
        (0..64).for_each(|_| disk.append(&[b'x'; 512]).unwrap());
    });
    let cut = after_crash(|disk| {
        disk.append(b"kept and cut").unwrap();
        disk.truncate(4).unwrap();
        disk.sync().unwrap();
    });

    assert!(synced.starts_with(b"kept"));
    assert_ne!(synced.iter().filter(|byte| **byte == b'x').count(), 64 * 512, "something is lost, with this seed");
    assert_eq!(cut, b"kept");
}

#[test]
fn every_store_passes_its_suites_on_a_simulated_disk_d12_d26() {
    let suites = |host: Host| async move {
        for (store, seed) in [(Store::Redb, 0), (Store::Redb, 1), (Store::Journal, 0), (Store::Journal, 1)] {
            let disk = FaultyDisk::new();
            conformance::check(seed, || async { stage::open(store, &host, disk.life()).await.unwrap() }).await;
            conformance::check_failing(seed, |life| stage::open(store, &host, life)).await;
        }
    };

    World::new(1).run("server", 1_000, suites).unwrap();
}
