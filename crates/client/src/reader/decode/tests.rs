//! The decoder by rule.

use serde_json::json;
use turnkeep_protocol::Header;

use super::*;

fn data(seq: u64, id: &str, chunk: Value) -> Value {
    json!({ "seq_num": seq, "timestamp": 7, "body": json!({ "data": chunk, "id": id }).to_string() })
}

fn batch(records: &[Value]) -> String {
    format!("event: batch\nid: 4,10,2048\ndata: {}\n\n", json!({ "records": records }))
}

fn decode(decoder: &mut Decoder, text: &str) -> Decoded {
    decoder.push(text.as_bytes(), 99).unwrap()
}

fn chunks(decoded: &Decoded) -> Vec<(u64, Option<Value>)> {
    decoded.parts.iter().map(|part| (part.seq_num.get(), part.chunk.clone())).collect()
}

#[test]
fn a_data_record_comes_out_unwrapped_with_its_place_ca19() {
    let mut decoder = Decoder::new(None);

    let decoded = decode(&mut decoder, &batch(&[data(3, "a", json!({ "type": "start" }))]));

    let part = &decoded.parts[0];
    assert_eq!(part.seq_num, SeqNum::new(3));
    assert_eq!(part.timestamp, 7);
    assert_eq!(part.chunk, Some(json!({ "type": "start" })));
    assert_eq!(part.part_id, Some(PartId::new("a")));
    assert!(part.headers.is_empty());
}

#[test]
fn a_command_is_dropped_and_still_moves_the_cursor_c32_ca20() {
    // S-82.
    let mut decoder = Decoder::new(None);
    let trim = json!({ "seq_num": 5, "timestamp": 7, "body": "2", "headers": [["", "trim"]] });

    let decoded = decode(&mut decoder, &batch(&[data(4, "a", json!(1)), trim.clone()]));
    assert_eq!((chunks(&decoded), decoder.cursor()), (vec![(4, Some(json!(1)))], Some(SeqNum::new(5))));

    let decoded = decode(&mut decoder, &batch(&[data(6, "b", json!(2))]));
    assert_eq!(chunks(&decoded), [(6, Some(json!(2)))]);
}

#[test]
fn a_control_record_has_headers_and_no_chunk_c33_ca21() {
    // S-176.
    let mut decoder = Decoder::new(None);
    let headers = json!([["trigger-control", "turn-complete"], ["session-in-event-id", "4"]]);
    let boundary = json!({ "seq_num": 9, "timestamp": 7, "body": "", "headers": headers });

    let decoded = decode(&mut decoder, &batch(&[boundary]));

    let part = &decoded.parts[0];
    assert_eq!((part.control(), &part.chunk), (Some("turn-complete"), &None));
    assert_eq!(part.header("session-in-event-id"), Some("4"));
    assert_eq!(part.headers[1], Header::new("session-in-event-id", "4"));
}

#[test]
fn headers_tell_the_three_kinds_apart_by_exact_name_and_the_first_wins_c6_c7() {
    let mut decoder = Decoder::new(None);
    let record = |seq: u64, headers: Value| json!({ "seq_num": seq, "timestamp": 7, "body": r#"{"data":1}"#, "headers": headers });
    let records = [
        record(0, json!([["", "trim"], ["trigger-control", "turn-complete"]])),
        record(1, json!([["Trigger-Control", "turn-complete"], ["x", "1"]])),
        record(2, json!([["x", "1"], ["trigger-control", "turn-complete"], ["trigger-control", "upgrade-required"]])),
    ];

    let decoded = decode(&mut decoder, &batch(&records));

    let seen: Vec<_> = decoded.parts.iter().map(|part| (part.seq_num.get(), part.control())).collect();
    assert_eq!(seen, [(1, None), (2, Some("turn-complete"))]);
}

#[test]
fn a_malformed_body_or_record_never_costs_its_neighbours_c33_ca22() {
    let mut decoder = Decoder::new(None);
    let malformed = json!({ "seq_num": 1, "timestamp": 7, "body": "{not json" });
    let no_record = json!({ "seq_num": "two" });

    let decoded = decode(&mut decoder, &batch(&[malformed, no_record, data(3, "a", json!("next"))]));

    assert_eq!(chunks(&decoded), [(1, None), (3, Some(json!("next")))]);
}

#[test]
fn other_events_and_unreadable_data_produce_nothing_c30() {
    let mut decoder = Decoder::new(Some(SeqNum::new(2)));
    let noise = "event: ping\ndata: {\"timestamp\":1}\n\ndata: [DONE]\n\nevent: later\ndata: {}\n\n\
                 event: batch\ndata: {oops\n\nevent: batch\ndata: {}\n\n: comment\n\n";

    let decoded = decode(&mut decoder, noise);

    assert_eq!((decoded.n_records, decoded.parts.len(), decoded.broken), (0, 0, None));
    assert_eq!(decoder.cursor(), Some(SeqNum::new(2)));
}

#[test]
fn the_events_own_id_is_never_the_cursor_c31() {
    let mut decoder = Decoder::new(None);

    decode(&mut decoder, &batch(&[data(0, "a", json!(1))]));

    // The string "0" is a known cursor (C-25).
    assert_eq!(decoder.last_event_id().as_deref(), Some("0"));
}

#[test]
fn a_known_id_is_dropped_even_on_the_next_connection_c34_c35() {
    let mut decoder = Decoder::new(None);
    decode(&mut decoder, &batch(&[data(0, "a", json!(1))]));

    decoder.begin(Version::Batch);
    let decoded = decode(&mut decoder, &batch(&[data(1, "a", json!(1)), data(2, "b", json!(2))]));

    assert_eq!(chunks(&decoded), [(2, Some(json!(2)))]);
    assert_eq!(decoder.cursor(), Some(SeqNum::new(2)));
}

#[test]
fn a_duplicate_is_not_given_again_and_moves_the_cursor_all_the_same_s122() {
    let mut decoder = Decoder::new(None);

    let decoded = decode(&mut decoder, &batch(&[data(0, "a", json!(1)), data(1, "a", json!(1))]));

    assert_eq!(chunks(&decoded), [(0, Some(json!(1)))]);
    assert_eq!((decoder.cursor(), decoder.last_event_id().as_deref()), (Some(SeqNum::new(1)), Some("1")));
}

#[test]
fn records_without_id_are_never_dropped_c34() {
    let mut decoder = Decoder::new(None);
    let anonymous = |seq: u64| json!({ "seq_num": seq, "timestamp": 7, "body": r#"{"data":1}"# });

    let decoded = decode(&mut decoder, &batch(&[anonymous(0), anonymous(1)]));

    assert_eq!(decoded.parts.len(), 2);
}

#[test]
fn every_byte_cut_decodes_the_same_c26_c27_ca23() {
    let text = format!(
        "\u{feff}: hello\r\n{}event: ping\r\ndata: {{}}\r\n\r\n{}data: [DONE]\n\n",
        batch(&[data(0, "a", json!("é😀"))]).replace('\n', "\r\n"),
        batch(&[data(1, "b", json!({ "type": "text-delta" })), data(2, "c", json!(3))]),
    );
    let mut whole = Decoder::new(None);
    let want = chunks(&decode(&mut whole, &text));
    assert_eq!(want.len(), 3);

    for cut in 0..=text.len() {
        let mut decoder = Decoder::new(None);
        let (head, tail) = text.as_bytes().split_at(cut);
        let mut got = chunks(&decoder.push(head, 0).unwrap());
        got.extend(chunks(&decoder.push(tail, 0).unwrap()));
        assert_eq!(got, want, "cut at {cut}");
    }
    let mut decoder = Decoder::new(None);
    let mut got = Vec::new();
    for byte in text.as_bytes() {
        got.extend(chunks(&decoder.push(&[*byte], 0).unwrap()));
    }
    assert_eq!(got, want, "byte by byte");
}

#[test]
fn an_unfinished_frame_dies_with_its_connection_c26() {
    let mut decoder = Decoder::new(None);
    let text = batch(&[data(0, "a", json!(1))]);
    decode(&mut decoder, text.trim_end());

    decoder.begin(Version::Batch);

    let decoded = decode(&mut decoder, &text);
    assert_eq!(chunks(&decoded), [(0, Some(json!(1)))]);
}

#[test]
fn an_error_event_breaks_the_attempt_after_the_records_before_it_rc18() {
    let mut decoder = Decoder::new(None);
    let text = format!("{}event: error\ndata: storage\n\n", batch(&[data(0, "a", json!(1))]));

    let decoded = decode(&mut decoder, &text);

    assert_eq!(decoded.parts.len(), 1);
    assert_eq!(decoded.broken.as_deref(), Some("storage"));
}

#[test]
fn a_missing_version_means_one_part_per_event_c28_c29() {
    assert_eq!(Version::from_header(None), Version::V1);
    assert_eq!(Version::from_header(Some("v1")), Version::V1);
    assert_eq!(Version::from_header(Some("v2")), Version::Batch);
    assert_eq!(Version::from_header(Some("7")), Version::Batch);
    let mut decoder = Decoder::new(None);
    decoder.begin(Version::V1);

    let decoded = decode(&mut decoder, "id: 1700-3\ndata: {\"a\":1}\n\ndata: plain\n\n");

    assert_eq!(chunks(&decoded), [(0, Some(json!({ "a": 1 }))), (1, Some(json!("plain")))]);
    assert_eq!(decoded.parts.iter().map(|part| part.timestamp).collect::<Vec<_>>(), [1700, 99]);
    assert_eq!(decoded.parts[1].part_id, Some(PartId::new("unknown")));
    assert_eq!(decoder.last_event_id().as_deref(), Some("1700-3"));
}
