//! Wake-up of a sleeping page (C §3.13).

use std::time::Duration;

use tokio::time::Instant;
use turnkeep_client::PageEvent;

use crate::fake::{After, ReadPlan};
use crate::net::settle;
use crate::rig::{Rig, next_text};

#[tokio::test(start_paused = true)]
async fn a_dead_socket_is_replaced_when_the_page_wakes_up_c134_cr3() {
    // SR-24.
    let long_sleep = [PageEvent::Hidden, PageEvent::Visible];
    let wakes: [&[PageEvent]; 3] = [&[PageEvent::Online], &[PageEvent::PageShow { persisted: true }], &long_sleep];
    for wake in wakes {
        let rig = Rig::start().await;
        rig.fake.on_read(ReadPlan::serve(1, After::Silent));
        rig.fake.say("half ");
        let mut stream = rig.send("hi").await.unwrap();
        assert_eq!(next_text(&mut stream).await, "half ");
        rig.fake.say("a reply");

        let (rest, woken) = tokio::join!(next_text_at(&mut stream), async {
            for event in wake {
                tokio::time::sleep(Duration::from_secs(30)).await;
                rig.transport.page_event(*event);
            }
            Instant::now()
        });

        assert_eq!(rest.0, "a reply");
        assert!(rest.1 - woken < Duration::from_millis(200), "{wake:?} did not wait for the stall");
        let cursors: Vec<_> = rig.fake.reads().into_iter().map(|read| read.cursor).collect();
        assert_eq!(cursors, [None, Some("0".to_owned())], "nothing lost, nothing doubled");
    }
}

async fn next_text_at(stream: &mut turnkeep_client::ChatStream) -> (String, Instant) {
    (next_text(stream).await, Instant::now())
}

#[tokio::test(start_paused = true)]
async fn a_short_absence_and_a_fresh_page_drop_no_connection_c134_c137() {
    let rig = Rig::start().await;
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;

    let (text, ()) = tokio::join!(next_text(&mut stream), async {
        rig.transport.page_event(PageEvent::PageShow { persisted: false });
        rig.transport.page_event(PageEvent::Hidden);
        tokio::time::sleep(Duration::from_millis(29_900)).await;
        rig.transport.page_event(PageEvent::Visible);
        rig.transport.page_event(PageEvent::Visible);
        settle().await;
        rig.fake.say("b");
    });

    assert_eq!((text.as_str(), rig.fake.reads().len()), ("b", 1));
}

#[tokio::test(start_paused = true)]
async fn a_short_absence_ends_a_running_backoff_c47_c134() {
    // SR-24.
    let rig = Rig::start().await;
    (0..9).for_each(|_| rig.fake.on_read(ReadPlan::Refuse(503)));
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();

    let ((text, at), visible) = tokio::join!(next_text_at(&mut stream), async {
        rig.fake.wait_for_reads(9).await;
        settle().await;
        rig.transport.page_event(PageEvent::Visible);
        Instant::now()
    });

    assert_eq!(text, "a");
    assert!(at - visible < Duration::from_millis(50), "{:?}", at - visible);
}

#[tokio::test(start_paused = true)]
async fn wake_events_reach_the_subscription_of_the_moment_c135() {
    let rig = Rig::start().await;
    // One window has ended in mid-turn, and the wait before the next is under way.
    rig.fake.on_read(ReadPlan::serve(1, After::Done));
    rig.fake.on_read(ReadPlan::serve(0, After::Silent));
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;
    rig.fake.say("b");

    let ((text, at), woken) = tokio::join!(next_text_at(&mut stream), async {
        rig.fake.wait_for_reads(2).await;
        settle().await;
        rig.transport.page_event(PageEvent::Online);
        Instant::now()
    });

    assert_eq!((text.as_str(), rig.fake.reads().len()), ("b", 3));
    assert!(at - woken < Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn wake_events_without_a_reader_do_nothing_c134() {
    let rig = Rig::start().await;
    rig.fake.boundary(0);
    let stream = rig.send("hi").await.unwrap();
    crate::rig::text_of(stream).await;

    rig.transport.page_event(PageEvent::Online);
    tokio::time::sleep(Duration::from_secs(60)).await;

    assert_eq!((rig.fake.reads().len(), rig.fake.open_reads()), (1, 0));
}
