//! What a recovery hook may decide, and what it may not (A-63…A-71).

use super::*;

fn interrupted() -> Found {
    let records = vec![user(0, "u0"), user(1, "u1"), trigger(2, Trigger::RegenerateMessage)];
    Found { out: script(&[begun("a0", "hal")]), input: records, ..Found::default() }
}

#[test]
fn a_hook_may_run_nothing_and_everything_is_closed_a63_aa84() {
    let choice = Choice { recovered_turns: Some(vec![]), ..Choice::default() };

    let plan = plan(replay(&interrupted()), &continuation(), Some(choice));

    assert_eq!(runs(&plan), "RegenerateMessage");
    assert_eq!((plan.finished, plan.closing), (vec![seq(0), seq(1)], ABORTS));
}

#[test]
fn a_hook_may_run_the_cut_message_again_and_invent_others_a63_a68() {
    let messages = vec![UiMessage::user("u0", "again"), UiMessage::user("new", "")];
    let choice = Choice { recovered_turns: Some(messages), chain: Some(vec![UiMessage::user("x", "")]) };
    let boot = ChatTaskWirePayload { metadata: Some(json!("boot")), ..continuation() };

    let plan = plan(replay(&interrupted()), &boot, Some(choice));

    // In channel order, so that an open turn always serves the lowest record; the invented one last.
    assert_eq!((ids(&plan.chain).as_str(), runs(&plan).as_str()), ("x", "u0 RegenerateMessage new"));
    let places: Vec<_> = plan.recovered.iter().map(|owed| owed.seq_num).collect();
    assert_eq!(places, [Some(seq(0)), Some(seq(2)), None]);
    assert_eq!(plan.recovered[2].payload.metadata, Some(json!("boot")));
    // A boundary here would cover nothing: the one of u0's turn covers both.
    assert_eq!(
        (plan.finished, plan.closing),
        (vec![seq(1)], Some(Closing { aborts: true, tells: false, ends: false }))
    );
}

#[test]
fn a_message_that_a_hook_runs_again_does_not_find_its_own_cut_answer_a63() {
    let choice = Choice { recovered_turns: Some(vec![UiMessage::user("u0", "u0")]), ..Choice::default() };

    let plan = plan(replay(&interrupted()), &continuation(), Some(choice));

    assert_eq!((ids(&plan.chain).as_str(), runs(&plan).as_str()), ("", "u0 RegenerateMessage"));
}

#[test]
fn a_hooks_turns_run_in_channel_order_whatever_its_own_a54_a65() {
    let messages = ["new", "u1", "u0"].map(|id| UiMessage::user(id, id)).to_vec();
    let choice = Choice { recovered_turns: Some(messages), ..Choice::default() };

    let plan = plan(replay(&interrupted()), &continuation(), Some(choice));

    assert_eq!(runs(&plan), "u0 u1 RegenerateMessage new");
}

#[test]
fn a_hook_cannot_drop_a_human_answer_it_never_saw_a54_a70() {
    let mut found = interrupted();
    let answer = ChatTaskWirePayload::submit("c", asking("a9", "output-available"));
    found.input.push(input(3, ChatInputChunk::message(answer)));
    let choice = Choice { recovered_turns: Some(vec![]), ..Choice::default() };

    let plan = plan(replay(&found), &continuation(), Some(choice));

    assert_eq!((runs(&plan).as_str(), plan.finished), ("RegenerateMessage a9", vec![seq(0), seq(1)]));
}

#[test]
fn a_hooks_chain_alone_leaves_the_turns_to_the_default_a63_aa85() {
    let choice = Choice { chain: Some(vec![UiMessage::user("x", "")]), ..Choice::default() };

    let plan = plan(replay(&interrupted()), &continuation(), Some(choice));

    assert_eq!((ids(&plan.chain).as_str(), runs(&plan).as_str()), ("x", "u1 RegenerateMessage"));
}
