//! The client's append: order of checks, wrapping, size, part ids (S-59…S-80, SR-15…SR-18).

use serde_json::json;
use turnkeep_protocol::MAX_RECORD_BYTES;

use super::*;

#[track_caller]
fn check_stored(body: &str, want: &str) {
    let mut fixture = Fixture::with_chat();
    fixture.append(IN, body, Some("p")).unwrap();
    let envelope = fixture.records(IN)[0].envelope().unwrap();
    assert_eq!(envelope.data, json!(want));
}

#[test]
fn a_body_is_wrapped_as_a_string_data_first_s70() {
    let mut fixture = Fixture::with_chat();

    fixture.append(IN, "{\"a\":1}", Some("abc1234")).unwrap();
    fixture.append(IN, "x", None).unwrap();

    assert_eq!(fixture.records(IN)[0].body, r#"{"data":"{\"a\":1}","id":"abc1234"}"#);
    assert_eq!(fixture.records(IN)[1].envelope().unwrap().id.as_str().len(), 7);
    assert!(fixture.records(IN)[0].headers.is_empty());
}

#[test]
fn only_a_webhook_source_is_taken_away_and_nothing_else_is_touched_s69() {
    check_stored(r#"{"payload":{"actionSource":"webhook","b":1}}"#, r#"{"payload":{"b":1}}"#);
    check_stored(r#"{ "payload": {"actionSource":"button"} }"#, r#"{ "payload": {"actionSource":"button"} }"#);
    check_stored(r#"{ "actionSource": "webhook" }"#, r#"{ "actionSource": "webhook" }"#);
    check_stored("\"actionSource\" webhook", "\"actionSource\" webhook");
    check_stored("{ \"a\" :  1 }", "{ \"a\" :  1 }");
}

#[test]
fn out_is_not_sanitised_s69() {
    let mut fixture = Fixture::with_chat();
    let body = r#"{"payload":{"actionSource":"webhook"}}"#;

    fixture.append(OUT, body, None).unwrap();

    assert_eq!(fixture.records(OUT)[0].envelope().unwrap().data, json!(body));
}

#[test]
fn the_largest_body_depends_on_its_part_id_and_its_escapes_s71_s72() {
    for (part, largest) in [("1234567", 1_048_542), ("123456789012345678901", 1_048_528), (&"u".repeat(36), 1_048_513)]
    {
        let mut fixture = Fixture::with_chat();
        let refused = fixture.append(IN, &"x".repeat(largest + 1), Some(part));
        assert_eq!(refused, Err(Refused::TooLarge { metered: MAX_RECORD_BYTES + 1 }));
        assert_eq!(
            fixture.append(IN, &"x".repeat(largest), Some(part)),
            Ok(0),
            "{part}: a refused one leaves no trace"
        );
    }
    let mut quotes = Fixture::with_chat();
    assert!(quotes.append(IN, &"\"".repeat(524_272), Some("1234567")).is_err());
    assert!(quotes.append(IN, &"\"".repeat(524_271), Some("1234567")).is_ok());
}

#[test]
fn appends_to_dead_or_unknown_sessions_are_refused_in_this_order_s60_d1() {
    let mut fixture = Fixture::new();
    assert_eq!(fixture.append(IN, "x", None), Err(Refused::NoSession));
    let mut new = new_session(Some("chat"), json!({}));
    new.expires_at = Some(fixture.now.plus(Duration::from_secs(1)));
    fixture.create_as(new).unwrap();
    assert_eq!(fixture.append(IN, "x", None), Ok(0));
    fixture.pass(Duration::from_secs(1));
    assert_eq!(fixture.append(IN, "x", None), Err(Refused::Expired));
    fixture.close(Some("bye"));
    assert_eq!(fixture.append(IN, "x", None), Err(Refused::Closed { reason: Some("bye".to_owned()) }));
}

#[test]
fn a_retry_with_the_same_part_id_is_one_record_with_the_original_seq_s74_s76_sr15_sr16_sr17() {
    let mut fixture = Fixture::with_chat();
    let first = fixture.append(IN, &message("submit-message"), Some("p"));
    fixture.send();

    let again = fixture.append(IN, "another body, same id", Some("p"));

    assert_eq!((first, again), (Ok(0), Ok(0)));
    assert_eq!(fixture.records(IN).len(), 2);
}

#[test]
fn without_a_part_id_there_is_no_deduplication_s78() {
    let mut fixture = Fixture::with_chat();

    assert_eq!((fixture.append(IN, "x", None), fixture.append(IN, "x", None)), (Ok(0), Ok(1)));
}

#[test]
fn every_session_has_two_channels_of_its_own_each_numbered_from_0_s53_s54() {
    let mut fixture = Fixture::with_chat();
    fixture.create_as(new_session(Some("other"), json!({}))).unwrap();
    let mut append = |chat: &str, channel| {
        let seq = fixture.core.append(fixture.now, chat, channel, &format!("{chat} {channel}"), None, None, None);
        fixture.keep(seq).unwrap().get()
    };

    let seqs = [append("chat", IN), append("chat", OUT), append("other", IN), append("other", OUT), append("chat", IN)];

    assert_eq!(seqs, [0, 0, 0, 0, 1]);
    for (chat, channel, want) in [("chat", IN, 2), ("chat", OUT, 1), ("other", IN, 1), ("other", OUT, 1)] {
        let records = fixture.core.read(chat, channel, SeqNum::ZERO).unwrap().records;
        assert_eq!(records.len(), want);
        let text = format!("{chat} {channel}");
        assert!(records.iter().all(|record| record.envelope().unwrap().data == text), "{text}");
    }
}

#[test]
fn equal_part_ids_on_other_channels_and_sessions_are_strangers_s77_sr19() {
    let mut fixture = Fixture::with_chat();
    fixture.create_as(new_session(Some("chat:in"), json!({}))).unwrap();
    // Its place is one that no stranger's first record has.
    fixture.append(IN, "w", None).unwrap();
    assert_eq!(fixture.append(IN, "x", Some("p")), Ok(1));

    let on_out = fixture.append(OUT, "x", Some("p"));
    let elsewhere = fixture.core.append(fixture.now, "chat:in", IN, "x", Some(PartId::new("p")), None, None);
    fixture.keep(());

    assert_eq!((on_out, elsewhere), (Ok(0), Ok(SeqNum::ZERO)));
    assert_eq!(fixture.core.read("chat:in", IN, SeqNum::ZERO).unwrap().records.len(), 1);
}

#[test]
fn a_late_duplicate_starts_no_run_s74_d34() {
    let mut fixture = Fixture::with_chat();
    fixture.append(IN, &message("submit-message"), Some("p")).unwrap();
    let run = fixture.lease();
    fixture.write(&run, vec![turn_complete(0)]).unwrap();
    fixture.end(&run, RunOutcome::Completed).unwrap();

    fixture.append(IN, &message("submit-message"), Some("p")).unwrap();

    assert!(fixture.try_lease().is_none());
}

#[test]
fn an_append_to_either_channel_ensures_a_run_s68() {
    for channel in [IN, OUT] {
        let mut fixture = Fixture::with_chat();
        let run = fixture.lease();
        fixture.end(&run, RunOutcome::Completed).unwrap();
        assert!(fixture.live_run().is_none());

        fixture.append(channel, "x", None).unwrap();

        assert!(fixture.live_run().is_some(), "{channel}");
    }
}

#[test]
fn both_forms_of_the_id_reach_one_channel_s3_s56() {
    let mut fixture = Fixture::with_chat();
    let id = fixture.core.find("chat").unwrap().row.id.clone();
    fixture.append(IN, "one", None).unwrap();

    let seq = fixture.core.append(fixture.now, id.as_str(), IN, "two", None, None, None);
    fixture.keep(());

    assert_eq!(seq, Ok(SeqNum::new(1)));
    assert_eq!(fixture.records(IN).len(), 2);
}
