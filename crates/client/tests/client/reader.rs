//! The reader over the network: what it asks for and what it gives (C §2.1).

use std::sync::Arc;

use futures::FutureExt;
use serde_json::json;
use turnkeep_client::{HistoryGap, ReadOptions, Reader, RetryPolicy};
use turnkeep_host::Host;
use turnkeep_protocol::{ChannelName, SeqNum};

use crate::fake::{After, Fake, ReadPlan};
use crate::net::{self, settle};

/// A server with records and a reader on it.
pub struct Scene {
    pub fake: Arc<Fake>,
    pub reader: Reader,
    _server: turnkeep_host::Task,
}

impl Scene {
    pub async fn new(options: ReadOptions) -> Self {
        let host = net::host();
        let fake = Arc::new(Fake::default());
        let (_, server) = fake.serve(&host, "session:80").await;
        Self { fake, reader: reader(&host, options), _server: server }
    }

    /// Reads to the clean end; gives the places.
    pub async fn places(&mut self) -> Vec<u64> {
        let mut places = Vec::new();
        while let Some(part) = self.reader.next().await.unwrap() {
            places.push(part.seq_num.get());
        }
        places
    }
}

fn reader(host: &Host, options: ReadOptions) -> Reader {
    Reader::new(host.clone(), "http://session".parse().unwrap(), options, host.entropy().child("jitter").draws())
}

pub fn out() -> ReadOptions {
    ReadOptions::new("chat 1", ChannelName::Out, "token")
}

#[tokio::test(start_paused = true)]
async fn it_asks_with_token_window_and_cursor_and_reads_either_channel_c25_s146() {
    let options = ReadOptions::new("chat 1", ChannelName::In, "secret");
    let mut scene = Scene::new(options.after(Some(SeqNum::ZERO)).timeout_seconds(600)).await;
    scene.fake.data(&json!(r#"{"kind":"stop"}"#));
    scene.fake.data(&json!(r#"{"kind":"handover-skip"}"#));
    scene.fake.on_read(ReadPlan::serve(1, After::Done));

    let part = scene.reader.next().await.unwrap().unwrap();

    assert_eq!((part.seq_num, part.chunk), (SeqNum::new(1), Some(json!(r#"{"kind":"handover-skip"}"#))));
    let asked = &scene.fake.reads()[0];
    assert_eq!(asked.path, "/realtime/v1/sessions/chat%201/in");
    assert_eq!((asked.token.as_str(), asked.cursor.as_deref(), asked.peek), ("secret", Some("0"), false));
    assert_eq!(asked.window.as_deref(), Some("600"));
}

#[tokio::test(start_paused = true)]
async fn every_byte_cut_of_the_body_reads_the_same_c27_ca23() {
    for bytes in 1..80 {
        let mut scene = Scene::new(out()).await;
        scene.fake.cut(bytes);
        for text in ["é", "😀", "three"] {
            scene.fake.say(text);
        }
        scene.fake.trim_command();
        scene.fake.boundary(0);
        scene.fake.on_read(ReadPlan::serve(usize::MAX, After::Done));

        assert_eq!(scene.places().await, [0, 1, 2, 4], "pieces of {bytes} bytes");
    }
}

#[tokio::test(start_paused = true)]
async fn a_break_after_every_record_loses_and_doubles_nothing_c37_cr3() {
    // S-122.
    let n_records = 6;
    for at in 0..=n_records {
        let mut scene = Scene::new(out()).await;
        (0..n_records).for_each(|n| scene.fake.say(&n.to_string()));
        scene.fake.on_read(ReadPlan::serve(at, After::Break));
        scene.fake.on_read(ReadPlan::serve(usize::MAX, After::Done));

        assert_eq!(scene.places().await, [0, 1, 2, 3, 4, 5], "break after {at}");

        let cursor = at.checked_sub(1).map(|last| last.to_string());
        assert_eq!(scene.fake.reads()[1].cursor, cursor, "the decode cursor is what is asked for next");
    }
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_is_the_callers_to_judge_c38() {
    let mut scene = Scene::new(out()).await;
    scene.fake.say("a");
    scene.fake.on_read(ReadPlan::serve(1, After::Done));

    assert_eq!(scene.places().await, [0]);
    assert_eq!(scene.reader.next().await.unwrap(), None, "an ended reader stays ended");
    assert_eq!(scene.fake.reads().len(), 1, "it never reconnects by itself");

    scene.reader.resubscribe();
    scene.fake.say("b");
    let part = scene.reader.next().await.unwrap().unwrap();
    assert_eq!(part.seq_num, SeqNum::new(1));
}

#[tokio::test(start_paused = true)]
async fn settled_is_taken_from_every_response_anew_c36() {
    let mut scene = Scene::new(out().peek_settled()).await;
    scene.fake.on_read(ReadPlan::settled());
    scene.fake.on_read(ReadPlan::serve(0, After::Done));

    scene.places().await;
    assert!(scene.reader.session_settled());
    assert!(scene.fake.reads()[0].peek);
    scene.reader.resubscribe();
    scene.places().await;
    assert!(!scene.reader.session_settled());
}

#[tokio::test(start_paused = true)]
async fn a_trimmed_cursor_is_reported_as_a_gap_once_d57() {
    let mut scene = Scene::new(out().after(Some(SeqNum::ZERO))).await;
    (0..4).for_each(|n| scene.fake.say(&n.to_string()));
    scene.fake.trim_to(3);
    let headers = vec![("x-first-available-seq", "3")];
    scene.fake.on_read(ReadPlan::Serve { max: 9, after: After::Done, headers });

    let part = scene.reader.next().await.unwrap().unwrap();

    assert_eq!(part.seq_num, SeqNum::new(3));
    let gap = HistoryGap { cursor: SeqNum::ZERO, first_available: SeqNum::new(3) };
    assert_eq!(scene.reader.take_history_gap(), Some(gap));
    assert_eq!(scene.reader.take_history_gap(), None);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_loses_nothing_and_keeps_its_connection() {
    let mut scene = Scene::new(out()).await;
    for _ in 0..20 {
        // Each call is dropped at its first wait: while connecting, and then while reading.
        assert!(scene.reader.next().now_or_never().is_none());
        settle().await;
    }

    scene.fake.say("a");
    let part = scene.reader.next().await.unwrap().unwrap();

    assert_eq!(part.seq_num, SeqNum::ZERO);
    assert_eq!(scene.fake.reads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_reader_closes_its_connection_c40_ca2() {
    let mut scene = Scene::new(out()).await;
    scene.fake.say("a");
    scene.reader.next().await.unwrap();
    assert_eq!(scene.fake.open_reads(), 1);

    let Scene { fake, reader, _server } = scene;
    drop(reader);
    settle().await;

    assert_eq!((fake.open_reads(), fake.reads().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn records_are_handed_out_on_demand_even_when_they_came_in_one_piece_c57() {
    let mut scene = Scene::new(out().policy(RetryPolicy::default())).await;
    (0..3).for_each(|n| scene.fake.say(&n.to_string()));

    let first = scene.reader.next().await.unwrap().unwrap();

    assert_eq!(first.seq_num, SeqNum::ZERO);
    scene.reader.handle().cancel();
    assert_eq!(scene.reader.next().await.unwrap(), None, "a cancel closes normally (C-39)");
}
