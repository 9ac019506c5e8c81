use super::*;

/// Draws one letter a line: `.` code, `m` test code, `t` a test.
fn drawn(source: &Source) -> String {
    let letter = |(scope, _): &(Scope, Line)| match scope {
        Scope::Code => '.',
        Scope::Module => 'm',
        Scope::Test(_) => 't',
    };
    source.lines.iter().map(letter).collect()
}

fn names(source: &Source) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for (scope, _) in &source.lines {
        if let Scope::Test(name) = scope
            && names.last() != Some(&name.as_str())
        {
            names.push(name);
        }
    }
    names
}

#[track_caller]
fn check(text: &str, want: &str, tests: &[&str]) -> Source {
    let source = read(text, false).expect("the braces match");

    assert_eq!(drawn(&source), want, "{text}");
    assert_eq!(names(&source), tests, "{text}");
    source
}

#[test]
fn a_test_has_its_comments_attributes_and_body() {
    let text = "\
fn f() {}
#[cfg(test)]
mod tests {
    // Of the module.

    /// Of the test.
    // Of it too.
    #[test]
    #[should_panic]
    fn a_cat_purrs_a1() {
        if true { f() }
    }

    fn helper() {
    }
}
fn g() {}";

    check(text, ".mmmmtttttttmmmm.", &["a_cat_purrs_a1"]);
}

#[test]
fn every_spelling_of_a_test_is_one() {
    check("#[tokio::test(start_paused = true)]\nasync fn a() {\n}", "ttt", &["a"]);
    check("proptest! {\n    #[test]\n    fn b(x in 0..3) {\n    }\n}", ".ttt.", &["b"]);
    check("#[test]\nfn c() -> Result<(), [u8; 2]> { Ok(()) }\nfn d() {}", "tt.", &["c"]);
    check("#[test]\nfn e<A, B>() {\n}", "ttt", &["e"]);
}

#[test]
fn braces_in_texts_characters_and_comments_do_not_count() {
    check("#[test]\nfn a() {\n    f(\"}\", '}', r#\"}\"#); // }\n    /* } */\n}\nfn b() {}", "ttttt.", &["a"]);
}

#[test]
fn what_is_for_tests_only_ends_with_its_item() {
    check("#[cfg(test)]\nuse a::{b, c};\nfn f() {}", "mm.", &[]);
    check("struct S {\n    #[cfg(test)]\n    n: u8,\n    m: u8,\n}", ".mm..", &[]);
    check("#[cfg(all(test, unix))]\nimpl S {\n    fn f() {}\n}\nfn g() {}", "mmmm.", &[]);
    check("#[cfg(all(unix, test))]\nfn f() {}", "mm", &[]);
    check("#[cfg(any(test, feature = \"x\"))]\nfn f() {}", "..", &[]);
    check("#[cfg(not(test))]\nfn f() {}", "..", &[]);
    check("#[derive(Debug)]\nstruct S;\nfn test() {}", "...", &[]);
}

#[test]
fn a_module_in_a_file_of_its_own_is_named() {
    let source = check("mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\npub(crate) mod rig;\nfn f() {}", ".mmmm.", &[]);

    assert_eq!(source.test_modules, ["tests", "rig"]);
}

#[test]
fn a_file_of_tests_is_test_code_throughout() {
    let source = read("//! Heading.\nfn helper() {}\n#[test]\nfn a() {}", true).unwrap();

    assert_eq!(drawn(&source), "mmtt");
}

#[test]
fn braces_that_do_not_match_are_no_source() {
    assert!(read("fn f() {", false).is_none());
    assert!(read("fn f() }", false).is_none());
}
