//! Creating and finding sessions (S §1.2, D-10, D-38, S-36).

use serde_json::{Value, json};
use turnkeep_protocol::Envelope;

use super::*;

#[test]
fn the_first_message_moves_into_record_0_and_into_no_payload_d10_d38() {
    let mut fixture = Fixture::new();
    let base =
        json!({ "chatId": "ignored", "metadata": { "k": 1 }, "message": { "id": "m" }, "trigger": "submit-message" });

    let created = fixture.create(base).unwrap();

    let records = fixture.records(IN);
    let input = records[0].envelope().map(Envelope::unpacked).unwrap();
    let payload =
        json!({ "chatId": "chat", "metadata": { "k": 1 }, "trigger": "submit-message", "message": { "id": "m" } });
    assert_eq!(records.len(), 1);
    assert_eq!(input, json!({ "kind": "message", "payload": payload }));
    assert_eq!(created.row.trigger_config.base_payload.get("message"), None);
    assert_eq!(fixture.lease().payload.get("message"), None);
    assert_eq!(fixture.core.find("chat").unwrap().last_owed(), Some(SeqNum::ZERO));
}

#[test]
fn a_first_run_keeps_the_base_payload_and_is_preload_without_trigger_s37_d38() {
    let mut fixture = Fixture::new();
    let created = fixture.create(json!({ "chatId": "chat", "metadata": 7 })).unwrap();

    let payload = fixture.lease().payload;

    let want = json!({ "chatId": "chat", "metadata": 7, "trigger": "preload", "sessionId": created.row.id });
    assert_eq!(Value::Object(payload), want);
}

#[test]
fn a_continuation_gets_what_the_server_sets_and_loses_the_old_turn_s36_sr7() {
    let mut fixture = Fixture::new();
    let mut new = new_session(
        Some("chat"),
        json!({ "chatId": "chat", "metadata": 7, "trigger": "submit-message", "messages": [], "message": { "id": "m1" },
                "sessionId": "forged", "continuation": false, "previousRunId": "forged" }),
    );
    new.trigger_config.idle_timeout_in_seconds = Some(30);
    let created = fixture.create_as(new).unwrap();
    let first = fixture.lease();
    fixture.write(&first, vec![turn_complete(0)]).unwrap();
    fixture.end(&first, RunOutcome::Completed).unwrap();
    fixture.send();

    let payload = fixture.lease().payload;

    let want = json!({
        "chatId": "chat", "metadata": 7, "idleTimeoutInSeconds": 30, "continuation": true,
        "previousRunId": first.run_id, "sessionId": created.row.id,
    });
    assert_eq!(Value::Object(payload), want);
    assert_eq!(first.payload.get("continuation"), None);
    assert_eq!(first.payload.get("previousRunId"), None);
}

#[test]
fn create_finds_by_external_id_and_replaces_only_the_trigger_config_c5_s13_s14_s16() {
    let mut fixture = Fixture::with_chat();
    let first = fixture.live_run().unwrap().id.clone();
    let mut again = new_session(Some("chat"), json!({ "chatId": "chat", "message": { "id": "lost" }, "metadata": 2 }));
    again.tags = vec!["new".to_owned()];
    again.kind = "other".to_owned();

    let found = fixture.create_as(again).unwrap();

    assert!(found.is_cached);
    assert_eq!(found.run, first, "the run is live: nothing is triggered");
    assert_eq!((found.row.kind.as_str(), found.row.tags.len()), ("chat.agent", 0));
    assert_eq!(found.row.trigger_config.base_payload.get("metadata"), Some(&json!(2)));
    assert!(fixture.records(IN).is_empty(), "a found session does not get the message");
}

#[test]
fn create_revives_a_found_session_whose_run_has_ended_s16() {
    let mut fixture = Fixture::with_chat();
    let run = fixture.lease();
    fixture.end(&run, RunOutcome::Completed).unwrap();

    let found = fixture.create(json!({ "chatId": "chat" })).unwrap();

    assert_ne!(found.run, run.run_id);
    assert_eq!(found.row.current_run, Some(found.run.clone()));
    assert_eq!(found.row.run_version, 2);
    assert_eq!(fixture.lease().payload["previousRunId"], json!(run.run_id));
}

#[test]
fn without_external_id_every_create_makes_a_session_s13_s4() {
    let mut fixture = Fixture::new();

    let one = fixture.create_as(new_session(None, json!({}))).unwrap();
    let two = fixture.create_as(new_session(None, json!({ "message": {} }))).unwrap();

    assert_ne!(one.row.id, two.row.id);
    assert_eq!(two.row.key(), two.row.id.as_str());
    assert_eq!(fixture.lease().payload["chatId"], json!(one.row.id));
    let id = two.row.id.as_str();
    let input = fixture.core.read(id, IN, SeqNum::ZERO).unwrap().records[0].envelope().map(Envelope::unpacked);
    assert_eq!(input.unwrap()["payload"]["chatId"], json!(two.row.id));
}

#[test]
fn ids_have_their_prefix_and_24_letters_and_digits() {
    let mut fixture = Fixture::new();

    let created = fixture.create(json!({})).unwrap();

    for (id, prefix) in [(created.row.id.as_str(), "session_"), (created.run.as_str(), "run_")] {
        let rest = id.strip_prefix(prefix).unwrap();
        assert!(rest.len() == 24 && rest.bytes().all(|byte| byte.is_ascii_alphanumeric()), "{id}");
    }
}

#[test]
fn a_closed_or_expired_identity_is_refused_before_any_run_s15_sr2() {
    let mut closed = Fixture::with_chat();
    closed.close(Some("done"));
    let mut expired = Fixture::new();
    let mut new = new_session(Some("chat"), json!({}));
    new.expires_at = Some(expired.now.plus(Duration::from_secs(1)));
    expired.create_as(new).unwrap();
    expired.pass(Duration::from_secs(1));
    let runs = expired.runs().len();

    let on_closed = closed.create(json!({}));
    let on_expired = expired.create(json!({}));

    assert_eq!(on_closed.unwrap_err(), Refused::Closed { reason: Some("done".to_owned()) });
    assert_eq!(on_expired.unwrap_err(), Refused::Expired);
    assert!(closed.live_run().is_none());
    assert_eq!(expired.runs().len(), runs);
}

#[test]
fn the_action_source_of_a_webhook_cannot_come_with_create_s69() {
    let mut fixture = Fixture::new();

    fixture.create(json!({ "message": { "id": "m" }, "actionSource": "webhook" })).unwrap();

    assert!(!fixture.records(IN)[0].body.contains("actionSource"));
}
