use super::*;
use crate::checks::tale::scenario;

/// A folder of its own for one test, gone when the test is.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("turnkeep-golden-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.0).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn outcome(transcript: &str) -> Outcome {
    Outcome {
        scenario: "tale".to_owned(),
        seed: 7,
        violations: Vec::new(),
        entries: Vec::new(),
        transcript: transcript.to_owned(),
        virtual_ms: 0,
        turns: 0,
        records: 0,
    }
}

#[test]
fn what_was_written_compares_equal_but_for_outer_blank_lines() {
    let folder = Folder::new("equal");

    write(&folder.0, &scenario(), &outcome("chat-1 in\n  stop\n")).unwrap();

    for same in ["chat-1 in\n  stop\n", "\n\nchat-1 in\r\n  stop", "chat-1 in\n  stop\n\n\n"] {
        assert_eq!(compare(&folder.0, &scenario(), &outcome(same)), Ok(()), "{same:?}");
    }
}

#[test]
fn a_difference_is_told_as_a_diff_and_nothing_is_written() {
    let folder = Folder::new("changed");
    write(&folder.0, &scenario(), &outcome("chat-1 in\n  stop\n")).unwrap();

    let difference = compare(&folder.0, &scenario(), &outcome("chat-1 in\n  nothing\n")).unwrap_err();

    insta::assert_snapshot!(difference, @r"
    tale differs from its golden on seed 7

    --- golden/tale.snap
    +++ this run
    @@ -1,2 +1,2 @@
     chat-1 in
    -  stop
    +  nothing

    show it again:  cargo xtask sim tale --seed 7
    keep the new:   cargo xtask bless tale
    ");
    assert_eq!(folder.names(), ["tale.snap"]);
}

#[test]
fn a_missing_golden_is_a_difference_that_shows_what_it_would_hold() {
    let folder = Folder::new("missing");

    let difference = compare(&folder.0, &scenario(), &outcome("chat-1 in\n  stop\n")).unwrap_err();

    insta::assert_snapshot!(difference, @r"
    tale has no golden; seed 7 came to

      chat-1 in
        stop

    show it again:  cargo xtask sim tale --seed 7
    keep the new:   cargo xtask bless tale
    ");
    assert_eq!(folder.names(), [""; 0]);
}

#[test]
fn a_file_that_is_no_snapshot_is_told_apart_from_a_difference() {
    let folder = Folder::new("unreadable");
    std::fs::write(folder.0.join("tale.snap"), "chat-1 in\n").unwrap();

    let difference = compare(&folder.0, &scenario(), &outcome("chat-1 in\n")).unwrap_err();

    assert!(matches!(difference.how, Difference::Unreadable(_)));
}

#[test]
fn insta_reads_what_is_written() {
    let folder = Folder::new("insta");
    let text = "chat-1 in\n  submit-message user msg-1 \"Grüße 世界 --- 🦊\"\n";
    write(&folder.0, &scenario(), &outcome(text)).unwrap();
    let mut settings = insta::Settings::new();
    settings.set_snapshot_path(&folder.0);
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);

    settings.bind(|| insta::assert_snapshot!("tale", text));

    assert_eq!(folder.names(), ["tale.snap"]);
}

#[test]
fn a_proposal_lies_beside_the_golden_as_insta_wants_it() {
    let folder = Folder::new("propose");

    propose(&folder.0, &scenario(), &outcome("chat-1 in\n")).unwrap();

    assert_eq!(folder.names(), ["tale.snap.new"]);
}
