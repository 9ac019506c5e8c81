//! A recorded stream under a reader whose connections break, wherever that may be (C-27, C-32, C-39).
//!
//! `recorded/two-turns.sse` is what the served agent `tool` wrote in two turns, byte for byte, but for its tokens.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use proptest::prelude::*;
use turnkeep_client::{Part, Reader};
use turnkeep_host::{Task, http::serve};
use turnkeep_protocol::sse::{self, FrameDecoder};
use turnkeep_protocol::{Batch, SeqNum};

use crate::fake::Body;
use crate::net;
use crate::reader::out;

const RECORDED: &str = include_str!("recorded/two-turns.sse");

/// The places of the recording that readers see; the last record of all is a command.
const SEEN: std::ops::Range<u64> = 0..32;

/// How a connection ends before its body does.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// After so many bytes.
    Bytes(usize),
    /// After so many records, each in a frame of its own.
    Records(usize),
}

/// The recording, a frame each; batches are read.
#[derive(Clone)]
struct Recording(Arc<Vec<Recorded>>);

enum Recorded {
    Batch(Batch),
    /// A ping, or the end.
    Other(String),
}

/// Serves the recording behind any cursor; each connection ends as the script says, and those behind its end go to the end.
struct Player {
    recording: Recording,
    cuts: Mutex<VecDeque<Cut>>,
    /// The cursors of all connections.
    asked: Mutex<Vec<Option<SeqNum>>>,
}

impl Player {
    fn new(recording: &Recording, cuts: impl IntoIterator<Item = Cut>) -> Arc<Self> {
        Arc::new(Self {
            recording: recording.clone(),
            cuts: Mutex::new(cuts.into_iter().collect()),
            asked: Mutex::default(),
        })
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Body> {
        let cursor =
            request.headers().get("last-event-id").map(|id| SeqNum::parse_cursor(id.to_str().unwrap()).unwrap());
        self.asked.lock().unwrap().push(cursor);
        match self.cuts.lock().unwrap().pop_front() {
            None => respond(self.recording.body(cursor).into_bytes(), false),
            Some(Cut::Bytes(n)) => {
                // A place between the bytes of one character is a place like any other.
                let whole = self.recording.body(cursor).into_bytes();
                respond(whole[..n.min(whole.len())].to_vec(), n < whole.len())
            }
            Some(Cut::Records(n)) => {
                let frames = self.recording.one_by_one(cursor);
                let is_cut = n < frames.len();
                respond(frames.into_iter().take(n).collect::<String>().into_bytes(), is_cut)
            }
        }
    }
}

impl Recording {
    fn load() -> Self {
        let frames = FrameDecoder::new().push(RECORDED.as_bytes()).unwrap();
        let read = |frame: sse::Frame| match frame.event.as_str() {
            "batch" => Recorded::Batch(serde_json::from_str(&frame.data).unwrap()),
            _ => Recorded::Other(frame.encode()),
        };
        Self(Arc::new(frames.into_iter().map(read).collect()))
    }

    /// Gives the body behind `cursor`, its frames as recorded; what is behind a cursor begins with its first batch.
    fn body(&self, cursor: Option<SeqNum>) -> String {
        let is_behind = |recorded: &&Recorded| match recorded {
            Recorded::Other(_) => cursor.is_none(),
            Recorded::Batch(batch) => batch.records.last().map(|last| last.seq_num) > cursor,
        };
        let frame = |recorded: &Recorded| match recorded {
            Recorded::Other(frame) => frame.clone(),
            Recorded::Batch(batch) => {
                let records = batch.records.iter().filter(|record| Some(record.seq_num) > cursor).cloned().collect();
                batch_frame(&Batch { records, tail: batch.tail })
            }
        };
        self.0.iter().skip_while(|recorded| !is_behind(recorded)).map(frame).collect()
    }

    /// Gives the records behind `cursor`, in a frame each.
    fn one_by_one(&self, cursor: Option<SeqNum>) -> Vec<String> {
        let batches = self.0.iter().filter_map(|recorded| match recorded {
            Recorded::Batch(batch) => Some(batch),
            Recorded::Other(_) => None,
        });
        let records = batches.flat_map(|batch| batch.records.iter().map(|record| (record.clone(), batch.tail)));
        let behind = records.filter(|(record, _)| Some(record.seq_num) > cursor);
        behind.map(|(record, tail)| batch_frame(&Batch { records: vec![record], tail })).collect()
    }
}

fn batch_frame(batch: &Batch) -> String {
    sse::Frame::named("batch", serde_json::to_string(batch).unwrap()).encode()
}

fn respond(body: Vec<u8>, is_cut: bool) -> Response<Body> {
    let end = is_cut.then(|| Err(io::ErrorKind::ConnectionReset.into()));
    let pieces = stream::iter([Ok(Bytes::from(body))].into_iter().chain(end));
    // The bytes before the break are on the wire when it comes.
    let pieces = futures::StreamExt::then(pieces, |piece: io::Result<Bytes>| async {
        tokio::task::yield_now().await;
        piece.map(Frame::data)
    });
    Response::builder()
        .header("x-stream-version", "v2")
        .header("content-type", "text/event-stream")
        .body(BodyExt::boxed_unsync(StreamBody::new(pieces)))
        .unwrap()
}

/// Reads the recording behind `cursor` to its end under these cuts.
async fn read(player: &Arc<Player>, cursor: Option<SeqNum>) -> Vec<Part> {
    let host = net::host();
    let listener = host.net().listen("session:80").await.unwrap();
    let (served, own_host) = (player.clone(), host.clone());
    let _server: Task = host.spawn(async move {
        let service = tower::service_fn(move |request| {
            let served = served.clone();
            async move { Ok::<_, Infallible>(served.answer(&request)) }
        });
        match serve(&own_host, listener, service).await {}
    });
    let draws = host.entropy().child("jitter").draws();
    let mut reader = Reader::new(host, "http://session".parse().unwrap(), out().after(cursor), draws);
    let mut parts = Vec::new();
    while let Some(part) = reader.next().await.unwrap() {
        parts.push(part);
    }
    parts
}

fn places(parts: &[Part]) -> Vec<u64> {
    parts.iter().map(|part| part.seq_num.get()).collect()
}

/// Whoever asks again names the last record that had come whole, and gets nothing twice.
fn check_cursors(player: &Player) {
    let asked = player.asked.lock().unwrap();
    assert!(asked.is_sorted(), "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_recorded_stream_cut_at_every_byte_is_read_whole_and_once_c27_c32_c39() {
    let recording = Recording::load();
    let whole = read(&Player::new(&recording, []), None).await;
    assert_eq!(places(&whole), SEEN.collect::<Vec<_>>());
    let n_bytes = recording.body(None).len();

    for cut in 0..n_bytes {
        let player = Player::new(&recording, [Cut::Bytes(cut)]);

        let parts = read(&player, None).await;

        assert!(parts == whole, "cut at byte {cut}: {:?}", places(&parts));
        assert_eq!(player.asked.lock().unwrap().len(), 2, "cut at byte {cut}");
        check_cursors(&player);
    }
}

#[tokio::test(start_paused = true)]
async fn a_recorded_stream_is_read_whole_when_every_record_needs_a_connection_of_its_own_c32_c39() {
    let recording = Recording::load();
    let whole = read(&Player::new(&recording, []), None).await;
    let player = Player::new(&recording, [Cut::Records(1); 40]);

    let parts = read(&player, None).await;

    assert_eq!(parts, whole);
    let asked = player.asked.lock().unwrap().clone();
    // The last connection has the command alone, and ends in order.
    let want = std::iter::once(None).chain((0..32).map(|n| Some(SeqNum::new(n))));
    assert_eq!(asked, want.collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_begins_behind_any_record_gets_the_rest_c25_c32() {
    let recording = Recording::load();
    let whole = read(&Player::new(&recording, []), None).await;

    for last in SEEN {
        let parts = read(&Player::new(&recording, []), Some(SeqNum::new(last))).await;

        assert!(parts[..] == whole[last as usize + 1..], "behind {last}: {:?}", places(&parts));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Connection after connection breaks, at a byte or between two records.
    #[test]
    fn however_often_a_recorded_stream_is_cut_it_is_read_whole_and_once_c27_c32_c39(cuts in any_cuts()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let recording = Recording::load();
    let whole = read(&Player::new(&recording, []), None).await;
            let player = Player::new(&recording, cuts);

            let parts = read(&player, None).await;

            assert!(parts == whole, "{:?}", places(&parts));
            check_cursors(&player);
        });
    }
}

fn any_cuts() -> impl Strategy<Value = Vec<Cut>> {
    let cut = prop_oneof![
        (0..6_000_usize).prop_map(Cut::Bytes),
        (0..500_usize).prop_map(Cut::Bytes),
        (1..8_usize).prop_map(Cut::Records)
    ];
    proptest::collection::vec(cut, 0..12)
}
