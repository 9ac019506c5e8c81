//! The ways to read a whole reply (C §4.2).

use std::sync::{Arc, Mutex};

use serde_json::json;
use turnkeep_client::{ChatStream, Error, OnMessage, Outcome};
use turnkeep_protocol::UiMessage;

use crate::fake::{After, ReadPlan};
use crate::net::settle;
use crate::rig::{Rig, drain, next_text};

/// Writes a whole reply: a message of two texts and a tool call.
fn reply(rig: &Rig) {
    for chunk in [
        json!({ "type": "start", "messageId": "a1" }),
        json!({ "type": "text-start", "id": "t" }),
        json!({ "type": "text-delta", "id": "t", "delta": "Rain, " }),
        json!({ "type": "text-delta", "id": "t", "delta": "4 degrees." }),
        json!({ "type": "text-end", "id": "t" }),
        json!({ "type": "tool-input-available", "toolCallId": "c1", "toolName": "look", "input": { "city": "Oslo" } }),
        json!({ "type": "tool-output-available", "toolCallId": "c1", "output": 4 }),
        json!({ "type": "finish" }),
    ] {
        rig.fake.data(&chunk);
    }
}

async fn whole_reply() -> (Rig, ChatStream) {
    let rig = Rig::start().await;
    reply(&rig);
    rig.fake.boundary(0);
    let stream = rig.send("hi").await.unwrap();
    (rig, stream)
}

#[tokio::test(start_paused = true)]
async fn a_result_is_read_once_and_remembered_c168_c169() {
    let (rig, mut stream) = whole_reply().await;

    let result = stream.result().await.unwrap().clone();
    assert_eq!(stream.text().await.unwrap(), "Rain, 4 degrees.");

    assert_eq!(result.text, "Rain, 4 degrees.");
    assert_eq!(
        (result.tool_calls[0].tool_name.as_str(), &result.tool_calls[0].input),
        ("look", &json!({ "city": "Oslo" }))
    );
    assert_eq!((result.tool_results[0].tool_call_id.as_str(), &result.tool_results[0].output), ("c1", &json!(4)));
    assert_eq!((rig.fake.reads().len(), stream.outcome()), (1, Some(Outcome::Completed)));
}

#[tokio::test(start_paused = true)]
async fn a_reply_is_consumed_one_way_only_c168() {
    let (_rig, mut stream) = whole_reply().await;
    stream.next().await.unwrap().unwrap();

    assert!(matches!(stream.result().await, Err(Error::StreamConsumed)));
    assert!(stream.next().await.unwrap().is_ok(), "reading on is not disturbed");
}

#[tokio::test(start_paused = true)]
async fn a_dropped_wait_for_the_result_loses_nothing_c168() {
    let rig = Rig::start().await;
    reply(&rig);
    let mut stream = rig.send("hi").await.unwrap();
    assert!(tokio::time::timeout(std::time::Duration::from_secs(1), stream.result()).await.is_err());

    rig.fake.boundary(0);

    assert_eq!(stream.text().await.unwrap(), "Rain, 4 degrees.");
}

#[tokio::test(start_paused = true)]
async fn a_message_grows_chunk_by_chunk_c168() {
    let (_rig, stream) = whole_reply().await;
    let mut messages = stream.messages();
    let mut texts = Vec::new();

    while let Some(message) = messages.next().await {
        texts.push(message.unwrap().text());
    }

    assert_eq!(
        texts,
        [
            "",
            "Rain, ",
            "Rain, 4 degrees.",
            "Rain, 4 degrees.",
            "Rain, 4 degrees.",
            "Rain, 4 degrees.",
            "Rain, 4 degrees."
        ]
    );
    assert_eq!(messages.stream().outcome(), Some(Outcome::Completed));
}

#[tokio::test(start_paused = true)]
async fn the_whole_message_is_told_once_whichever_way_it_is_read_c170() {
    for way in ["chunks", "result", "messages"] {
        let heard: Arc<Mutex<Vec<UiMessage>>> = Arc::default();
        let listener = heard.clone();
        let on_message: OnMessage = Arc::new(move |message| listener.lock().unwrap().push(message.clone()));
        let (_rig, stream) = whole_reply().await;
        let mut stream = stream.on_message(on_message);

        match way {
            "chunks" => assert_eq!(drain(&mut stream).await.2, Outcome::Completed),
            "result" => assert_eq!((stream.text().await.is_ok(), stream.text().await.is_ok()), (true, true)),
            _ => {
                let mut messages = stream.messages();
                while messages.next().await.is_some() {}
                assert!(messages.next().await.is_none());
            }
        }

        let heard = heard.lock().unwrap();
        assert_eq!(heard.len(), 1, "{way}");
        assert_eq!((heard[0].id.as_str(), heard[0].text().as_str()), ("a1", "Rain, 4 degrees."));
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_surfaces_from_every_way_and_half_a_reply_never_looks_whole_c95_c171() {
    for way in ["chunks", "result", "messages"] {
        let rig = Rig::start().await;
        let heard = Arc::new(Mutex::new(0));
        let listener = heard.clone();
        reply(&rig);
        rig.fake.on_read(ReadPlan::serve(3, After::Break));
        rig.fake.on_read(ReadPlan::Refuse(404));
        let stream = rig.send("hi").await.unwrap();
        let mut stream = stream.on_message(Arc::new(move |_| *listener.lock().unwrap() += 1));

        match way {
            "chunks" => assert_eq!(drain(&mut stream).await.1.unwrap().status(), Some(404)),
            "result" => {
                assert_eq!(stream.text().await.unwrap_err().status(), Some(404));
                assert!(stream.text().await.is_err(), "asking again does not make it whole");
            }
            _ => {
                let mut messages = stream.messages();
                let mut last = None;
                while let Some(message) = messages.next().await {
                    last = Some(message.map(UiMessage::text).map_err(|error| error.status()));
                }
                assert_eq!(last, Some(Err(Some(404))));
            }
        }

        assert_eq!(*heard.lock().unwrap(), 0, "{way}: a cut message is not told");
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_a_close_has_cut_is_no_result_c85_c171() {
    let rig = Rig::start().await;
    rig.fake.say("half");
    rig.fake.control("session-closed", &[("session-closed-reason", "done")]);
    let mut stream = rig.send("hi").await.unwrap();

    assert!(matches!(stream.text().await, Err(Error::SessionClosed { reason: Some(reason) }) if reason == "done"));
}

#[tokio::test(start_paused = true)]
async fn letting_go_early_releases_the_connection_c171() {
    let rig = Rig::start().await;
    rig.fake.say("a");
    let mut stream = rig.send("hi").await.unwrap();
    next_text(&mut stream).await;

    let messages = stream.messages();
    drop(messages);
    settle().await;

    assert_eq!((rig.fake.open_reads(), rig.fake.appends().len()), (0, 1));
}
