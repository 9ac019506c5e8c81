use super::*;
use crate::rule_id::Area;

fn tree() -> Tree {
    Tree::of(&[
        (
            "docs/spec/agent-runtime.md",
            "## 2. Reading\n- A-21 Records are read.\n- A-22 Each once.\n## 14. Handover\n### 14.2 Agent\n- A-222 Waits.\n\
             ### C.7 Handover\n- AA-53 skip: exits\n- AA-54 final text\n",
        ),
        ("docs/spec/decisions.md", "## Names\n| D-1 | Closed | 409. |\n"),
        ("docs/spec/not-applicable.md", "| A-22 | There is one reader. |\n"),
        (
            "crates/a/src/lib.rs",
            "// A-222\n#[cfg(test)]\nmod tests {\n    // AA-53, A-21\n    #[test]\n    fn x_aa54() {}\n}\n",
        ),
        ("crates/a/tests/a.rs", "//! AA-53…AA-54, D-1.\n"),
        ("scenarios/a.json", "{ \"why\": \"D-1\" }"),
    ])
}

#[test]
fn every_id_comes_with_who_cites_it() {
    let text = read(&tree(), &SpecArgs::default()).unwrap().text(false);

    assert_eq!(
        text,
        "\
A-21    §2      Records are read.
        test      crates/a/src/lib.rs:4 x_aa54
A-22    §2      Each once.
        not applicable: There is one reader.
A-222   §14.2   Waits.
        code      crates/a/src/lib.rs:1
        no test cites it
AA-53   §C.7    skip: exits
        test      crates/a/src/lib.rs:4 x_aa54
        test code crates/a/tests/a.rs:1
AA-54   §C.7    final text
        test      crates/a/src/lib.rs:4 x_aa54
        test code crates/a/tests/a.rs:1
D-1     §Names  Closed | 409.
        scenario  a
        test code crates/a/tests/a.rs:1

          ids  cited  uncited  not applicable
A           3      1        1               1
AA          2      2        0               0
D           1      1        0               0
all         6      4        1               1
"
    );
}

#[test]
fn the_uncited_are_a_line_each_with_where_the_code_names_them() {
    let report = read(&tree(), &SpecArgs::default()).unwrap();

    assert!(!report.is_complete());
    let text = report.text(true);
    assert!(text.starts_with("A-222   §14.2   Waits.  [crates/a/src/lib.rs:1]\n\n"), "{text}");
}

#[test]
fn a_heading_of_test_code_proves_nothing() {
    let tree =
        Tree::of(&[("docs/spec/a.md", "- A-1 One.\n- AA-1 one\n"), ("crates/a/tests/a.rs", "//! A-1…A-3, AA-1.\n")]);

    let text = read(&tree, &SpecArgs::default()).unwrap().text(true);

    assert!(text.contains("A-1 ") && text.contains("AA-1 "), "{text}");
}

#[track_caller]
fn lists(args: &SpecArgs, want: &[&str]) {
    let json: serde_json::Value = serde_json::from_str(&read(&tree(), args).unwrap().json(false)).unwrap();

    let ids: Vec<&str> = json["ids"].as_array().unwrap().iter().map(|id| id["id"].as_str().unwrap()).collect();
    assert_eq!(ids, want);
}

#[test]
fn areas_and_sections_choose() {
    let section = |section: &str| vec![section.to_owned()];

    lists(&SpecArgs { area: Some(Area::Decisions), ..SpecArgs::default() }, &["D-1"]);
    lists(&SpecArgs { section: section("14"), ..SpecArgs::default() }, &["A-222"]);
    lists(&SpecArgs { section: section("c.7"), ..SpecArgs::default() }, &["AA-53", "AA-54"]);
    lists(
        &SpecArgs { except: vec!["14".into(), "C".into(), "names".into()], ..SpecArgs::default() },
        &["A-21", "A-22"],
    );
    let args = SpecArgs { area: Some(Area::Runtime), section: section("Names"), ..SpecArgs::default() };
    let err = read(&tree(), &args).unwrap_err().to_string();
    assert_eq!(err, "there is no section `Names`\n  there is: 14.2, 2, C.7");
}

#[test]
fn json_has_the_documented_shape() {
    let args = SpecArgs { section: vec!["2".into(), "14".into()], ..SpecArgs::default() };

    let json = read(&tree(), &args).unwrap().json(false);

    let want = serde_json::json!({
        "ids": [
            {
                "id": "A-21", "area": "runtime", "page": "docs/spec/agent-runtime.md", "line": 2, "section": "2",
                "title": "Records are read.", "status": "cited",
                "cited_by": [{ "kind": "test", "path": "crates/a/src/lib.rs", "name": "x_aa54", "line": 4 }],
                "implemented_in": [],
            },
            {
                "id": "A-22", "area": "runtime", "page": "docs/spec/agent-runtime.md", "line": 3, "section": "2",
                "title": "Each once.", "status": "not-applicable", "reason": "There is one reader.",
                "cited_by": [], "implemented_in": [],
            },
            {
                "id": "A-222", "area": "runtime", "page": "docs/spec/agent-runtime.md", "line": 6, "section": "14.2",
                "title": "Waits.", "status": "uncited", "cited_by": [],
                "implemented_in": [{ "kind": "code", "path": "crates/a/src/lib.rs", "line": 1 }],
            },
        ],
        "counts": { "A": { "ids": 3, "cited": 1, "uncited": 1, "not_applicable": 1 } },
    });
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap(), want);
}
