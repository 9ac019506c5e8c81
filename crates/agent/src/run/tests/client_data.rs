use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, UiMessage};

use crate::testing::*;
use crate::{Agent, TurnInput, client_data};

#[derive(Debug, Deserialize, JsonSchema, PartialEq)]
struct Person {
    name: String,
    #[schemars(range(min = 18))]
    age: u8,
}

fn send(session: &FakeSession, id: &str, metadata: Value) {
    let payload = ChatTaskWirePayload::submit("chat", UiMessage::user(id, id));
    session.send(ChatInputChunk::message(ChatTaskWirePayload { metadata: Some(metadata), ..payload }));
}

#[tokio::test(start_paused = true)]
async fn typed_client_data_is_checked_every_turn_and_the_reason_names_the_place_a8_a9_aa5() {
    let session = Arc::new(FakeSession::default());
    send(&session, "a", json!({ "name": "Ada", "age": 36, "later": true }));
    send(&session, "b", json!({ "name": "Bob", "age": 300 }));
    send(&session, "c", json!({ "name": "Cid", "age": 17 }));
    send(&session, "d", Value::Null);
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let person: Person = client_data(&turn.client_data)?;
        assert_eq!((person, &turn.client_data["later"]), (Person { name: "Ada".to_owned(), age: 36 }, &json!(true)));
        Ok(())
    })
    .client_data_as::<Person>()
    .idle_timeout(Duration::ZERO);

    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    serve(&session, agent, FakeModel::echo(), lease).await.expect("the run ends well");

    let want = "done(0) error(clientData.age is more than 255) done(1) error(clientData.age is less than 18) done(2) \
                error(clientData is not of type \"object\") done(3)";
    assert_eq!(session.story(), want);
}

#[test]
fn the_schema_of_client_data_is_published_a259() {
    let plain = Agent::new("test", |_: TurnInput| async { Ok(()) });
    let typed = plain.clone().client_data_as::<Person>();
    let untyped = typed.clone().client_data(Ok);

    assert_eq!(plain.payload_schema(), None);
    let schema = typed.payload_schema().unwrap();
    assert_eq!((&schema["type"], &schema["required"]), (&json!("object"), &json!(["name", "age"])));
    assert_eq!(schema["properties"]["age"]["minimum"], json!(18));
    assert_eq!(untyped.payload_schema(), None, "another rule has taken its place");
}
