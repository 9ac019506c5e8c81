//! Races of C §11 whose event table no other test walks from end to end.

use turnkeep_client::{Error, Outcome, PendingMessages, SendMessages};
use turnkeep_protocol::UiMessage;

use crate::fake::{After, ReadPlan};
use crate::rig::{CHAT, Rig, drain, next_text, text_of};

/// A chat in the middle of its first answer.
async fn mid_answer() -> (Rig, turnkeep_client::ChatStream) {
    let rig = Rig::start().await;
    rig.fake.say("old ");
    let mut first = rig.send("one").await.unwrap();
    assert_eq!(next_text(&mut first).await, "old ");
    (rig, first)
}

#[tokio::test(start_paused = true)]
async fn what_is_written_while_a_turn_runs_waits_for_its_end_and_gets_its_own_reply_cr8_c153() {
    // 1 a turn streams; 2 she writes on, and the page keeps it; 3 the turn ends; 4 what has waited is sent and answered alone.
    let (rig, first) = mid_answer().await;
    let mut pending = PendingMessages::new();
    pending.queue(UiMessage::user("id-two", "two")).unwrap();
    rig.fake.say("tail");
    rig.fake.boundary(0);
    assert_eq!((text_of(first).await.as_str(), rig.fake.appends().len()), ("tail", 1));

    let waited = pending.next_leftover().expect("it has waited");
    let second = rig.transport.send_messages(CHAT, SendMessages::submit([waited])).await.unwrap();
    rig.fake.say("new");
    rig.fake.boundary(1);

    assert_eq!(text_of(second).await, "new");
}

#[tokio::test(start_paused = true)]
async fn a_send_into_a_running_turn_gets_the_tail_of_the_old_reply_before_its_own_cr8() {
    // No record says which turn it is of, so this is how it stays; the boundary between the two is counted, for who can use it.
    let (rig, first) = mid_answer().await;

    let mut second = rig.send("two").await.unwrap();
    rig.fake.say("tail ");
    rig.fake.boundary(0);
    rig.fake.say("new");
    rig.fake.boundary(1);

    assert_eq!(first.outcome(), Some(Outcome::Superseded));
    assert_eq!(next_text(&mut second).await, "tail ");
    assert_eq!((next_text(&mut second).await.as_str(), second.n_earlier_turns()), ("new", 1));
    assert_eq!(drain(&mut second).await.2, Outcome::Completed);
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_timeouts_have_cut_is_an_error_and_the_chat_does_not_stream_on_cr5_c46_c150() {
    // 1 a reply has begun; 2 every connection goes dead until the reader's own timeouts are used up; 3 the page must not take that for
    // its person's cancel: the reply is no whole one, and the flag does not stay.
    let rig = Rig::start().await;
    rig.fake.say("Half ");
    rig.fake.on_read(ReadPlan::serve(1, After::Silent));
    for _ in 0..5 {
        rig.fake.on_read(ReadPlan::serve(0, After::Silent));
    }

    let (text, failure, outcome) = drain(&mut rig.send("hi").await.unwrap()).await;

    assert_eq!((text.as_str(), outcome), ("Half ", Outcome::Failed));
    assert!(matches!(failure, Some(Error::RetriesExhausted { .. })), "{failure:?}");
    assert_eq!(rig.heard.last_change().is_streaming, Some(false));
    assert_eq!(rig.heard.event_names().last(), Some(&"stream-error"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_and_a_reload_bring_nothing_of_the_stopped_reply_back_cr15_cr19() {
    // 1 stopped in mid-turn, the tail unread; 2 the page is loaded anew; 3 it resumes nothing; 4 the late output of the stopped turn is
    // there before the next send's; 5 only the new reply is shown.
    let (mut rig, first) = mid_answer().await;
    assert!(rig.transport.stop_generation(CHAT).await);
    drop(first);
    rig.reload();
    rig.fake.say("late tool output");
    rig.fake.boundary(0);

    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
    rig.fake.next_input(2);
    let second = rig.send("two").await.unwrap();
    rig.fake.say("new");
    rig.fake.boundary(2);

    assert_eq!(text_of(second).await, "new");
    assert!(!rig.state().skip_to_turn_complete);
}

#[tokio::test(start_paused = true)]
async fn a_state_of_another_backend_is_made_anew_and_its_cursor_hides_nothing_cr24_c142() {
    // 1 the saved state is of a server that knew the chat far longer; 2 the new one does not know it; 3 it is created; 4 the old cursor
    // would lie behind all that comes, in silence for ever.
    let rig = Rig::resumed(crate::rig::streaming(Some(900), Some(70))).await;
    let unknown = serde_json::json!({ "error": "Session not found" });
    rig.fake.on_append(crate::fake::AppendPlan::Refuse(404, unknown, Vec::new()));
    rig.fake.say("fresh");
    rig.fake.boundary(0);

    assert_eq!(text_of(rig.send("hi").await.unwrap()).await, "fresh");

    assert_eq!((rig.heard.n_starts(), rig.fake.reads()[0].cursor.as_deref()), (1, None));
}

#[tokio::test(start_paused = true)]
async fn an_answer_whose_records_are_gone_ends_with_an_error_and_its_cursor_hides_nothing_cr24_c142_d57() {
    // 1 a reply has begun; 2 the connection breaks, and another backend is there, with fewer records than were read; 3 nothing will ever
    // come of the reply: the page is told; 4 the next reply is read from the beginning.
    let rig = Rig::start().await;
    rig.fake.say("Half ");
    rig.fake.on_read(ReadPlan::serve(1, After::Break));
    let headers = vec![("x-clamped-cursor", "0")];
    rig.fake.on_read(ReadPlan::Serve { max: 0, after: After::Silent, headers });

    let (text, failure, outcome) = drain(&mut rig.send("hi").await.unwrap()).await;

    assert_eq!((text.as_str(), outcome), ("Half ", Outcome::Failed));
    assert!(matches!(failure, Some(Error::CursorPastTail { .. })), "{failure:?}");
    assert_eq!((rig.state().is_streaming, rig.state().last_event_id), (Some(false), None));
    let second = rig.send("again").await.unwrap();
    rig.fake.say("new");
    rig.fake.boundary(1);
    text_of(second).await;
    assert_eq!(rig.fake.reads().last().unwrap().cursor, None);
}
