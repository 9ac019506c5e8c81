//! What has left the server's memory: readers, retries and old runs get the answers that they would get from memory.

use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_protocol::NewRecord;
use turnkeep_protocol::SeqNum;

use crate::support::{World, delta};

/// More records, and more part ids, than a channel keeps in memory.
const MANY: u64 = 600;

async fn filled() -> World {
    let world = World::start().await;
    world.create().await;
    for n in 0..MANY {
        let part = format!("p{n}");
        let body = json!({ "kind": "stop", "n": n });
        world.call_with("POST", "/realtime/v1/sessions/chat/in/append", Some(body), &[("x-part-id", &part)]).await;
    }
    world
}

#[tokio::test]
async fn a_reader_gets_every_record_in_order_and_goes_on_at_the_live_edge_s97_s114() {
    let world = filled().await;

    let mut events = world.subscribe("/realtime/v1/sessions/chat/in", &[]).await;
    let records = events.records(usize::try_from(MANY).unwrap()).await;
    let seqs: Vec<u64> = records.iter().map(|record| record.seq_num.get()).collect();
    assert_eq!(seqs, (0..MANY).collect::<Vec<_>>());
    world.send("live").await;
    assert_eq!(events.records(1).await[0].seq_num, SeqNum::new(MANY));

    for after in [0, 100, MANY - 300, MANY - 10] {
        let path = format!("/realtime/v1/sessions/chat/in/records?afterEventId={after}");
        let drained = world.call("GET", &path, None).await.json::<Value>();
        let seqs: Vec<u64> =
            drained["records"].as_array().unwrap().iter().map(|record| record["seqNum"].as_u64().unwrap()).collect();
        assert_eq!(seqs, (after + 1..=MANY).collect::<Vec<_>>(), "after {after}");
    }
}

#[tokio::test]
async fn retries_of_old_appends_and_batches_get_the_original_places_d6_s76() {
    let world = filled().await;
    for n in [0, 1, MANY / 2, MANY - 1] {
        let part = format!("p{n}");
        let append = "/realtime/v1/sessions/chat/in/append";
        let retry = world.call_with("POST", append, Some(json!("again")), &[("x-part-id", &part)]).await;
        assert_eq!(retry.json::<Value>(), json!({ "ok": true, "seq": n }));
    }

    let batch = "/realtime/v1/sessions/chat/out/batch";
    let records: Vec<NewRecord> = (0..2).map(|n| delta(&n.to_string())).collect();
    for n in 0..300 {
        let part = format!("b{n}");
        world.call_with("POST", batch, Some(json!({ "records": records })), &[("x-part-id", &part)]).await;
    }
    for (part, want) in [("b0", [0, 1]), ("b7", [14, 15]), ("b299", [598, 599]), ("new", [600, 601])] {
        let retry = world.call_with("POST", batch, Some(json!({ "records": records })), &[("x-part-id", part)]).await;
        assert_eq!(retry.json::<Value>(), json!({ "seqs": want }), "{part}");
    }
}

#[tokio::test]
async fn a_run_of_long_ago_is_told_what_any_run_is_told_that_has_ended_d36_s46() {
    let world = World::start().await;
    world.create().await;
    let old = world.lease(0).await.unwrap();
    let swap = json!({ "callingRunId": old.run_id, "reason": "upgrade" });
    let path = "/api/v1/sessions/chat/end-and-continue";
    let first = world.call("POST", path, Some(swap.clone())).await.json::<Value>();

    let again = world.call("POST", path, Some(swap)).await.json::<Value>();
    let nobody = world.call("POST", path, Some(json!({ "callingRunId": "run_x", "reason": "upgrade" }))).await;
    let wait = json!({ "session": "chat", "io": "in" });
    let waits = world.run_call(&old, "session-streams/wait", wait).await;

    assert_eq!(again, json!({ "runId": first["runId"], "swapped": false }));
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
    assert_eq!(waits.status, StatusCode::CONFLICT, "{waits:?}");
}
