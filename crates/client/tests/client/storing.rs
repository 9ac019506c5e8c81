//! The chat's store as its clients have it (C §4.3).

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use turnkeep_client::{ChatSessionState, Error, Outcome};
use turnkeep_protocol::{Patch, SeqNum, UiMessage};

use crate::fake::{After, AppendPlan, ReadPlan};
use crate::rig::{CHAT, Rig, drain, next_text, streaming, text_of};

type Heard = Arc<Mutex<Vec<(Value, Option<Patch>)>>>;

fn listen(rig: &Rig) -> (Heard, turnkeep_client::Listening) {
    let heard = Heard::default();
    let listener = heard.clone();
    let listening = rig.transport.on_store_change(
        CHAT,
        Arc::new(move |value, patch| listener.lock().unwrap().push((value.clone(), patch.cloned()))),
    );
    (heard, listening.unwrap())
}

fn snapshot(rig: &Rig, value: Value) {
    rig.fake.data(&json!({ "type": "store-snapshot", "value": value }));
}

fn delta(rig: &Rig, operations: Value) {
    rig.fake.data(&json!({ "type": "store-delta", "operations": operations }));
}

fn incoming(rig: &Rig) -> Vec<Option<Value>> {
    rig.fake.appends().iter().map(|seen| seen.body["payload"].get("incomingStore").cloned()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_agents_value_is_followed_and_never_shown_as_a_message_c172_c173() {
    let rig = Rig::start().await;
    let (heard, listening) = listen(&rig);
    snapshot(&rig, json!({ "n": 1 }));
    delta(&rig, json!([{ "op": "replace", "path": "/n", "value": 2 }]));
    rig.fake.say("text");
    delta(&rig, json!([{ "op": "replace", "path": "/n", "value": 3 }]));
    rig.fake.boundary(0);

    let mut stream = rig.send("hi").await.unwrap();
    assert_eq!(next_text(&mut stream).await, "text");
    assert_eq!(rig.transport.store(CHAT), Some(json!({ "n": 2 })));
    listening.stop();
    assert_eq!(text_of(stream).await, "");

    assert_eq!(rig.transport.store(CHAT), Some(json!({ "n": 3 })));
    let patch = Patch::new().replace("/n", json!(2));
    assert_eq!(*heard.lock().unwrap(), [(json!({ "n": 1 }), None), (json!({ "n": 2 }), Some(patch))]);
    let first_chunk = rig.heard.events.lock().unwrap().iter().find_map(|event| match &event.kind {
        turnkeep_client::ChatEventKind::FirstChunk { chunk_type, .. } => chunk_type.clone(),
        _ => None,
    });
    assert_eq!(first_chunk.as_deref(), Some("text-delta"), "the store's chunks are not the first");
}

#[tokio::test(start_paused = true)]
async fn local_changes_travel_with_the_next_send_once_c174() {
    let rig = Rig::start().await;
    let (heard, _listening) = listen(&rig);
    rig.transport.set_store(CHAT, json!({ "n": 1 })).unwrap();
    rig.transport.patch_store(CHAT, Patch::new().replace("/n", json!(2))).unwrap();
    assert_eq!(rig.transport.store(CHAT), Some(json!({ "n": 2 })));

    drop(rig.send("one").await.unwrap());
    drop(rig.send("two").await.unwrap());
    rig.transport.set_store(CHAT, Value::Null).unwrap();
    drop(rig.transport.send_action(CHAT, json!({}), None).await.unwrap());

    assert_eq!(incoming(&rig), [Some(json!({ "n": 2 })), None, Some(Value::Null)]);
    assert_eq!(rig.transport.store(CHAT), Some(Value::Null));
    assert_eq!(heard.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_failed_send_keeps_the_change_for_the_next_one_c174() {
    let rig = Rig::start().await;
    rig.transport.set_store(CHAT, json!(1)).unwrap();
    rig.fake.on_append(AppendPlan::Refuse(413, json!({ "error": "no" }), Vec::new()));

    rig.send("one").await.unwrap_err();
    assert!(rig.transport.send_pending_message(CHAT, &UiMessage::user("s", "steer"), None).await);
    drop(rig.send("two").await.unwrap());

    assert_eq!(incoming(&rig), [Some(json!(1)), None, Some(json!(1))], "steering begins no turn, so it carries none");
}

#[tokio::test(start_paused = true)]
async fn a_body_field_cannot_forge_the_store_c78() {
    let rig = Rig::start().await;
    let body = json!({ "incomingStore": { "forged": true } }).as_object().unwrap().clone();

    let send = turnkeep_client::SendMessages::submit([UiMessage::user("u", "hi")]).body(body);
    drop(rig.transport.send_messages(CHAT, send).await.unwrap());

    assert_eq!(incoming(&rig), [None]);
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_starts_behind_the_snapshot_waits_for_the_next_c179() {
    let rig = Rig::resumed(streaming(None, Some(0))).await;
    delta(&rig, json!([{ "op": "replace", "path": "/n", "value": 2 }]));
    rig.fake.say("a");
    let mut stream = rig.transport.reconnect_to_stream(CHAT).unwrap();
    next_text(&mut stream).await;
    assert_eq!(rig.transport.store(CHAT), None);
    assert!(matches!(rig.transport.patch_store(CHAT, Patch::new()), Err(Error::StoreUnknown)));

    snapshot(&rig, json!({ "n": 5 }));
    rig.fake.boundary(0);
    text_of(stream).await;

    assert_eq!(rig.transport.store(CHAT), Some(json!({ "n": 5 })));
}

#[tokio::test(start_paused = true)]
async fn a_window_that_is_read_again_applies_no_delta_twice_c173() {
    let rig = Rig::start().await;
    snapshot(&rig, json!([]));
    delta(&rig, json!([{ "op": "add", "path": "/-", "value": 1 }]));
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;
    drop(stream);
    // A page that kept an older cursor reads the same records again.
    let saved = ChatSessionState { last_event_id: Some(SeqNum::ZERO), ..rig.state() };
    rig.transport.set_session(CHAT, saved);
    rig.fake.boundary(0);

    text_of(rig.transport.reconnect_to_stream(CHAT).unwrap()).await;

    assert_eq!(rig.transport.store(CHAT), Some(json!([1])));
}

#[tokio::test(start_paused = true)]
async fn the_turns_of_others_and_stopped_turns_change_the_store_all_the_same_c172_rc14() {
    let gated =
        ChatSessionState { skip_to_turn_complete: true, is_streaming: Some(false), ..ChatSessionState::new("t") };
    for state in [ChatSessionState::new("t"), gated] {
        let rig = Rig::resumed(state).await;
        rig.fake.batch_with_tail();
        snapshot(&rig, json!({ "n": 1 }));
        rig.fake.say("not mine");
        delta(&rig, json!([{ "op": "replace", "path": "/n", "value": 2 }]));
        rig.fake.boundary(3);
        rig.fake.next_input(4);
        rig.fake.say("mine");
        rig.fake.boundary(4);

        assert_eq!(text_of(rig.send("hi").await.unwrap()).await, "mine");
        assert_eq!(rig.transport.store(CHAT), Some(json!({ "n": 2 })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_panics_keeps_nobody_from_the_news_c173() {
    let rig = Rig::start().await;
    rig.transport.on_store_change(CHAT, Arc::new(|_, _| panic!("its own fault"))).unwrap();
    rig.transport.on_store_change("other", Arc::new(|_, _| panic!("of another chat"))).unwrap();
    let (heard, _listening) = listen(&rig);
    snapshot(&rig, json!(1));
    rig.fake.say("fine");
    rig.fake.on_read(ReadPlan::serve(2, After::Done));
    rig.fake.boundary(0);

    let mut stream = rig.send("hi").await.unwrap();
    let (text, failure, outcome) = drain(&mut stream).await;

    assert!(failure.is_none());
    assert_eq!((text.as_str(), outcome), ("fine", Outcome::Completed));
    assert_eq!(heard.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn values_beyond_a_stores_bounds_are_refused_c176() {
    let rig = Rig::start().await;
    rig.transport.set_store(CHAT, json!({ "a": 1 })).unwrap();

    let refused = rig.transport.set_store(CHAT, json!("x".repeat(turnkeep_protocol::MAX_STORE_BYTES)));

    assert!(matches!(refused, Err(Error::Patch(_))));
    assert_eq!(rig.transport.store(CHAT), Some(json!({ "a": 1 })));
}
