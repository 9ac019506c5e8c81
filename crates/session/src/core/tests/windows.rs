//! A core with tiny windows over a store answers like one that remembers everything (D-6, D-7), whatever happens in whatever order.

use proptest::prelude::*;

use super::*;
use crate::SnapshotId;
use crate::core::{Cold, ColdPart, DRAIN, Looked, shown};
use crate::storage::{Bounds, Window, Windows};

/// A core and its store, with what a server does between the two.
struct Node {
    core: Core,
    store: Tables,
    windows: Windows,
}

impl Node {
    fn new(windows: Windows) -> Self {
        let core = Core::load(Loaded::default(), Entropy::from_seed(1).draws(), LEASE).with_windows(windows);
        Self { core, store: Tables::default(), windows }
    }

    fn commit(&mut self) {
        self.store.apply(self.core.take_changes());
        self.core.committed();
    }

    fn reload(&mut self, seed: u64) {
        self.commit();
        let ids = Entropy::from_seed(seed).draws();
        self.core = Core::load(self.store.load(self.windows), ids, LEASE).with_windows(self.windows);
    }

    fn once<T>(
        &mut self,
        part: Option<&PartId>,
        command: impl Fn(&mut Core, Option<&Looked>) -> Result<T, Refused>,
    ) -> Result<T, Refused> {
        match command(&mut self.core, None) {
            Err(Refused::ColdPart(ColdPart { session, channel, up_to })) => {
                self.commit();
                let found = self.store.part(&session, channel, part.unwrap());
                command(&mut self.core, Some(&Looked { up_to, found }))
            }
            answered => answered,
        }
    }

    fn with_run<T>(&mut self, command: impl Fn(&mut Core, RunLook) -> Result<T, Refused>) -> Result<T, Refused> {
        match command(&mut self.core, RunLook::NotYet) {
            Err(Refused::ColdRun(run)) => {
                self.commit();
                let look = look_of(self.store.run(&run));
                command(&mut self.core, look)
            }
            answered => answered,
        }
    }

    fn cold(&mut self, channel: ChannelName, cold: &Cold, bounds: Bounds) -> Vec<Record> {
        self.commit();
        self.store.read(&cold.session, channel, cold.from, bounds)
    }

    /// Reads a channel to its end, helping by helping.
    fn read(&mut self, channel: ChannelName, mut next: SeqNum) -> Vec<Record> {
        let mut all = Vec::new();
        loop {
            let helping = self.core.read("chat", channel, next).unwrap();
            let records = match &helping.cold {
                Some(cold) => self.cold(channel, cold, Bounds { records: 3, bytes: 200 }),
                None => helping.records,
            };
            let Some(last) = records.last() else { return all };
            next = last.seq_num.next();
            all.extend(records);
        }
    }

    fn drain(&mut self, channel: ChannelName, cursor: Option<SeqNum>) -> Vec<DrainedRecord> {
        match self.core.drain("chat", channel, cursor).unwrap() {
            Drained::Here(records) => records,
            Drained::Cold(cold) => shown(&self.cold(channel, &cold, DRAIN)),
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(bool, Option<u8>, u8),
    Batch(u8, Option<u8>),
    Trim(u64),
    Boundary(u64),
    Lease,
    End,
    Swap(u8),
    Wait(u8),
    Pass(u64),
    Read(bool, u64),
    Drain(bool, Option<u64>),
    Peek,
    Snapshot(u64),
    Commit,
    Reload,
}

fn op() -> impl Strategy<Value = Op> {
    let part = || proptest::option::weighted(0.8, 0..12_u8);
    prop_oneof![
        8 => (any::<bool>(), part(), 0..60_u8).prop_map(|(out, part, size)| Op::Append(out, part, size)),
        6 => (1..4_u8, part()).prop_map(|(n, part)| Op::Batch(n, part)),
        3 => (0..60_u64).prop_map(Op::Trim),
        2 => (0..20_u64).prop_map(Op::Boundary),
        4 => Just(Op::Lease),
        2 => Just(Op::End),
        2 => any::<u8>().prop_map(Op::Swap),
        2 => any::<u8>().prop_map(Op::Wait),
        2 => (0..30_u64).prop_map(Op::Pass),
        4 => (any::<bool>(), 0..60_u64).prop_map(|(out, next)| Op::Read(out, next)),
        4 => (any::<bool>(), proptest::option::of(0..60_u64)).prop_map(|(out, cursor)| Op::Drain(out, cursor)),
        3 => Just(Op::Peek),
        2 => (0..9_u64).prop_map(Op::Snapshot),
        6 => Just(Op::Commit),
        2 => Just(Op::Reload),
    ]
}

/// What the outside world knows; the same on both sides, or the sides have differed before.
#[derive(Default)]
struct Outside {
    now: u64,
    leased: Vec<LeasedRun>,
    reloads: u64,
}

fn side(out: bool) -> ChannelName {
    if out { OUT } else { IN }
}

/// Does one step and gives everything that could be seen of it.
fn step(node: &mut Node, outside: &Outside, op: &Op) -> String {
    let now = Timestamp::from_millis(1_000_000 + outside.now);
    node.core.tick(now);
    let writers: Vec<Writer> = outside.leased.iter().map(writer).collect();
    let (last, any) = (writers.last(), |n: u8| writers.get(usize::from(n) % writers.len().max(1)));
    let name = |part: &Option<u8>| part.map(|part| PartId::new(part.to_string()));
    match op {
        Op::Append(out, part, size) => {
            let (part, body) = (name(part), "x".repeat(usize::from(*size)));
            let append = |core: &mut Core, looked: Option<&Looked>| {
                core.append(now, "chat", side(*out), &body, part.clone(), None, looked)
            };
            format!("{:?}", node.once(part.as_ref(), append))
        }
        Op::Batch(n, part) => {
            let part = name(part);
            let records: Vec<_> = (0..*n).map(|n| data(&n.to_string())).collect();
            let write = |core: &mut Core, looked: Option<&Looked>| {
                core.write_out(now, "chat", last, &records, part.clone(), looked)
            };
            format!("{:?}", node.once(part.as_ref(), write))
        }
        Op::Trim(to) => {
            let records = [NewRecord::trim(SeqNum::new(*to))];
            format!("{:?}", node.core.write_out(now, "chat", last, &records, None, None))
        }
        Op::Boundary(to) => format!("{:?}", node.core.write_out(now, "chat", last, &[turn_complete(*to)], None, None)),
        Op::End => {
            let end = EndRun { outcome: failed(), settled_cursor: None, consumed_cursor: None };
            format!("{:?}", last.map(|writer| node.core.end(now, writer, end)))
        }
        Op::Swap(n) => {
            let run = any(*n).map_or(RunId::new("run_none"), |writer| writer.run.clone());
            format!("{:?}", node.with_run(|core, look| core.end_and_continue(now, new_swap(&run), look)))
        }
        Op::Wait(n) => {
            let nobody = Writer { run: RunId::new("run_none"), attempt: 1 };
            let writer = any(*n).unwrap_or(&nobody);
            format!("{:?}", node.with_run(|core, look| core.create_wait(now, writer, new_wait("chat"), look)))
        }
        Op::Lease | Op::Pass(_) | Op::Reload => String::new(),
        Op::Read(out, next) => format!("{:?}", node.read(side(*out), SeqNum::new(*next))),
        Op::Drain(out, cursor) => format!("{:?}", node.drain(side(*out), cursor.map(SeqNum::new))),
        Op::Peek => {
            let opened = [IN, OUT].map(|channel| node.core.open("chat", channel, Some(SeqNum::new(3)), true));
            format!("{opened:?} {:?}", node.core.find("chat").unwrap().summary)
        }
        Op::Snapshot(end) => {
            let id = node.core.find("chat").unwrap().row.id.clone();
            let put = node.core.put_snapshot(now, &id, None, Some(SeqNum::new(*end)), SnapshotId(*end));
            node.commit();
            format!("{put:?} {:?}", node.core.snapshot(&id))
        }
        Op::Commit => {
            node.commit();
            String::new()
        }
    }
}

fn lease(node: &mut Node, now: Timestamp) -> Option<LeasedRun> {
    let request = LeaseRequest {
        worker_id: WorkerId::new("w"),
        task_ids: vec![TaskId::new("agent")],
        version: "1".to_owned(),
        timeout_in_seconds: 0,
    };
    node.core.lease(now, &request)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn tiny_windows_over_a_store_answer_like_a_memory_of_everything_d6_d7_s54_s76(
        ops in proptest::collection::vec(op(), 1..80),
        records in 0..6_usize,
        bytes in 0..300_usize,
        parts in 0..5_usize,
    ) {
        let live = Window { records: Bounds { records, bytes }, parts };
        let idle = Window { records: Bounds { records: records / 3, bytes }, parts: parts / 3 };
        let whole = Window { records: Bounds { records: usize::MAX, bytes: usize::MAX }, parts: usize::MAX };
        let mut nodes = [Node::new(Windows { live, idle }), Node::new(Windows::all(whole))];
        let mut outside = Outside::default();
        let create = |node: &mut Node| {
            let new = new_session(Some("chat"), json!({ "chatId": "chat" }));
            format!("{:?}", node.core.create(Timestamp::from_millis(1_000_000), new).unwrap())
        };
        let [a, b] = &mut nodes;
        assert_eq!(create(a), create(b));

        for op in &ops {
            match op {
                Op::Pass(hours) => outside.now += hours * 3_600_000 / 4,
                Op::Reload => outside.reloads += 1,
                _ => {}
            }
            if let Op::Reload = op {
                nodes.iter_mut().for_each(|node| node.reload(100 + outside.reloads));
            }
            let before = outside.leased.len();
            let [here, there] = nodes.each_mut().map(|node| {
                if let Op::Lease = op {
                    let now = Timestamp::from_millis(1_000_000 + outside.now);
                    node.core.tick(now);
                    let run = lease(node, now);
                    outside.leased.extend(run.clone());
                    return format!("{run:?}");
                }
                step(node, &outside, op)
            });
            prop_assert_eq!(here, there, "{:?}", op);
            // Both sides have leased the same run.
            outside.leased.truncate(before + (outside.leased.len() - before) / 2);
        }
    }
}
