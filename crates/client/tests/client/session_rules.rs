//! What the session chapter asks of a client and no other test shows (S §4.5, §6.4).

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use turnkeep_client::RetryPolicy;
use turnkeep_protocol::SeqNum;

use crate::fake::{After, AppendPlan, ReadPlan};
use crate::net::settle;
use crate::reader::{Scene, out};
use crate::rig::Rig;

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_at_once_while_it_connects_reads_or_waits_s126() {
    let waiting = RetryPolicy { retry_delay: Duration::from_secs(5), retry_jitter: 0.0, ..RetryPolicy::default() };
    for plan in [ReadPlan::Hang, ReadPlan::serve(0, After::Follow), ReadPlan::Refuse(503)] {
        let mut scene = Scene::new(out().policy(waiting.clone())).await;
        scene.fake.on_read(plan);
        let handle = scene.reader.handle();
        let started = Instant::now();

        let fake = scene.fake.clone();
        let (ended, ()) = tokio::join!(scene.reader.next(), async {
            fake.wait_for_reads(1).await;
            settle().await;
            handle.cancel();
        });

        assert_eq!((ended.unwrap(), scene.fake.reads().len()), (None, 1));
        assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_lets_go_of_its_connection_before_the_next_begins_s128() {
    let stall_timeout = Some(Duration::from_secs(60));
    let mut scene = Scene::new(out().policy(RetryPolicy { stall_timeout, ..RetryPolicy::default() })).await;
    // The server never closes these by itself.
    (0..50).for_each(|_| scene.fake.on_read(ReadPlan::serve(0, After::Silent)));
    scene.fake.say("a");

    scene.reader.next().await.unwrap().unwrap();

    settle().await;
    assert_eq!((scene.fake.reads().len(), scene.fake.open_reads()), (51, 1));
}

#[tokio::test(start_paused = true)]
async fn one_send_is_its_record_as_json_under_one_part_id_of_21_characters_s176() {
    let rig = Rig::start().await;
    (0..2).for_each(|_| rig.fake.on_append(AppendPlan::StoreThen(503)));

    let stream = rig.send("hi").await.unwrap();
    rig.send("again").await.unwrap();

    assert_eq!(stream.input_seq(), Some(SeqNum::ZERO));
    let appends = rig.fake.appends();
    let ids: Vec<&str> = appends.iter().map(|append| append.part_id.as_str()).collect();
    assert_eq!(ids.iter().map(|id| id.len()).collect::<Vec<_>>(), [21; 4]);
    assert!(ids[..3].iter().all(|id| *id == ids[0]) && ids[3] != ids[0], "{ids:?}");
    assert_eq!(appends[0].body["kind"], json!("message"), "a record is no text inside a text");
}
