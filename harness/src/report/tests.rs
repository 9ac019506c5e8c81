use serde_json::json;
use turnkeep_protocol::UiMessageChunk;

use super::*;
use crate::checks;
use crate::checks::tale::{Tale, reply, scenario};

fn outcome(scenario: &Scenario, tale: &Tale) -> Outcome {
    Outcome {
        scenario: scenario.name.clone(),
        seed: 7,
        violations: checks::check(scenario, &tale.entries),
        entries: tale.entries.clone(),
        transcript: String::new(),
        virtual_ms: 0,
        turns: 0,
        records: 0,
    }
}

fn cut_while_answering() -> Tale {
    Tale::new()
        .log("world", Event::Step { index: 0, step: json!({ "send": { "client": "alice", "text": "Hi" } }) })
        .ask("alice-1", "Hi")
        .say("a1", &["Hello ", "you."])
        .shown("alice#1", 3, "a1", "Hello ")
        .log("world", Event::Fault { what: "partition alice session".to_owned() })
        .shown("alice#1", 3, "a1", "Hello Hello ")
}

#[test]
fn a_report_says_what_broke_to_whom_and_when_and_how_to_see_it_again() {
    let mut scenario = scenario();
    scenario.why = "A page that is cut off goes on where it was.".to_owned();

    let text = report(&scenario, &outcome(&scenario, &cut_while_answering()));

    insta::assert_snapshot!(text, @r#"
    tale did not hold on seed 7
      A page that is cut off goes on where it was.

    shown-once is broken for alice#1: was shown seq_num 3 after seq_num 3
      at seq_num 3, 0.130 s, tale@7+130
           0.010 s  world     step 0: {"send":{"client":"alice","text":"Hi"}}
      >    0.110 s  alice     alice#1 is shown 3: text-delta "Hello "; on screen a1: "Hello "
           0.120 s  world     fault: partition alice session
      >    0.130 s  alice     alice#1 is shown 3: text-delta "Hello "; on screen a1: "Hello Hello "

    rendered-prefix is broken for alice#1: shows "Hello Hello " in message a1, where `out` tells "Hello you."
      at seq_num 3, 0.130 s, tale@7+130
           0.010 s  world     step 0: {"send":{"client":"alice","text":"Hi"}}
           0.120 s  world     fault: partition alice session
      >    0.130 s  alice     alice#1 is shown 3: text-delta "Hello "; on screen a1: "Hello Hello "

    show it again:  cargo xtask sim tale --seed 7
    and the moment: cargo xtask sim tale@7+130
    "#);
}

#[test]
fn a_run_that_breaks_a_lot_is_told_in_part() {
    let scenario = scenario();
    let mut outcome = outcome(&scenario, &cut_while_answering());
    let one = outcome.violations[0].clone();
    outcome.violations = vec![one; 9];

    let text = report(&scenario, &outcome);

    assert_eq!(text.matches(" is broken for ").count(), MAX_TOLD);
    assert!(text.contains("\nand 4 more\n"));
}

#[test]
fn every_entry_has_words() {
    let tale = Tale::good()
        .open("alice#3", &[reply("a1", &"long ".repeat(40))], None)
        .resumed("alice#3", true)
        .stopped("alice#3")
        .chunk(UiMessageChunk::error("broken"))
        .stop()
        .log("session", Event::Boot { boot: 2 })
        .log("world", Event::Heal);
    let lines: Vec<_> = tale.entries.iter().map(line).collect();

    assert!(tale.entries.iter().all(|entry| !describe(entry).is_empty()));
    insta::assert_snapshot!([&lines[..9], &lines[lines.len() - 9..]].concat().join("\n"), @r#"
    0.010 s  alice     alice#1 opens chat-1 with [] and no cursor
    0.020 s  session   stored chat-1 in 0: submit-message user alice-1 "Hi"
    0.030 s  session   run run_1 of chat-1, attempt 1, is queued
    0.040 s  session   run run_1 of chat-1, attempt 1, is leased
    0.050 s  alice     alice#1 has user alice-1 "Hi" acknowledged at seq_num 0
    0.060 s  session   stored chat-1 out 0: start a1
    0.070 s  session   stored chat-1 out 1: start-step
    0.080 s  session   stored chat-1 out 2: text-start
    0.090 s  session   stored chat-1 out 3: text-delta "Hello "
    0.660 s  world     the world has settled
    0.670 s  alice     alice#2 shows [user alice-1 "Hi", assistant a1 "Hello you.", user alice-2 "Weather?", assistant a2 "", user alice-3 "And?", assistant a3 "Well"]
    0.680 s  alice     alice#3 opens chat-1 with [assistant a1 "long long long long long long long long long long long long "…] and no cursor
    0.690 s  alice     alice#3 resumes its stream
    0.700 s  alice     alice#3 stops the answer
    0.710 s  session   stored chat-1 out 24: error "broken"
    0.720 s  session   stored chat-1 in 3: stop
    0.730 s  session   boots again, restart 2
    0.740 s  world     the story is over; faults end
    "#);
}
