//! Who hears how a subscription goes, and fresh headers after a refusal (C §2's option table).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use http::HeaderMap;
use turnkeep_client::{Error, ReadOptions, ResolveHeaders, RetryPolicy};
use turnkeep_protocol::SeqNum;

use crate::fake::{After, ReadPlan};
use crate::net::settle;
use crate::reader::{Scene, out};

/// What was heard, in order.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn options(&self, options: ReadOptions) -> ReadOptions {
        let (completed, failed) = (self.0.clone(), self.0.clone());
        options
            .on_complete(Arc::new(move || completed.lock().unwrap().push("complete".to_owned())))
            .on_error(Arc::new(move |error: &Error| failed.lock().unwrap().push(error.to_string())))
    }

    fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

async fn scene(options: ReadOptions) -> (Scene, Heard) {
    let heard = Heard::default();
    (Scene::new(heard.options(options)).await, heard)
}

#[tokio::test(start_paused = true)]
async fn a_clean_end_completes_once_also_when_a_cancel_and_a_drop_follow_c55() {
    let (mut scene, heard) = scene(out()).await;
    scene.fake.say("a");
    scene.fake.on_read(ReadPlan::serve(1, After::Done));

    scene.reader.next().await.unwrap();
    assert_eq!(heard.all(), [""; 0], "not before the end");
    assert_eq!(scene.reader.next().await.unwrap(), None);
    scene.reader.handle().cancel();
    assert_eq!(scene.reader.next().await.unwrap(), None);
    drop(scene);

    assert_eq!(heard.all(), ["complete"]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_on_the_first_attempt_is_a_normal_end_c39_c55_ca18() {
    let (mut scene, heard) = scene(out()).await;
    scene.fake.on_read(ReadPlan::Hang);
    let handle = scene.reader.handle();

    let fake = scene.fake.clone();
    let (ended, ()) = tokio::join!(scene.reader.next(), async {
        fake.wait_for_reads(1).await;
        handle.cancel();
    });

    assert_eq!((ended.unwrap(), scene.fake.reads().len()), (None, 1));
    drop(scene);
    assert_eq!(heard.all(), ["complete"]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reader_completes_and_makes_no_further_attempt_even_during_backoff_c40_c55() {
    let policy = RetryPolicy { retry_delay: Duration::from_secs(5), ..RetryPolicy::default() };
    let (mut scene, heard) = scene(out().policy(policy)).await;
    scene.fake.on_read(ReadPlan::Refuse(503));
    assert!(tokio::time::timeout(Duration::from_secs(1), scene.reader.next()).await.is_err());

    let Scene { fake, reader, .. } = scene;
    drop(reader);
    tokio::time::sleep(Duration::from_secs(60)).await;

    assert_eq!((fake.reads().len(), heard.all().pop().as_deref()), (1, Some("complete")));
}

#[tokio::test(start_paused = true)]
async fn a_final_status_is_one_error_and_no_completion_c55_c56_ca10() {
    for status in [404, 410] {
        let (mut scene, heard) = scene(out()).await;
        scene.fake.on_read(ReadPlan::Refuse(status));

        assert!(scene.reader.next().await.is_err());
        assert_eq!(scene.reader.next().await.unwrap(), None);
        drop(scene);

        assert_eq!(heard.all(), [format!("status {status}: refused")]);
    }
}

#[tokio::test(start_paused = true)]
async fn every_failing_status_is_heard_and_no_network_failure_that_is_retried_c43_c56_ca12() {
    let (mut scene, heard) = scene(out()).await;
    scene.fake.on_read(ReadPlan::Refuse(503));
    scene.fake.on_read(ReadPlan::serve(0, After::Break));
    scene.fake.on_read(ReadPlan::NoContent);
    scene.fake.on_read(ReadPlan::Refuse(503));
    scene.fake.say("a");

    let part = scene.reader.next().await.unwrap().unwrap();

    assert_eq!((part.seq_num, scene.fake.reads().len()), (SeqNum::ZERO, 5));
    let refused = "status 503: refused";
    assert_eq!(heard.all(), [refused, "status 204 without a body", refused]);
}

#[tokio::test(start_paused = true)]
async fn exhaustion_is_heard_also_after_silent_network_failures_c46_c56() {
    let (mut scene, heard) = scene(out().policy(RetryPolicy { max_retries: Some(2), ..RetryPolicy::default() })).await;
    (0..9).for_each(|_| scene.fake.on_read(ReadPlan::serve(0, After::Break)));

    let error = scene.reader.next().await.unwrap_err();
    drop(scene);

    assert_eq!(heard.all(), [error.to_string()]);
    assert!(heard.all()[0].starts_with("retries exhausted after 3 attempts"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_changes_nothing_c147() {
    let options =
        out().on_error(Arc::new(|_| panic!("its own fault"))).on_complete(Arc::new(|| panic!("its own fault")));
    let mut scene = Scene::new(options).await;
    scene.fake.say("a");
    scene.fake.on_read(ReadPlan::Refuse(503));
    scene.fake.on_read(ReadPlan::serve(1, After::Done));

    assert_eq!(scene.places().await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_resubscription_is_completed_again_c55_c93() {
    let (mut scene, heard) = scene(out()).await;
    scene.fake.on_read(ReadPlan::serve(0, After::Done));
    scene.fake.on_read(ReadPlan::serve(0, After::Done));

    scene.reader.next().await.unwrap();
    scene.reader.resubscribe();
    scene.reader.next().await.unwrap();

    assert_eq!(heard.all(), ["complete"; 2]);
}

/// Counts how often it is asked; gives `Bearer fresh-N`.
fn fresh_tokens() -> (ResolveHeaders, Arc<Mutex<u32>>) {
    let count = Arc::new(Mutex::new(0));
    let asked = count.clone();
    let resolve: ResolveHeaders = Arc::new(move || {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        let mut headers = HeaderMap::new();
        headers.insert("authorization", format!("Bearer fresh-{asked}").parse().unwrap());
        async move { Ok(headers) }.boxed()
    });
    (resolve, count)
}

#[tokio::test(start_paused = true)]
async fn fresh_headers_are_asked_for_once_per_record_and_kept_c42_c140() {
    let (resolve, asked) = fresh_tokens();
    let mut scene = Scene::new(out().resolve_headers(resolve)).await;
    (0..3).for_each(|n| scene.fake.say(&n.to_string()));
    for status in [401, 403] {
        scene.fake.on_read(ReadPlan::Refuse(status));
        scene.fake.on_read(ReadPlan::serve(1, After::Break));
    }
    scene.fake.on_read(ReadPlan::serve(1, After::Done));

    assert_eq!(scene.places().await, [0, 1, 2]);

    let reads = scene.fake.reads();
    let tokens: Vec<_> = reads.iter().map(|read| read.token.as_str()).collect();
    assert_eq!(tokens, ["token", "fresh-1", "fresh-1", "fresh-2", "fresh-2"]);
    assert_eq!(reads[3].cursor.as_deref(), Some("0"), "it goes on after the last record");
    assert_eq!(*asked.lock().unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_second_refusal_before_any_record_is_final_c42() {
    let (resolve, asked) = fresh_tokens();
    let mut scene = Scene::new(out().resolve_headers(resolve)).await;
    scene.fake.on_read(ReadPlan::Refuse(401));
    // A response without a record proves nothing about the new headers.
    scene.fake.on_read(ReadPlan::serve(0, After::Break));
    scene.fake.on_read(ReadPlan::Refuse(403));

    let error = scene.reader.next().await.unwrap_err();

    assert_eq!((error.status(), scene.fake.reads().len(), *asked.lock().unwrap()), (Some(403), 3, 1));
}

#[tokio::test(start_paused = true)]
async fn headers_that_cannot_be_resolved_end_the_subscription_with_the_reason_c42() {
    let resolve: ResolveHeaders = Arc::new(|| async { Err("the backend is away".into()) }.boxed());
    let mut scene = Scene::new(out().resolve_headers(resolve)).await;
    scene.fake.on_read(ReadPlan::Refuse(401));

    let error = scene.reader.next().await.unwrap_err();

    assert_eq!(error.to_string(), "resolveHeaders failed: the backend is away");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_while_headers_are_resolved_ends_at_once_c39() {
    let resolve: ResolveHeaders = Arc::new(|| std::future::pending().boxed());
    let mut scene = Scene::new(out().resolve_headers(resolve)).await;
    scene.fake.on_read(ReadPlan::Refuse(401));
    let handle = scene.reader.handle();

    let fake = scene.fake.clone();
    let (ended, ()) = tokio::join!(scene.reader.next(), async {
        fake.wait_for_reads(1).await;
        settle().await;
        handle.cancel();
    });

    assert_eq!((ended.unwrap(), scene.fake.reads().len()), (None, 1));
}
