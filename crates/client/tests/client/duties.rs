//! What an application may rely on when it keeps its chats and moves between versions (C §8, §9).

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use turnkeep_client::{SendMessages, StartRequest};
use turnkeep_protocol::{JsonObject, UiMessage};

use crate::rig::{CHAT, Rig, text_of};

/// What each append had under a key of its payload.
fn sent(rig: &Rig, key: &str) -> Vec<Value> {
    rig.fake.appends().iter().map(|append| append.body["payload"][key].clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_renewed_token_is_told_at_once_and_a_reload_needs_no_other_c240() {
    let mut rig = Rig::start().await;
    rig.fake.accept_only("renewed-1");
    rig.fake.say("a");
    rig.fake.boundary(0);

    assert_eq!(text_of(rig.send("one").await.unwrap()).await, "a");

    let told: Vec<_> =
        rig.heard.changes.lock().unwrap().iter().map(|state| state.public_access_token.clone()).collect();
    assert_eq!(told[..2], ["started-1", "renewed-1"], "before the send it is for has been accepted");
    let renewed = rig.heard.changes.lock().unwrap()[1].clone();
    assert_eq!((renewed.is_streaming, renewed.last_event_id), (Some(false), None), "nothing else changes with it");
    rig.reload();
    rig.fake.say("b");
    rig.fake.boundary(1);
    assert_eq!(text_of(rig.send("two").await.unwrap()).await, "b");
    assert_eq!((rig.heard.n_starts(), rig.heard.n_renewals()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_edited_on_the_screen_is_not_sent_c242() {
    let rig = Rig::start().await;
    rig.send("one").await.unwrap();
    let edited = [("id-one", "something else"), ("id-three", "three")].map(|(id, text)| UiMessage::user(id, text));

    rig.transport.send_messages(CHAT, SendMessages::submit(edited.clone())).await.unwrap();
    rig.transport.send_messages(CHAT, SendMessages::regenerate()).await.unwrap();
    rig.transport.send_action(CHAT, json!({ "type": "edit", "id": "id-one" }), None).await.unwrap();

    let messages: Vec<_> = sent(&rig, "message").into_iter().map(|message| message["id"].clone()).collect();
    assert_eq!(messages, [json!("id-one"), json!("id-three"), Value::Null, Value::Null]);
    assert_eq!(sent(&rig, "action")[3], json!({ "type": "edit", "id": "id-one" }), "an edit is an action");
    assert!(!format!("{:?}", rig.fake.appends()).contains("something else"));
}

#[tokio::test(start_paused = true)]
async fn a_version_contract_travels_with_the_start_and_every_input_and_nothing_else_does_c245() {
    let rig = Rig::start().await;
    let started = Arc::new(Mutex::new(Vec::<JsonObject>::new()));
    let heard = started.clone();
    rig.transport.set_start_session(Some(Arc::new(move |request: StartRequest| {
        heard.lock().unwrap().push(request.client_data);
        Box::pin(async { Ok("t".to_owned()) })
    })));
    let contract = json!({ "protocol": 2 });
    rig.transport.set_client_data(contract.as_object().cloned());

    rig.send("one").await.unwrap();
    rig.transport.send_messages(CHAT, SendMessages::regenerate()).await.unwrap();
    rig.transport.send_action(CHAT, json!({ "type": "undo" }), None).await.unwrap();
    assert!(rig.transport.send_pending_message(CHAT, &UiMessage::user("s", "faster"), None).await);

    assert_eq!(*started.lock().unwrap(), [contract.as_object().unwrap().clone()]);
    assert_eq!(sent(&rig, "metadata"), vec![contract; 4]);
    let known = ["chatId", "trigger", "message", "messageId", "metadata", "action"];
    for append in rig.fake.appends() {
        let payload = append.body["payload"].as_object().unwrap().clone();
        assert!(payload.keys().all(|key| known.contains(&key.as_str())), "{payload:?}");
    }
}
