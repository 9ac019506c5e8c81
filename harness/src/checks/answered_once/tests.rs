use serde_json::json;
use turnkeep_protocol::{ChatTaskWirePayload, UiMessageChunk};

use super::*;
use crate::checks::tale::{CHAT, Tale, judge};

#[track_caller]
fn check_tale(tale: &Tale, want: &[&str]) {
    assert_eq!(judge(check, tale), want);
}

fn asked() -> Tale {
    Tale::new().ask("alice-1", "Hi")
}

fn action() -> ChatInputChunk {
    ChatInputChunk::message(ChatTaskWirePayload::new(CHAT, Trigger::Action))
}

#[test]
fn each_input_has_its_turn() {
    check_tale(
        &asked().say("a1", &["A"]).boundary(0).ask("alice-2", "Bye").say("a2", &["B"]).boundary(1).settled(),
        &[],
    );
}

#[test]
fn an_input_without_a_turn_is_seen_once_the_world_has_settled() {
    let tale = asked().say("a1", &["A"]).boundary(0).ask("alice-2", "Bye");

    check_tale(&tale, &[]);
    check_tale(&tale.clone().settled(), &["message alice-2 at seq_num 1 was never answered"]);
    check_tale(&tale.control(control::SESSION_CLOSED).settled(), &[]);
}

#[test]
fn a_second_answer_is_seen() {
    let tale = asked().say("a1", &["A"]).boundary(0).say("a2", &["A"]).boundary(0);

    check_tale(&tale, &["the turn-complete at seq_num 15 ends a turn that streamed a message for no owed input"]);
}

#[test]
fn one_streamed_turn_for_two_inputs_is_seen_unless_one_was_injected_a166() {
    let two = asked().ask("alice-2", "Bye");
    let injected = json!({ "messageIds": ["alice-2"], "messages": [] });
    let steered = two.clone().chunk(UiMessageChunk::data("pending-message-injected", Some("d"), injected));

    check_tale(
        &two.say("a1", &["A"]).boundary(1),
        &["the turn-complete at seq_num 7 covers the owed seq_nums 0, 1 with one streamed turn"],
    );
    check_tale(&steered.say("a1", &["A"]).boundary(1).settled(), &[]);
}

#[test]
fn a_cursor_that_falls_or_runs_ahead_is_seen_i4() {
    let falls = asked().ask("alice-2", "Bye").say("a1", &["A"]).boundary(0).say("a2", &["B"]).boundary(1).boundary(0);
    let ahead = asked().say("a1", &["A"]).boundary(1);

    check_tale(&falls, &["the turn-complete at seq_num 16 moves the settled cursor back to 0 from 1"]);
    check_tale(&ahead, &["the turn-complete at seq_num 7 covers seq_num 1, but `in` ends at seq_num 0"]);
}

#[test]
fn a_streamed_turn_must_say_what_it_covers() {
    let tale = asked().say("a1", &["A"]).control(control::TURN_COMPLETE);

    check_tale(&tale, &["the turn-complete at seq_num 7 ends a streamed turn without a cursor"]);
}

#[test]
fn a_turn_that_streams_nothing_answers_nothing() {
    let want = "the turn-complete at seq_num 0 covers message alice-1 at seq_num 0, but nothing was streamed";

    check_tale(&asked().boundary(0), &[want]);
}

#[test]
fn stops_duplicates_and_actions_may_stream_nothing_d42_a161() {
    check_tale(&asked().stop().boundary(1).settled(), &[]);
    check_tale(&asked().say("a1", &["A"]).boundary(0).ask("alice-1", "Hi").boundary(1).settled(), &[]);
    check_tale(&Tale::new().input(&action()).boundary(0).settled(), &[]);
}

#[test]
fn interrupted_stopped_and_failed_turns_are_answers_d31_d34() {
    let interrupted = asked().begin("a1", &["A"]).chunk(UiMessageChunk::abort("interrupted")).boundary(0);
    let given_up = interrupted.clone().ask("alice-2", "Bye").boundary(1);
    let failed = asked().chunk(UiMessageChunk::error("rejected")).boundary(0);
    let poison = asked().ask("alice-2", "Bye").chunk(UiMessageChunk::error("no answer")).boundary(1);

    for tale in [interrupted, given_up, failed, poison] {
        check_tale(&tale.settled(), &[]);
    }
}

#[test]
fn a_head_start_is_taken_over_without_an_owed_input() {
    let handover =
        ChatInputChunk::Handover { partial_assistant_message: Vec::new(), message_id: None, is_final: false };

    check_tale(&Tale::new().input(&handover).say("a1", &["A"]).boundary(0).settled(), &[]);
}

#[test]
fn only_the_server_fails_several_inputs_with_one_turn_d34() {
    let leased = || asked().ask("alice-2", "Bye").run("run_1", 1, "leased");
    let error = || UiMessageChunk::error("no answer");

    check_tale(
        &leased().chunk(error()).boundary(1),
        &["the turn-complete at seq_num 1 covers the owed seq_nums 0, 1 with one failed turn of a run"],
    );
    check_tale(&leased().run("run_1", 1, "failed").chunk(error()).boundary(1).settled(), &[]);
}

#[test]
fn a_stop_excuses_only_the_newest_owed_input_before_it() {
    let want = "the turn-complete at seq_num 0 covers message alice-1 at seq_num 0, but nothing was streamed";

    check_tale(&asked().ask("alice-2", "Bye").stop().boundary(2), &[want]);
    check_tale(&asked().stop().ask("alice-2", "Bye").boundary(0), &[]);
}

#[test]
fn what_a_backend_owed_that_was_replaced_is_owed_no_more() {
    let later = Tale::new().ask("alice-2", "Bye");

    check_tale(&asked().replaced_by(&later).settled(), &["message alice-2 at seq_num 0 was never answered"]);
    check_tale(&asked().replaced_by(&later.say("a2", &["B"]).boundary(0)).settled(), &[]);
}
