use serde_json::{Value, json};

use super::super::Step;
use super::*;

/// A story that is right, with one of its lines replaced.
fn story(find: &str, replace: &str) -> String {
    let good = r#"{
  // Comments are read.
  "why": "It shows something.",
  "agent": "echo",
  "people": ["alice", "bob"],
  "model": [{ "parts": [{ "say": "Hi." }] }],
  "latency_ms": [1, 8],
  "steps": [
    { "send": { "client": "alice", "text": "Hello" } },
    { "partition": ["alice", "session"] },
    { "crash": "worker-1" },
    { "dribble": { "client": "bob", "from": "session", "bytes": 3 } },
  ],
  "expect": [{ "answers": { "client": "bob", "texts": [] } }],
}"#;
    assert!(find.is_empty() || good.contains(find), "the good story has no {find}");
    good.replacen(find, replace, 1)
}

/// Refuses the story with `find` replaced: the complaint is `message`, its caret is under `marked` on `line`.
#[track_caller]
fn refused(find: &str, replace: &str, (line, marked): (usize, &str), message: &str) -> ScenarioError {
    let err = parse("story", &story(find, replace)).expect_err("the story is wrong");
    assert_eq!(err.message, message);
    let place = err.place.as_deref().expect("the complaint has a place");
    let under: String = place.source.chars().skip(place.column - 1).take(place.width).collect();
    assert_eq!((place.line, under.as_str()), (line, marked), "{err}");
    err
}

#[test]
fn comments_and_trailing_commas_are_read_and_defaults_filled_in() {
    let scenario = parse("story", &story("", "")).unwrap();

    assert_eq!(scenario.name, "story");
    assert_eq!((scenario.workers, scenario.seed), (1, 1));
    assert_eq!(scenario.steps[2], Step::Crash("worker-1".to_owned()));
}

#[test]
fn broken_json_is_shown_where_it_breaks() {
    refused(
        r#""agent":"#,
        r#""agent""#,
        (4, r#""echo""#),
        "broken JSON: expected colon after the string or word in object property",
    );
    refused(r#""echo","#, r#""echo""#, (4, ""), "broken JSON: expected comma");
    refused(r#""echo""#, "echo", (4, "echo"), "broken JSON: unexpected token");
    refused(r#""agent""#, "agent", (4, "agent"), "broken JSON: expected string for object property");
    refused(
        "  \"expect\": [{ \"answers\": { \"client\": \"bob\", \"texts\": [] } }],\n}",
        "",
        (1, "{"),
        "broken JSON: unterminated object",
    );
}

#[test]
fn a_file_without_a_value_is_broken() {
    let err = parse("story", "// nothing\n").unwrap_err();

    assert_eq!(err.to_string(), "story.json:1:1: broken JSON: the file is empty\n  |\n1 | // nothing\n  | ^");
}

#[test]
fn unknown_words_are_named_with_the_allowed_ones() {
    let verb = refused(r#""send""#, r#""sned""#, (9, r#""sned""#), "unknown verb `sned`");
    assert_eq!(verb.suggestion.as_deref(), Some("send"));
    assert!(verb.allowed.contains(&"power_loss".to_owned()), "{:?}", verb.allowed);

    let field = refused(r#""text""#, r#""txt""#, (9, r#""txt""#), "unknown field `txt`");
    assert_eq!(field.allowed, ["client", "text", "times", "until"]);
    assert_eq!(field.suggestion.as_deref(), Some("text"));

    let top = refused(r#""agent""#, r#""agnet""#, (4, r#""agnet""#), "unknown field `agnet`");
    assert_eq!(top.suggestion.as_deref(), Some("agent"));

    let word = refused(r#""Hello""#, r#""Hello", "until": "acepted""#, (9, r#""acepted""#), "unknown word `acepted`");
    assert_eq!(word.allowed, ["accepted", "pressed"]);

    let part = refused(r#""say""#, r#""sya""#, (6, r#""sya""#), "unknown word `sya`");
    assert_eq!(part.suggestion.as_deref(), Some("say"));

    refused(r#""answers""#, r#""replies""#, (14, r#""replies""#), "unknown word `replies`");
}

#[test]
fn missing_fields_are_named() {
    refused(r#", "text": "Hello""#, "", (9, r#"{ "client": "alice" }"#), "missing field `text`");
    refused("  \"agent\": \"echo\",\n", "", (1, "{"), "missing field `agent`");
    refused(r#"{ "parts": [{ "say": "Hi." }] }"#, "{}", (6, "{}"), "missing field `parts`");
}

#[test]
fn wrong_types_are_named_in_plain_words() {
    refused(r#""echo""#, "7", (4, "7"), "invalid type: integer `7`, expected a string");
    refused("3 }", r#""3" }"#, (12, r#""3""#), r#"invalid type: string "3", expected a whole number from 0"#);
    refused("3 }", "-3 }", (12, "-3"), "invalid value: integer `-3`, expected a whole number from 0");
    refused(
        r#"["alice", "session"]"#,
        r#"["alice"]"#,
        (10, r#"["alice"]"#),
        "invalid length 1, expected a list of two hosts",
    );
    refused(r#"["alice", "bob"]"#, r#""alice""#, (5, r#""alice""#), r#"invalid type: string "alice", expected a list"#);
    refused(
        r#"{ "client": "alice", "text": "Hello" }"#,
        r#""alice""#,
        (9, r#""alice""#),
        r#"invalid type: string "alice", expected an object"#,
    );
    refused(
        r#"{ "crash": "worker-1" }"#,
        r#""crash""#,
        (11, r#""crash""#),
        "this word needs a value: write it as the key of an object",
    );
    refused(
        r#"{ "crash": "worker-1" }"#,
        "5",
        (11, "5"),
        "invalid type: integer `5`, expected an object with one word",
    );
    refused(r#"{ "crash": "worker-1" }"#, "{}", (11, "{}"), "an object with exactly one word belongs here");
    let two = "{ \"crash\": \"worker-1\", \"restart\": \"worker-1\" }";
    refused(
        r#"{ "crash": "worker-1" }"#,
        two,
        (11, r#"{ "crash": "worker-1", "restart": "worker-1" }"#),
        "an object with exactly one word belongs here",
    );
}

#[test]
fn a_key_that_is_there_twice_is_refused() {
    refused(r#""echo""#, r#""echo", "agent": "other""#, (4, r#""agent": "other""#), "`agent` is here twice");
}

#[test]
fn people_and_hosts_must_be_in_the_story() {
    let person = refused(
        r#""alice", "text""#,
        r#""alise", "text""#,
        (9, r#""alise""#),
        "there is no person `alise` in this story",
    );
    assert_eq!(person.allowed, ["alice", "bob"]);
    assert_eq!(person.suggestion.as_deref(), Some("alice"));

    let host = refused(
        r#""alice", "session""#,
        r#""alice", "sesion""#,
        (10, r#""sesion""#),
        "there is no host `sesion` in this story",
    );
    assert_eq!(host.allowed, ["session", "app", "worker-1", "alice", "bob"]);
    assert_eq!(host.suggestion.as_deref(), Some("session"));

    refused(r#""worker-1""#, r#""worker-2""#, (11, r#""worker-2""#), "there is no host `worker-2` in this story");
    refused(r#""from": "session""#, r#""from": "carol""#, (12, r#""carol""#), "there is no host `carol` in this story");
    refused(r#""bob", "texts""#, r#""app", "texts""#, (14, r#""app""#), "there is no person `app` in this story");
    refused(r#"["alice", "session"]"#, r#"["app", "app"]"#, (10, r#"["app", "app"]"#), "`app` has no link to itself");
}

#[test]
fn people_are_named_once_and_unlike_hosts() {
    refused(r#""alice", "bob""#, r#""alice", "alice""#, (5, r#""alice""#), "`alice` is here twice");
    refused(r#""alice", "bob""#, r#""alice", "app""#, (5, r#""app""#), "`app` is the name of a host");
    refused(
        r#""alice", "bob""#,
        r#""Alice""#,
        (5, r#""Alice""#),
        "a person's name is a host's name: `a-z`, `0-9` and `-`",
    );
    refused(r#""alice", "bob""#, "", (5, "[]"), "a story has at least one person");
}

#[test]
fn counts_that_mean_nothing_are_refused() {
    refused("3 }", "0 }", (12, "0"), "a read of 0 bytes is the end of a stream: at least 1");
    refused("[1, 8]", "[9, 8]", (7, "[9, 8]"), "the least latency 9 is above the most 8");
    refused(r#""It shows something.""#, r#"" ""#, (3, r#"" ""#), "a story says in one sentence what it shows");
    refused(
        r#""latency_ms": [1, 8]"#,
        r#""lease_ms": 3"#,
        (7, "3"),
        "a lease lasts at least 4 ms: it is renewed four times in one",
    );
    let err = parse("story", r#"{ "why": "w", "agent": "a", "model": [], "steps": [] }"#).unwrap_err();
    assert_eq!(err.message, "a story has at least one step");
}

#[test]
fn numbers_past_their_bounds_are_refused() {
    let huge = "18446744073709551615";
    let crash = r#"{ "crash": "worker-1" }"#;
    refused(
        crash,
        &format!(r#"{{ "advance_ms": {huge} }}"#),
        (11, huge),
        &format!("`advance_ms` is from 0 to 3600000, not {huge}"),
    );
    refused("[1, 8]", &format!("[0, {huge}]"), (7, huge), &format!("`latency_ms` is from 0 to 60000, not {huge}"));
    for workers in ["0", "17", "4294967295"] {
        let line = format!(r#""workers": {workers}, "latency_ms""#);
        refused(r#""latency_ms""#, &line, (7, workers), &format!("`workers` is from 1 to 16, not {workers}"));
    }
    let slow = r#"{ "slow": { "between": ["alice", "app"], "ms": 3600001 } }"#;
    refused(crash, slow, (11, "3600001"), "`ms` is from 0 to 3600000, not 3600001");
    let part = r#"{ "say": "Hi." }"#;
    refused(part, r#"{ "wait_ms": 3600001 }"#, (6, "3600001"), "`wait_ms` is from 0 to 3600000, not 3600001");
    refused(
        r#"{ "answers": { "client": "bob", "texts": [] } }"#,
        r#"{ "runs": 100001 }"#,
        (14, "100001"),
        "`runs` is from 0 to 100000, not 100001",
    );
    // What a tool or an action is called with is nobody's number but the author's.
    let act = format!(r#"{{ "act": {{ "client": "alice", "action": {{ "count": {huge} }} }} }}"#);
    assert!(parse("story", &story(crash, &act)).is_ok());
    let call = format!(r#"{{ "call": {{ "tool": "t", "input": {{ "count": {huge} }} }} }}"#);
    assert!(parse("story", &story(part, &call)).is_ok());
}

#[test]
fn an_expectation_has_no_fields_but_its_own() {
    let field = refused(
        r#""texts": [] }"#,
        r#""texts": [], "nonsense": 7 }"#,
        (14, r#""nonsense""#),
        "unknown field `nonsense`",
    );
    assert_eq!(field.allowed, ["client", "texts"]);

    refused(
        r#"{ "say": "Hi." }"#,
        r#"{ "call": { "tool": "t", "input": 1, "nonsense": 7 } }"#,
        (6, r#""nonsense""#),
        "unknown field `nonsense`",
    );
}

#[test]
fn agents_and_checks_must_be_in_the_vocabulary() {
    let words = Vocabulary { agents: &["echo", "hasty"], checks: &["question-kept", "shown-once"] };
    let complaint = |find: &str, replace: &str| {
        read("story.json", "story", &story(find, replace), Some(&words)).expect_err("a word is not there")
    };
    let agent = r#""agent": "echo","#;
    let careless = |agent: &str, check: &str| {
        format!(r#""agent": "echo", "careless": {{ "agent": "{agent}", "reported_by": "{check}" }},"#)
    };

    let err = complaint(agent, r#""agent": "ecko","#);
    assert!(err.to_string().starts_with("story.json:4:12: there is no agent `ecko`"), "{err}");
    assert_eq!((err.allowed.len(), err.suggestion.as_deref()), (2, Some("echo")));
    let err = complaint(agent, &careless("hasti", "shown-once"));
    assert!(err.to_string().starts_with("story.json:4:43: there is no agent `hasti`"), "{err}");
    let err = complaint(agent, &careless("hasty", "luck"));
    assert!(err.to_string().starts_with("story.json:4:67: there is no check `luck`"), "{err}");
    assert_eq!(err.allowed, ["question-kept", "shown-once"]);
    assert!(read("story.json", "story", &story(agent, &careless("hasty", "shown-once")), Some(&words)).is_ok());
}

#[test]
fn a_fault_that_does_nothing_is_refused_at_its_place() {
    let crash = r#"{ "crash": "worker-1" }"#;
    let up = "`worker-1` is up here: `restart` would do nothing";
    refused(crash, r#"{ "restart": "worker-1" }"#, (11, r#""worker-1""#), up);
    let ends = r#"["session", "bob"]"#;
    let held = "`session` and `bob` are not on hold here: `release` would do nothing";
    refused(crash, &format!(r#"{{ "release": {ends} }}"#), (11, ends), held);
    let again = r#"{ "crash": "worker-1" }, { "power_loss": "worker-1" }"#;
    refused(crash, again, (11, r#""worker-1""#), "`worker-1` is already down here: `power_loss` would do nothing");
}

#[test]
fn a_complaint_reads_like_the_compilers() {
    let err = parse("story", &story("\"text\"", "\"txt\"")).unwrap_err();

    assert_eq!(
        err.to_string(),
        r#"story.json:9:36: unknown field `txt`
  |
9 |     { "send": { "client": "alice", "txt": "Hello" } },
  |                                    ^^^^^
  = allowed: `client`, `text`, `times`, `until`
  = did you mean `text`?"#
    );
}

#[test]
fn files_are_found_in_every_folder_sorted_by_name_and_unique() {
    let dir = std::env::temp_dir().join(format!("turnkeep-scenarios-{}", std::process::id()));
    fs::create_dir_all(dir.join("inner")).unwrap();
    for file in ["b.json", "inner/a.json", "notes.txt"] {
        fs::write(dir.join(file), story("", "")).unwrap();
    }
    let words = Vocabulary { agents: &["echo"], checks: &[] };
    let names: Vec<String> = load_all(&dir, &words).unwrap().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["a", "b"]);

    fs::write(dir.join("inner/b.json"), story("", "")).unwrap();
    let twins = load_all(&dir, &words).unwrap_err().to_string();
    fs::remove_file(dir.join("inner/b.json")).unwrap();
    fs::write(dir.join("Upper.json"), story("", "")).unwrap();
    let upper = load_all(&dir, &words).unwrap_err();
    fs::remove_dir_all(&dir).unwrap();

    assert!(twins.contains("the name is taken by"), "{twins}");
    assert!(upper.message.contains("file name is made of"), "{upper}");
    assert!(load_all(&dir, &words).unwrap_err().message.starts_with("cannot be read: "));
}

#[test]
fn the_schema_lists_the_verbs_and_refuses_unknown_fields() {
    let schema = schema();

    assert_eq!(schema["additionalProperties"], json!(false));
    let verbs: Vec<&Value> = schema["$defs"]["Step"]["oneOf"].as_array().unwrap().iter().collect();
    assert!(verbs.iter().any(|verb| verb["required"] == json!(["power_loss"])), "{verbs:?}");
}
