//! Races and faults between a worker that dies and the one that takes over, step by step (A Appendix A).

use std::time::Duration;

use tokio::time::Instant;
use turnkeep_agent::{Agent, Boot, Recovery, RecoveryBoot};
use turnkeep_harness::model::{MockLanguageModel, say, stall, wait};
use turnkeep_harness::{At, Fault, FaultPoint, Faults, MockChat, MockChatAgent, Restart};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// Notes each boot and what a recovery hook is told.
fn booting(diary: &Diary) -> Agent {
    let told = diary.clone();
    plain().on_boot(noting::<Boot>(diary, "boot")).on_recovery_boot(move |event: RecoveryBoot| {
        told.note(format!("recovery({})", event.partial_assistant.text()));
        async { Ok(Recovery::default()) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_regenerate_between_two_messages_has_its_place_after_a_crash_ar38_a54() {
    // 1 `in` holds M2, a regenerate and M3 behind the turn that runs; 2 the worker dies; 3 boot takes up what is owed; 4 the regenerate
    // must run, and in its place.
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("b2")]).step([say("c")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::before("run"));
    let one = chat.send("one").through_crashes().begin().await;
    barrier.reached().await;
    let two = chat.send("two").through_crashes().begin().await;
    let again = chat.send_regenerate().through_crashes().begin().await;
    let three = chat.send("three").through_crashes().begin().await;

    chat.restart(Restart::Crash).await;
    barrier.release();

    one.turn().await.assert_text("a");
    two.turn().await.assert_text("b");
    again.turn().await.assert_text("b2");
    three.turn().await.assert_text("c");
    model.assert_prompt(2).reads(&["user: one", "assistant: a", "user: two"]);
    model.assert_prompt(3).reads(&["user: one", "assistant: a", "user: two", "assistant: b2", "user: three"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_snapshot_failed_outlives_the_next_turns_trim_and_a_crash_ar41_a108() {
    // 1 turn 2 ends, its snapshot is not stored; 2 turn 3 ends and `out` is trimmed; 3 the worker dies before turn 3's snapshot; 4 boot
    // has the snapshot of turn 1 and what is left of `out`: turn 2 must be in it.
    let faults = Faults::new();
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]).step([say("d")]);
    let mut chat = MockChat::new(plain()).faults(&faults).start(&model).await;
    chat.send("one").await;
    faults.next(FaultPoint::SnapshotWrite, Fault::Status(400));
    chat.send("two").await;
    let barrier = chat.barrier(At::before_snapshot());
    chat.send("three").completed().await;
    barrier.reached().await;
    let stored = chat.get_snapshot().await.map(|snapshot| snapshot.messages.len());
    // Until a trim would have taken effect: within a minute (S-89).
    chat.advance(SECOND * 61).await;

    chat.restart(Restart::Crash).await;
    barrier.release();
    chat.send("four").await.assert_text("d");

    assert_eq!((faults.met(FaultPoint::SnapshotWrite), stored), (1, Some(2)), "turn 1's is the newest");
    let told = ["user: one", "assistant: a", "user: two", "assistant: b", "user: three", "assistant: c", "user: four"];
    model.assert_prompt(3).reads(&told);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_that_the_dead_worker_was_sent_does_not_cut_the_recovered_turn_ar46_a55() {
    // 1 `in` holds M2 and a stop; 2 the worker dies; 3 boot takes M2 up; 4 nobody may hand the old stop to M2's turn while it streams.
    let model = MockLanguageModel::new().step([say("Once "), wait(SECOND * 5), say("upon a time")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::before("run"));
    let one = chat.send("one").through_crashes().begin().await;
    barrier.reached().await;
    chat.send_stop_because("enough").await;

    chat.restart(Restart::Crash).await;
    barrier.release();

    one.turn().await.assert_text("Once upon a time");
    model.assert_calls(1);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn boot_reads_the_channels_without_waiting_for_what_may_come_af2_a49() {
    // 1 a worker dies in a turn; 2 the next one reads snapshot, `out` and `in`, of which none has more to come; 3 it must be through at once,
    // and not when a long poll ends.
    let model = MockLanguageModel::new().step([say("a"), stall()]).step([say("b")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let one = chat.send("one").through_crashes().begin().await;
    chat.advance(SECOND).await;
    let (reads, booted) = (chat.barrier(At::before_read("out")), chat.barrier(At::booted()));

    let boot = async {
        reads.reached().await;
        let began = Instant::now();
        reads.release();
        booted.reached().await;
        booted.release();
        began.elapsed()
    };
    let (took, ()) = tokio::join!(boot, chat.restart(Restart::Crash));

    assert!(took < SECOND / 10, "{took:?}");
    assert_eq!(one.turn().await.text(), "a", "the cut answer is closed as it was");
    chat.send("two").await.assert_text("b");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_turn_that_lost_its_worker_is_no_answer_that_a_crash_cut_af4_a52() {
    // 1 an answer is stopped, its boundary is out; 2 the worker dies before the snapshot; 3 boot finds `start`, a text without its end and
    // `abort`, then the boundary; 4 it must take this for a turn that is over: no recovery, no second answer.
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("Once "), stall()]).step([say("b")]);
    let mut chat = MockChatAgent::start(booting(&diary), &model).await;
    let barrier = chat.barrier(At::before_snapshot());
    let one = chat.send("one").completed().begin().await;
    chat.advance(SECOND).await;
    assert!(chat.send_stop().await);
    one.turn().await;
    barrier.reached().await;
    assert_eq!(chat.get_snapshot().await, None);

    chat.restart(Restart::Crash).await;
    barrier.release();
    chat.send("two").await.assert_text("b");

    assert_eq!(diary.read(), "boot boot");
    model.assert_prompt(1).reads(&["user: one", "assistant: Once ", "user: two"]);
    let aborts = chat.all_chunks().iter().filter(|chunk| chunk.kind() == "abort").count();
    assert_eq!(aborts, 1);
    chat.finish().await;
}
