//! What a tab shows the others (C-128).

use super::*;

#[tokio::test(start_paused = true)]
async fn the_holder_shows_its_latest_list_and_once_more_at_the_end_c128() {
    let scene = two_tabs().await;
    let list = |text: &str| vec![UiMessage::user("m", text)];
    scene.rig.fake.say("a");
    let mut stream = scene.rig.send("hi").await.unwrap();
    next_text(&mut stream).await;

    for n in 0..100 {
        scene.rig.transport.share_messages(CHAT, list(&n.to_string()));
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*scene.adopted.lock().unwrap(), [list("99")]);
    scene.rig.fake.boundary(0);
    text_of(stream).await;
    settle().await;
    // The page has the end of the turn later than its transport.
    assert_eq!(scene.changes(), [true], "the others must not send on a list without it");
    scene.rig.transport.share_messages(CHAT, list("whole"));
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(*scene.adopted.lock().unwrap(), [list("99"), list("whole"), list("whole")]);
    assert_eq!(scene.changes(), [true, false]);
    scene.rig.transport.share_messages(CHAT, list("after"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(scene.adopted.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_last_list_and_its_cursor_are_told_together_to_be_kept_c128_c236_c65() {
    let scene = two_tabs().await;
    let told: Arc<Mutex<Vec<_>>> = Arc::default();
    let (kept, lists) = (told.clone(), scene.adopted.clone());
    let keep = move |_: &str, state: &ChatSessionState| {
        kept.lock().unwrap().push((state.last_event_id.map(SeqNum::get), lists.lock().unwrap().len()));
    };
    scene.other.set_on_session_change(Some(Arc::new(keep)));
    scene.other.share_messages(CHAT, Vec::new());
    scene.rig.transport.share_messages(CHAT, vec![UiMessage::user("m", "hi")]);
    scene.rig.fake.say("a");
    scene.rig.fake.boundary(0);

    text_of(scene.rig.send("hi").await.unwrap()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(*told.lock().unwrap(), [(Some(1), 2)], "once, and behind the list that has the turn");
}

#[tokio::test(start_paused = true)]
async fn a_tab_that_sends_again_before_it_has_let_go_keeps_the_chat_c128_c124() {
    let scene = two_tabs().await;
    scene.rig.fake.say("a");
    let mut stream = scene.rig.send("hi").await.unwrap();
    next_text(&mut stream).await;
    scene.rig.transport.share_messages(CHAT, vec![UiMessage::user("m", "hi")]);
    scene.rig.fake.boundary(0);
    text_of(stream).await;

    let stream = scene.rig.send("and?").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(scene.changes(), [true], "it was never let go");
    drop(stream);
}

#[tokio::test(start_paused = true)]
async fn a_list_that_a_page_shows_before_its_claim_reaches_the_others_in_the_shortest_turn_c128() {
    let scene = two_tabs().await;
    let list = vec![UiMessage::user("m", "hi")];
    scene.rig.transport.share_messages(CHAT, list.clone());
    scene.rig.fake.say("a");
    scene.rig.fake.boundary(0);

    text_of(scene.rig.send("hi").await.unwrap()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;

    assert_eq!(*scene.adopted.lock().unwrap(), [list.clone(), list]);
}

#[tokio::test(start_paused = true)]
async fn a_tab_that_has_never_sent_reads_on_behind_the_list_it_shows_c126_c128_c139() {
    let origin = Origin::default();
    let rig = Rig::with(|builder| builder.multi_tab(origin.channel())).await;
    let other = rig.second(|builder| builder.name("other").multi_tab(origin.channel()));
    let told = Arc::new(Mutex::new(0));
    let count = told.clone();
    other.set_on_session_change(Some(Arc::new(move |_, _| *count.lock().unwrap() += 1)));
    [&rig.transport, &other].into_iter().for_each(|transport| transport.share_messages(CHAT, Vec::new()));
    rig.fake.say("a");
    rig.fake.boundary(0);
    text_of(rig.send("hi").await.unwrap()).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(other.session(CHAT).unwrap().last_event_id, Some(SeqNum::new(1)));
    assert_eq!(*told.lock().unwrap(), 0, "what is kept has a token");

    let mut stream = rig.send("again").await.unwrap();
    rig.fake.say("half");
    next_text(&mut stream).await;
    origin.0.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(16)).await;
    rig.fake.boundary(1);
    let resumed = other.reconnect_to_stream(CHAT).expect("it asks what goes on");

    assert_eq!(text_of(resumed).await, "half", "the turn that was not whole, and no other");
}
