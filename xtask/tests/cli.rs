//! The command line as a process: what people type, what it answers, its exit code, in a house made for the test.

#[path = "cli/chat.rs"]
mod chat;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A story that holds, and whose answer a test can make wrong.
const STORY: &str = r#"{
  "why": "A question gets its answer.",
  "agent": "storyteller",
  "model": [{ "parts": [{ "say": "Hi." }] }],
  "steps": [
    { "send": { "client": "alice", "text": "Hello" } },
    { "wait_answer": { "client": "alice" } }
  ],
  "expect": [{ "answers": { "client": "alice", "texts": ["Hi."] } }]
}
"#;

/// Makes a house with one story, `greeting`.
fn house(story: &str) -> TempDir {
    let house = tempfile::tempdir().unwrap();
    for folder in ["scenarios", "golden", "docs"] {
        fs::create_dir(house.path().join(folder)).unwrap();
    }
    fs::write(house.path().join("scenarios/greeting.json"), story).unwrap();
    house
}

fn xtask(house: &Path, ci: bool, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(args).env("TURNKEEP_ROOT", house).env_remove("CI");
    if ci {
        command.env("CI", "true");
    }
    command.output().unwrap()
}

/// Runs the tool, asserts its exit code and gives what it wrote, stdout first.
#[track_caller]
fn exits(house: &TempDir, args: &[&str], code: i32) -> String {
    let output = xtask(house.path(), false, args);
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert_eq!(output.status.code(), Some(code), "{args:?}\n{text}");
    text
}

#[test]
fn a_story_that_holds_and_looks_like_its_golden_is_0() {
    let house = house(STORY);

    let blessed = exits(&house, &["bless", "greeting"], 0);
    let held = exits(&house, &["sim", "greeting"], 0);

    assert!(blessed.contains("greeting: written"), "{blessed}");
    assert!(house.path().join("docs/scenario.schema.json").exists());
    assert!(held.starts_with("greeting  seed 1") && held.ends_with("1 of 1 runs held\n"), "{held}");
    exits(&house, &["sim", "greeting", "--twin", "--jobs", "1"], 0);
}

#[test]
fn an_unknown_verb_name_or_flag_is_2() {
    let house = house(STORY);

    exits(&house, &["fly"], 2);
    exits(&house, &["sim", "--fast"], 2);
    let text = exits(&house, &["sim", "greting"], 2);
    assert!(text.contains("did you mean `greeting`?"), "{text}");
    exits(&house, &["bless", "greting"], 2);
}

#[test]
fn a_scenario_file_with_a_wrong_word_is_2_with_its_place() {
    let agent = exits(&house(&STORY.replace("storyteller", "storyteler")), &["sim"], 2);
    assert!(agent.contains("scenarios/greeting.json:3:12: there is no agent `storyteler`"), "{agent}");
    assert!(agent.contains("did you mean `storyteller`?"), "{agent}");

    let huge = STORY.replace("{ \"wait_answer\"", "{ \"advance_ms\": 18446744073709551615 },\n    { \"wait_answer\"");
    let number = exits(&house(&huge), &["sim"], 2);
    assert!(number.contains("scenarios/greeting.json:7:21: `advance_ms` is from 0 to 3600000"), "{number}");
}

#[test]
fn a_failed_expectation_is_3_and_is_not_blessed() {
    let house = house(&STORY.replace(r#"["Hi."]"#, r#"["Bye."]"#));

    let text = exits(&house, &["sim"], 3);
    assert!(text.contains("greeting did not hold on seed 1"), "{text}");
    assert!(text.contains("and the moment: cargo xtask sim greeting@1+"), "{text}");

    let text = exits(&house, &["bless"], 3);
    assert!(text.contains("greeting: not blessed"), "{text}");
    assert!(!house.path().join("golden/greeting.snap").exists());
}

#[test]
fn a_wait_that_runs_out_is_4() {
    let late = STORY.replace(
        "wait_answer\": { \"client\": \"alice\" }",
        "wait_stored\": { \"channel\": \"in\", \"count\": 9, \"within_ms\": 50 }",
    );

    let text = exits(&house(&late), &["sim"], 4);

    assert!(text.contains("9 records on `in` did not come true within 50 ms"), "{text}");
}

#[test]
fn an_edited_golden_is_5_and_leaves_a_proposal_until_the_two_agree_again() {
    let house = house(STORY);
    exits(&house, &["bless"], 0);
    let golden = house.path().join("golden/greeting.snap");
    let proposal = house.path().join("golden/greeting.snap.new");
    let right = fs::read_to_string(&golden).unwrap();

    fs::write(&golden, right.replace("Hi.", "Bye.")).unwrap();
    let text = exits(&house, &["sim"], 5);
    assert!(text.contains("greeting differs from its golden on seed 1"), "{text}");
    assert!(text.contains("golden/greeting.snap.new"), "{text}");
    assert_eq!(fs::read_to_string(&proposal).unwrap(), right);

    fs::write(&golden, &right).unwrap();
    exits(&house, &["sim"], 0);
    assert!(!proposal.exists(), "a run that matches takes the proposal away");

    fs::write(&golden, right.replace("Hi.", "Bye.")).unwrap();
    exits(&house, &["sim"], 5);
    exits(&house, &["bless"], 0);
    assert!(!proposal.exists(), "bless takes the proposal away");
    assert_eq!(fs::read_to_string(&golden).unwrap(), right);
}

#[test]
fn ids_nobody_cites_are_listed_and_fail_only_a_check() {
    let house = house(&STORY.replace("its answer.", "its answer (A-1)."));
    fs::create_dir(house.path().join("docs/spec")).unwrap();
    fs::write(house.path().join("docs/spec/rules.md"), "## 2. Turns\n- A-1 One.\n- A-2 Two.\n- S-1 Row.\n").unwrap();

    let all = exits(&house, &["spec"], 0);
    let uncited = exits(&house, &["spec", "--area", "runtime", "--uncited", "--check"], 1);

    assert!(all.starts_with("A-1     §2      One.\n        scenario  greeting\n"), "{all}");
    assert!(uncited.starts_with("A-2     §2      Two.\n\n"), "{uncited}");
    let wrong = exits(&house, &["spec", "--section", "3"], 2);
    assert!(wrong.contains("there is no section `3`"), "{wrong}");
    exits(&house, &["spec", "--area", "moon"], 2);
}

#[test]
fn a_smoke_bench_prints_a_line_for_each_measurement() {
    let house = house(STORY);

    let output = xtask(house.path(), true, &["bench", "mock", "--smoke"]);

    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
    assert_eq!(output.status.code(), Some(0), "{text}");
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = lines.iter().map(|line| line["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["chats", "long-chat", "tools"]);
    assert!(lines.iter().all(|line| line["chunks_per_s"].as_f64() > line["turns_per_s"].as_f64()), "{text}");
    let wrong = exits(&house, &["bench", "mock", "long-chats"], 2);
    assert!(wrong.contains("did you mean `long-chat`?"), "{wrong}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_smoke_bench_of_the_server_prints_what_each_load_did() {
    let house = house(STORY);

    for store in ["memory", "redb"] {
        let output = xtask(house.path(), true, &["bench", "serve", "--store", store, "--smoke"]);

        let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned()).concat();
        assert_eq!(output.status.code(), Some(0), "{text}");
        let lines = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<serde_json::Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let [idle, live, appends] = lines.as_slice() else { panic!("three lines, not {text}") };
        assert_eq!([idle, live, appends].map(|line| line["name"].as_str().unwrap()), ["idle", "live", "appends"]);
        assert_eq!((idle["sessions"].as_u64(), idle["readers"].as_u64()), (Some(100), Some(100)));
        assert!([idle, live, appends].iter().all(|line| line["store"] == store), "{text}");
        let rate = live["records_per_s"].as_f64().unwrap();
        assert!(rate > 10.0 && rate <= 20.0, "every record reached its reader, by a clock that was read: {text}");
        assert!(appends["appends_per_s"].as_f64() > Some(0.0), "{text}");
    }
}

#[test]
fn ci_neither_proposes_nor_blesses() {
    let house = house(STORY);

    let differs = xtask(house.path(), true, &["sim"]);
    let refused = xtask(house.path(), true, &["bless"]);

    assert_eq!((differs.status.code(), refused.status.code()), (Some(5), Some(2)));
    assert_eq!(fs::read_dir(house.path().join("golden")).unwrap().count(), 0);
}

#[test]
fn the_story_of_the_guide_holds() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(top.join("docs/guide/scenarios.md")).unwrap();
    let story = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the page has a story");
    let house = house(story);

    let blessed = exits(&house, &["bless"], 0);

    assert!(blessed.contains("greeting: written"), "{blessed}");
    exits(&house, &["sim", "--seeds", "1..5"], 0);
}

/// Makes the time on this machine `…`: the rest of a line is the same wherever it is printed.
fn masked(text: &str) -> String {
    let line = |line: &str| match line.split_once(" wall ms") {
        Some((before, after)) => {
            format!("{} … wall ms{after}", before.trim_end_matches(|c: char| c.is_ascii_digit() || c == ' '))
        }
        None => line.trim_end().to_owned(),
    };
    text.trim().lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_report_in_the_readme_is_what_the_tool_prints() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let story = fs::read_to_string(top.join("scenarios/persistence-awaited-or-deferred.json")).unwrap();
    let (story, _careless) = story.split_once(",\n  \"careless\"").expect("the story has a careless twin");
    let story = format!("{story}\n}}\n").replacen(r#""agent": "persisted""#, r#""agent": "persisted-deferred""#, 1);
    let house = house(STORY);
    fs::remove_file(house.path().join("scenarios/greeting.json")).unwrap();
    fs::write(house.path().join("scenarios/question-deferred.json"), story).unwrap();

    let output = xtask(house.path(), false, &["sim"]);

    assert_eq!(output.status.code(), Some(3));
    let printed = String::from_utf8(output.stdout).unwrap();
    let readme = fs::read_to_string(top.join("README.md")).unwrap();
    let blocks: Vec<&str> = readme.split("```").filter(|block| block.contains("question-deferred  seed")).collect();
    assert_eq!(blocks.len(), 1, "the README has one report");
    assert_eq!(masked(blocks[0]), masked(&printed), "put this into README.md:\n{printed}");
}
