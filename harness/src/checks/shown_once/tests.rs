use super::*;
use crate::checks::tale::{Tale, judge};

fn answered() -> Tale {
    Tale::new()
        .open("alice#1", &[], None)
        .ask("alice-1", "Hi")
        .sent("alice#1", "alice-1", "Hi", 0)
        .say("a1", &["A", "B"])
}

#[test]
fn a_page_that_watches_to_the_end_has_seen_it_all() {
    let tale = answered().watch("alice#1").boundary(0).ended("alice#1", "completed");

    assert_eq!(judge(check, &tale), [""; 0]);
}

#[test]
fn a_chunk_shown_twice_or_late_is_seen() {
    let twice = answered().shown("alice#1", 0, "a1", "").shown("alice#1", 0, "a1", "");
    let across_streams =
        answered().shown("alice#1", 1, "a1", "").ended("alice#1", "aborted").shown("alice#1", 0, "a1", "");

    assert_eq!(judge(check, &twice), ["was shown seq_num 0 after seq_num 0"]);
    assert_eq!(judge(check, &across_streams), ["was shown seq_num 0 after seq_num 1"]);
}

#[test]
fn a_chunk_that_is_not_the_stored_one_is_seen() {
    let other = answered().shown_as("alice#1", 3, UiMessageChunk::text_delta("t", "Z"), "a1", "Z");
    let nothing = answered().shown_as("alice#1", 99, UiMessageChunk::start_step(), "a1", "");

    assert_eq!(judge(check, &other), ["was shown a `text-delta` at seq_num 3 that is not the chunk stored there"]);
    assert_eq!(judge(check, &nothing), ["was shown a `start-step` at seq_num 99, where no chunk is stored"]);
}

#[test]
fn a_chunk_left_out_within_a_stream_is_seen_but_not_across_streams() {
    let within = answered().shown("alice#1", 0, "a1", "").shown("alice#1", 2, "a1", "");
    let across = answered().shown("alice#1", 0, "a1", "").ended("alice#1", "aborted").shown("alice#1", 2, "a1", "");

    assert_eq!(judge(check, &within), ["was never shown the `start-step` at seq_num 1, and then seq_num 2 was shown"]);
    assert_eq!(judge(check, &across), [""; 0]);
}

#[test]
fn trimmed_records_need_not_be_shown() {
    let tale = answered().shown("alice#1", 0, "a1", "").trimmed(ChannelName::Out, 2).shown("alice#1", 2, "a1", "");

    assert_eq!(judge(check, &tale), [""; 0]);
}

#[test]
fn a_stream_that_completes_too_early_is_seen() {
    let cut = answered().shown("alice#1", 0, "a1", "").boundary(0).ended("alice#1", "completed");
    let failed = answered().shown("alice#1", 0, "a1", "").boundary(0).ended("alice#1", "failed: no network");

    assert_eq!(
        judge(check, &cut),
        ["was never shown the `start-step` at seq_num 1, and then its stream was completed"]
    );
    assert_eq!(judge(check, &failed), [""; 0]);
}

#[test]
fn a_resumed_stream_goes_on_after_the_cursor_i5() {
    let resume =
        |first| answered().open("alice#2", &[], Some(1)).resumed("alice#2", true).shown("alice#2", first, "a1", "");

    assert_eq!(judge(check, &resume(2)), [""; 0]);
    let missed = "was never shown the `text-start` at seq_num 2, and then seq_num 3 was shown";
    assert_eq!(judge(check, &resume(3)), [missed]);
}

#[test]
fn the_tail_of_a_stopped_turn_stays_hidden_after_a_reload_c112() {
    let tale = answered()
        .shown("alice#1", 0, "a1", "")
        .boundary(0)
        .stopped("alice#1")
        .ask("alice-2", "Go on")
        .sent("alice#1", "alice-2", "Go on", 1)
        .say("a2", &["C"])
        .open("alice#2", &[], Some(0))
        .resumed("alice#2", true);
    let first_of_second_turn = 9;

    assert_eq!(judge(check, &tale.clone().shown("alice#2", first_of_second_turn, "a2", "")), [""; 0]);
    assert_eq!(judge(check, &tale.shown("alice#2", first_of_second_turn + 1, "a2", "")).len(), 1);
}

#[test]
fn a_stream_that_ends_as_settled_has_shown_everything_s120() {
    let midway = || answered().shown("alice#1", 0, "a1", "");
    let early = midway().ended("alice#1", "settled");
    let whole = answered().watch("alice#1").boundary(0).ended("alice#1", "settled");
    let nothing = answered().ended("alice#1", "settled");

    let missed = "was never shown the `start-step` at seq_num 1, and then its stream ended as settled";
    assert_eq!(judge(check, &early), [missed]);
    assert_eq!(judge(check, &midway().boundary(0).ended("alice#1", "settled")), [missed]);
    assert_eq!(judge(check, &whole), [""; 0]);
    let first = "was never shown the `start` at seq_num 0, and then its stream ended as settled";
    assert_eq!(judge(check, &nothing), [first]);
}

#[test]
fn a_resumed_stream_that_ends_as_settled_is_judged_from_the_page_s_cursor() {
    let resumed = |cursor| {
        answered().boundary(0).open("alice#2", &[], cursor).resumed("alice#2", true).ended("alice#2", "settled")
    };

    assert_eq!(judge(check, &resumed(Some(8))), [""; 0]);
    let missed = "was never shown the `start` at seq_num 0, and then its stream ended as settled";
    assert_eq!(judge(check, &resumed(None)), [missed]);
}

#[test]
fn what_another_person_s_turn_told_after_all_was_settled_may_be_missing() {
    let settled = answered().boundary(0).open("alice#2", &[], Some(8)).resumed("alice#2", true);
    let meanwhile = settled.ask("bob-1", "Ho").chunk(UiMessageChunk::start("a2"));

    assert_eq!(judge(check, &meanwhile.ended("alice#2", "settled")), [""; 0]);
}

#[test]
fn a_page_is_shown_the_first_places_of_a_backend_that_has_replaced_another() {
    let later = Tale::new().sent("alice#1", "alice-2", "Bye", 0).begin("a2", &["C"]).shown("alice#1", 0, "a2", "");
    let tale = answered().watch("alice#1").replaced_by(&later);

    assert_eq!(judge(check, &tale), [""; 0]);
    let twice = answered().watch("alice#1").replaced_by(&later.shown("alice#1", 0, "a2", ""));
    assert_eq!(judge(check, &twice), ["was shown seq_num 0 after seq_num 0"]);
}
