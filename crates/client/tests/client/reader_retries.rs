//! The reader when things fail: retries, timers and signals (C §2.2).

use std::time::Duration;

use tokio::time::Instant;
use turnkeep_client::{Error, RetryPolicy};
use turnkeep_protocol::SeqNum;

use crate::fake::{After, ReadPlan};
use crate::net::settle;
use crate::reader::{Scene, out};

fn stall_after(seconds: u64, max_stall_retries: Option<u32>) -> RetryPolicy {
    RetryPolicy { stall_timeout: Some(Duration::from_secs(seconds)), max_stall_retries, ..RetryPolicy::default() }
}

#[tokio::test(start_paused = true)]
async fn seven_failures_then_success_are_eight_attempts_and_no_error_ca1() {
    // SR-24.
    let mut scene = Scene::new(out()).await;
    (0..7).for_each(|_| scene.fake.on_read(ReadPlan::Refuse(503)));
    scene.fake.say("a");
    let started = Instant::now();

    let part = scene.reader.next().await.unwrap().unwrap();

    assert_eq!(part.seq_num, SeqNum::ZERO);
    assert_eq!(scene.fake.reads().len(), 8);
    // 100 + 200 + … + 3200 + 5000 ms, each between half and all of it (C-44).
    let waited = started.elapsed().as_millis();
    assert!((5_650..=11_310).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn a_final_status_is_one_attempt_and_keeps_its_status_c41_c42_ca10_ca13_cf12() {
    for status in [400, 401, 403, 404, 409, 410, 422] {
        let mut scene = Scene::new(out()).await;
        scene.fake.on_read(ReadPlan::Refuse(status));

        let error = scene.reader.next().await.unwrap_err();

        assert_eq!(error.status(), Some(status));
        assert_eq!(scene.reader.next().await.unwrap(), None, "the error is told once");
        assert_eq!(scene.fake.reads().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn hung_headers_are_dropped_after_their_deadline_c51_ca8() {
    // S-124.
    let mut scene = Scene::new(out()).await;
    scene.fake.on_read(ReadPlan::Hang);
    scene.fake.say("a");
    let started = Instant::now();

    scene.reader.next().await.unwrap().unwrap();

    assert_eq!(scene.fake.reads().len(), 2);
    let waited = started.elapsed().as_millis();
    assert!((30_050..=30_200).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn pings_do_not_restart_the_stall_timer_c52_ca9_rc2_cr3() {
    // S-124.
    let mut scene = Scene::new(out().policy(stall_after(60, None))).await;
    scene.fake.on_read(ReadPlan::serve(0, After::Ping));
    scene.fake.say("a");
    let started = Instant::now();

    scene.reader.next().await.unwrap().unwrap();

    assert_eq!(scene.fake.reads().len(), 2);
    let waited = started.elapsed().as_millis();
    assert!((60_050..=60_200).contains(&waited), "{waited} ms");
}

#[tokio::test(start_paused = true)]
async fn a_decoded_record_restarts_the_stall_timer_c52_d18() {
    let mut scene = Scene::new(out().policy(stall_after(60, None))).await;
    let fake = scene.fake.clone();

    let (places, ()) = tokio::join!(
        async {
            let mut places = Vec::new();
            while places.len() < 4 {
                places.push(scene.reader.next().await.unwrap().unwrap().seq_num.get());
            }
            places
        },
        async {
            for record in 0..4 {
                tokio::time::sleep(Duration::from_secs(59)).await;
                // A command is a record too, though nobody is shown it.
                if record == 1 { fake.trim_command() } else { fake.say("x") }
            }
            fake.say("last");
        }
    );

    assert_eq!(places, [0, 2, 3, 4]);
    assert_eq!(fake.reads().len(), 1, "236 s on one connection");
}

#[tokio::test(start_paused = true)]
async fn stalls_without_a_record_end_with_an_ordinary_error_c46_c53_cr5_ca16() {
    let mut scene = Scene::new(out().policy(stall_after(60, Some(2)))).await;
    (0..9).for_each(|_| scene.fake.on_read(ReadPlan::serve(0, After::Ping)));

    let error = scene.reader.next().await.unwrap_err();

    assert!(matches!(error, Error::RetriesExhausted { attempts: 3, .. }), "{error}");
    assert_eq!(scene.fake.reads().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_stall_timer_is_paused_while_the_consumer_is_the_slow_side_c57() {
    let mut scene = Scene::new(out().policy(stall_after(60, Some(0)))).await;
    scene.fake.say("a");
    scene.reader.next().await.unwrap().unwrap();

    tokio::time::sleep(Duration::from_secs(600)).await;
    let fake = scene.fake.clone();
    let (next, ()) = tokio::join!(scene.reader.next(), async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        fake.say("b");
    });

    assert_eq!(next.unwrap().unwrap().seq_num, SeqNum::new(1));
    assert_eq!(scene.fake.reads().len(), 1, "the connection was never dropped");
}

#[tokio::test(start_paused = true)]
async fn the_stall_timer_stands_still_between_two_waits_and_runs_on_in_them_c57() {
    let mut scene = Scene::new(out().policy(stall_after(60, Some(0)))).await;
    scene.fake.say("a");
    scene.reader.next().await.unwrap().unwrap();

    for _ in 0..5 {
        // Nobody waits for longer than ten seconds, and the rests between are long: not one second of them counts.
        assert!(tokio::time::timeout(Duration::from_secs(10), scene.reader.next()).await.is_err());
        tokio::time::sleep(Duration::from_secs(600)).await;
    }
    let begun = Instant::now();
    let last = scene.reader.next().await;

    assert!(last.is_err(), "60 s of waiting in all are a stall");
    assert_eq!(begun.elapsed().as_secs(), 10);
    assert_eq!(scene.fake.reads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_now_ends_a_backoff_and_does_nothing_else_c47_ca4() {
    // S-126.
    let policy = RetryPolicy { retry_delay: Duration::from_secs(5), ..RetryPolicy::default() };
    let mut scene = Scene::new(out().policy(policy)).await;
    let handle = scene.reader.handle();
    handle.retry_now();
    scene.fake.on_read(ReadPlan::Refuse(503));
    scene.fake.say("a");
    let started = Instant::now();

    let fake = scene.fake.clone();
    let (part, ()) = tokio::join!(scene.reader.next(), async {
        fake.wait_for_reads(1).await;
        tokio::time::sleep(Duration::from_millis(400)).await;
        assert_eq!(fake.reads().len(), 1, "the call before the backoff was not kept");
        handle.retry_now();
    });

    assert!(part.unwrap().is_some());
    assert!(started.elapsed() < Duration::from_millis(500));
    handle.retry_now();
    settle().await;
    assert_eq!(scene.fake.reads().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_hurry_ends_one_backoff_and_not_the_next_c47() {
    let policy = RetryPolicy { retry_delay: Duration::from_secs(5), retry_jitter: 0.0, ..RetryPolicy::default() };
    let mut scene = Scene::new(out().policy(policy)).await;
    let handle = scene.reader.handle();
    (0..2).for_each(|_| scene.fake.on_read(ReadPlan::Refuse(503)));
    scene.fake.say("a");
    let started = Instant::now();

    let fake = scene.fake.clone();
    let (part, ()) = tokio::join!(scene.reader.next(), async {
        fake.wait_for_reads(1).await;
        settle().await;
        handle.retry_now();
    });

    assert!(part.unwrap().is_some());
    assert!(started.elapsed() >= Duration::from_secs(5), "the second wait is a whole one");
}

#[tokio::test(start_paused = true)]
async fn a_forced_drop_ends_a_backoff_c48() {
    let policy = RetryPolicy { retry_delay: Duration::from_secs(5), ..RetryPolicy::default() };
    let mut scene = Scene::new(out().policy(policy)).await;
    let handle = scene.reader.handle();
    scene.fake.on_read(ReadPlan::Refuse(503));
    scene.fake.say("a");
    let started = Instant::now();

    let fake = scene.fake.clone();
    let (part, ()) = tokio::join!(scene.reader.next(), async {
        fake.wait_for_reads(1).await;
        settle().await;
        handle.force_reconnect();
    });

    assert!(part.unwrap().is_some());
    assert!(started.elapsed() < Duration::from_millis(100));
    assert_eq!(scene.fake.reads().len(), 2, "and drops nothing afterwards");
}

#[tokio::test(start_paused = true)]
async fn capped_backoff_stays_far_below_the_uncapped_total_ca3() {
    let policy = RetryPolicy {
        retry_delay: Duration::from_millis(10),
        max_retry_delay: Duration::from_millis(30),
        ..RetryPolicy::default()
    };
    let mut scene = Scene::new(out().policy(policy)).await;
    (0..5).for_each(|_| scene.fake.on_read(ReadPlan::Refuse(503)));
    scene.fake.say("a");
    let started = Instant::now();

    scene.reader.next().await.unwrap().unwrap();

    // 10 + 20 + 30 + 30 + 30 ms at most, where doubling without a cap would be up to 310.
    assert!(started.elapsed() < Duration::from_millis(140), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_during_backoff_ends_at_once_c50_ca5() {
    let policy = RetryPolicy { retry_delay: Duration::from_secs(5), ..RetryPolicy::default() };
    let mut scene = Scene::new(out().policy(policy)).await;
    let handle = scene.reader.handle();
    scene.fake.on_read(ReadPlan::Refuse(503));
    let started = Instant::now();

    let fake = scene.fake.clone();
    let (ended, ()) = tokio::join!(scene.reader.next(), async {
        fake.wait_for_reads(1).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        handle.cancel();
    });

    assert_eq!(ended.unwrap(), None);
    assert!(started.elapsed() < Duration::from_millis(50));
    assert_eq!(scene.fake.reads().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_forced_drop_resumes_after_the_last_record_and_two_act_once_c48_c49_ca6() {
    // S-126.
    let mut scene = Scene::new(out()).await;
    let handle = scene.reader.handle();
    handle.force_reconnect();
    scene.fake.say("a");
    let started = Instant::now();
    scene.reader.next().await.unwrap().unwrap();
    assert!(started.elapsed() < Duration::from_millis(10), "before the first attempt there is nothing to drop");
    let started = Instant::now();

    handle.force_reconnect();
    handle.force_reconnect();
    scene.fake.say("b");
    let part = scene.reader.next().await.unwrap().unwrap();

    assert_eq!(part.seq_num, SeqNum::new(1));
    let cursors: Vec<_> = scene.fake.reads().into_iter().map(|read| read.cursor).collect();
    assert_eq!(cursors, [None, Some("0".to_owned())]);
    assert!(started.elapsed() >= Duration::from_millis(50), "the first backoff step still applies");
    settle().await;
    assert_eq!(scene.fake.open_reads(), 1, "the dropped connection is closed");
}

#[tokio::test(start_paused = true)]
async fn a_forced_drop_abandons_hung_headers_c48_ca7() {
    let mut scene = Scene::new(out()).await;
    let handle = scene.reader.handle();
    scene.fake.on_read(ReadPlan::Hang);
    scene.fake.say("a");
    let started = Instant::now();

    let fake = scene.fake.clone();
    let (part, ()) = tokio::join!(scene.reader.next(), async {
        fake.wait_for_reads(1).await;
        handle.force_reconnect();
    });

    assert!(part.unwrap().is_some());
    assert!(started.elapsed() < Duration::from_millis(200), "only the first backoff step applies");
}

#[tokio::test(start_paused = true)]
async fn answers_without_a_record_never_restore_the_budget_c45_ca17() {
    let policy = RetryPolicy { max_retries: Some(2), ..RetryPolicy::default() };
    let mut scene = Scene::new(out().policy(policy)).await;
    (0..9).for_each(|_| scene.fake.on_read(ReadPlan::serve(0, After::Break)));

    let error = scene.reader.next().await.unwrap_err();

    assert!(matches!(error, Error::RetriesExhausted { attempts: 3, .. }), "{error}");
    assert_eq!(scene.fake.reads().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn thousands_of_attempts_leave_one_connection_c54_cr2_ca15() {
    let stall_timeout = Some(Duration::from_secs(60));
    let mut scene = Scene::new(out().policy(RetryPolicy { stall_timeout, ..RetryPolicy::default() })).await;
    // Every other connection is left open by the server: whoever goes on without letting go of it has a thousand in the end.
    (0..1_000).for_each(|_| {
        scene.fake.on_read(ReadPlan::serve(0, After::Break));
        scene.fake.on_read(ReadPlan::serve(0, After::Silent));
    });
    scene.fake.say("a");

    scene.reader.next().await.unwrap().unwrap();

    settle().await;
    assert_eq!((scene.fake.reads().len(), scene.fake.open_reads()), (2_001, 1));
}
