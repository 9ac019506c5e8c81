use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::testing::*;
use crate::tool::{Tool, ToolContext, ToolOutput};
use crate::{Agent, Boot, ToStreamText, TurnInput, step_count_is};

const GOOD: &str = "---\nname: pdf\ndescription: Reads PDF files\n---\n\nRun `read.sh`.\n";

/// Makes a folder with a skill in it.
fn folder(skill_md: &str) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join(SKILL_FILE), skill_md).unwrap();
    folder
}

async fn local(folder: &TempDir) -> ResolvedSkill {
    Skill::define("pdf", folder.path()).local(&Host::os()).await.expect("a good skill")
}

/// Calls a tool of the skills as the step loop does.
async fn call(skills: &[ResolvedSkill], tool: &str, input: Value) -> Value {
    call_with(skills, tool, input, tool_context()).await
}

async fn call_with(skills: &[ResolvedSkill], tool: &str, input: Value, ctx: ToolContext) -> Value {
    let tool: Tool = skill_tools(skills).into_iter().find(|known| known.name() == tool).expect("the tool is there");
    tool.check(&input).expect("a good input");
    let outputs: Vec<_> = futures::StreamExt::collect(tool.execute().unwrap()(input, ctx)).await;
    match outputs.into_iter().next_back() {
        Some(Ok(ToolOutput::Final(output))) => output,
        other => panic!("an expected failure is an output too: {other:?}"),
    }
}

#[tokio::test]
async fn a_local_skill_is_read_whole_a251_aa153() {
    let folder = folder(GOOD);

    let skill = local(&folder).await;

    assert_eq!((skill.id.as_str(), skill.version.as_str(), skill.labels.len()), ("pdf", "local", 0));
    assert_eq!((skill.skill_md.as_str(), skill.body.as_str()), (GOOD, "Run `read.sh`.\n"));
    assert_eq!(skill.frontmatter.name, "pdf");
    assert_eq!(skill.path, fs::canonicalize(folder.path()).unwrap());
}

#[tokio::test]
async fn a_skill_that_is_not_there_says_where_it_should_be_a251_aa153() {
    let folder = tempfile::tempdir().unwrap();
    let skill = Skill::define("pdf", folder.path());

    let missing = skill.local(&Host::os()).await.unwrap_err().to_string();

    let expected = folder.path().join(SKILL_FILE);
    let want =
        format!("skill `pdf` has no SKILL.md: expected it at .trigger/skills/pdf/SKILL.md or {}", expected.display());
    assert_eq!(missing, want);
    assert_eq!(skill.resolve().unwrap_err().to_string(), "skill `pdf`: remote versions are not available, use `local`");
}

#[tokio::test]
async fn a_skill_that_cannot_be_used_says_why_a252_aa152() {
    let (nameless, big) = (folder("---\ndescription: d\n---\n"), folder(&"x".repeat(1024 * 1024 + 1)));
    let why =
        async |folder: &TempDir| Skill::define("pdf", folder.path()).local(&Host::os()).await.unwrap_err().to_string();

    assert_eq!(why(&nameless).await, "SKILL.md of skill `pdf` has no `name` between its `---` lines");
    let want = "SKILL.md of skill `pdf` cannot be read: it has 1048577 bytes, 1048576 at most";
    assert_eq!(why(&big).await, want);
}

#[tokio::test]
async fn the_preamble_names_each_skill_in_one_line_and_no_bodies_a253() {
    let one = local(&folder(GOOD)).await;
    let two = local(&folder("---\nname: mail\ndescription: |\n  Sends\n  mail\n---\nSecret body")).await;

    let text = preamble(&[one, two]).unwrap();

    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains("`loadSkill`"), "{}", lines[0]);
    assert_eq!(lines[1..], ["- pdf: Reads PDF files", "- mail: Sends mail"]);
    assert_eq!(preamble(&[]), None);
    assert!(skill_tools(&[]).is_empty());
}

#[tokio::test]
async fn load_skill_gives_body_and_path_and_names_the_others_a254_aa155() {
    let skill = local(&folder(GOOD)).await;
    let skills = [skill.clone()];

    let known = call(&skills, "loadSkill", json!({ "name": "pdf" })).await;
    let unknown = call(&skills, "loadSkill", json!({ "name": "doc" })).await;

    let want = json!({
        "name": "pdf", "description": "Reads PDF files", "body": "Run `read.sh`.\n", "path": skill.path.to_str().unwrap(),
    });
    assert_eq!(known, want);
    assert_eq!(unknown, json!({ "error": "there is no skill `doc`; the skills are pdf" }));
}

#[tokio::test]
async fn the_tools_take_strict_objects_a254() {
    let skills = [local(&folder(GOOD)).await];

    for tool in skill_tools(&skills) {
        assert_eq!(tool.spec().input_schema["additionalProperties"], json!(false), "{tool:?}");
        let mut input = json!({ "name": "pdf", "skill": "pdf", "path": "x", "command": "x" });
        assert!(tool.check(&input).is_err(), "{tool:?}");
        let fields = tool.spec().input_schema["properties"].as_object().unwrap().clone();
        input.as_object_mut().unwrap().retain(|key, _| fields.contains_key(key));
        assert_eq!(tool.check(&input), Ok(()), "{tool:?}");
    }
}

#[tokio::test]
async fn read_file_reads_what_lies_in_the_folder_a255_aa156() {
    let folder = folder(GOOD);
    fs::create_dir(folder.path().join("docs")).unwrap();
    fs::write(folder.path().join("docs/a.txt"), "hello").unwrap();
    symlink("docs/a.txt", folder.path().join("link")).unwrap();
    let skills = [local(&folder).await];

    for path in ["docs/a.txt", "./docs/../docs/a.txt", "link"] {
        let read = call(&skills, "readFile", json!({ "skill": "pdf", "path": path })).await;
        assert_eq!(read, json!({ "content": "hello" }), "{path}");
    }
    let read = |path: &'static str| call(&skills, "readFile", json!({ "skill": "pdf", "path": path }));
    assert_eq!(read("docs/b.txt").await, json!({ "error": "docs/b.txt does not exist" }));
    assert_eq!(read("docs").await, json!({ "error": "docs cannot be read: not a plain file" }));
    let unknown = call(&skills, "readFile", json!({ "skill": "doc", "path": "a" })).await;
    assert_eq!(unknown, json!({ "error": "there is no skill `doc`" }));
}

#[tokio::test]
async fn read_file_never_leaves_the_folder_not_even_through_links_a255_aa156() {
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("secret"), "secret").unwrap();
    let folder = folder(GOOD);
    symlink(outside.path(), folder.path().join("folder-link")).unwrap();
    symlink(outside.path().join("secret"), folder.path().join("file-link")).unwrap();
    symlink(folder.path().join("file-link"), folder.path().join("link-to-link")).unwrap();
    // A neighbour whose path begins like the skill's own.
    let twin = format!("{}-twin", folder.path().display());
    fs::create_dir(&twin).unwrap();
    fs::write(format!("{twin}/secret"), "secret").unwrap();
    let beside = format!("../{}-twin/secret", folder.path().file_name().unwrap().to_str().unwrap());
    let absolute = outside.path().join("secret").to_str().unwrap().to_owned();
    let skills = [local(&folder).await];

    let paths = ["folder-link/secret", "file-link", "link-to-link", "../nothing", "docs/../../nothing", &beside];
    for path in paths {
        let read = call(&skills, "readFile", json!({ "skill": "pdf", "path": path })).await;
        assert_eq!(read, json!({ "error": format!("{path} is outside the skill's folder") }));
    }
    for path in [absolute.as_str(), "/etc/passwd", "\\etc", "C:\\x"] {
        let read = call(&skills, "readFile", json!({ "skill": "pdf", "path": path })).await;
        assert_eq!(read, json!({ "error": format!("{path} is not relative to the skill's folder") }));
    }
    fs::remove_dir_all(twin).unwrap();
}

#[tokio::test]
async fn a_skill_folder_may_itself_be_reached_through_a_link_a255() {
    let real = folder(GOOD);
    fs::write(real.path().join("a.txt"), "hello").unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    symlink(real.path(), elsewhere.path().join("pdf")).unwrap();
    let skill = Skill::define("pdf", elsewhere.path().join("pdf")).local(&Host::os()).await.unwrap();

    let read = call(&[skill], "readFile", json!({ "skill": "pdf", "path": "a.txt" })).await;

    assert_eq!(read, json!({ "content": "hello" }));
}

#[tokio::test]
async fn a_long_file_is_cut_at_a_character_and_says_so_a255() {
    let folder = folder(GOOD);
    // The cap falls into the middle of the last é that would fit.
    let text = format!("a{}", "é".repeat(600_000));
    fs::write(folder.path().join("long"), &text).unwrap();
    let skills = [local(&folder).await];

    let read = call(&skills, "readFile", json!({ "skill": "pdf", "path": "long" })).await;

    let content = read["content"].as_str().unwrap();
    let (kept, marker) = content.rsplit_once('\n').unwrap();
    assert_eq!(kept.len(), 1024 * 1024 - 1);
    assert!(text.starts_with(kept));
    assert_eq!(marker, format!("…[truncated {} bytes]", text.len() - kept.len()));
}

#[tokio::test]
async fn bash_runs_in_the_folder_and_a_bad_end_is_a_result_a255_aa157() {
    let folder = folder(GOOD);
    fs::write(folder.path().join("read.sh"), "echo out; echo err >&2; exit 3").unwrap();
    let skills = [local(&folder).await];

    let script = call(&skills, "bash", json!({ "skill": "pdf", "command": "bash read.sh" })).await;
    let place = call(&skills, "bash", json!({ "skill": "pdf", "command": "pwd -P" })).await;
    let unknown = call(&skills, "bash", json!({ "skill": "doc", "command": "true" })).await;

    assert_eq!(script, json!({ "exitCode": 3, "stdout": "out\n", "stderr": "err\n" }));
    assert_eq!(place["stdout"], format!("{}\n", skills[0].path.display()));
    assert_eq!(unknown, json!({ "error": "there is no skill `doc`" }));
}

#[tokio::test]
async fn long_outputs_are_cut_each_for_itself_a255() {
    let folder = folder(GOOD);
    let skills = [local(&folder).await];
    let command = "head -c 100000 /dev/zero | tr '\\0' x; printf 'short' >&2";

    let said = call(&skills, "bash", json!({ "skill": "pdf", "command": command })).await;

    let want = format!("{}\n…[truncated {} bytes]", "x".repeat(64 * 1024), 100_000 - 64 * 1024);
    assert!(said["stdout"] == want, "{} bytes", said["stdout"].as_str().map_or(0, str::len));
    assert_eq!(said["stderr"], "short");
}

#[tokio::test]
async fn a_stop_kills_the_command_a255() {
    let folder = folder(GOOD);
    let skills = [local(&folder).await];
    let ctx = tool_context();
    let stop = ctx.stop_signal.clone();
    let input = json!({ "skill": "pdf", "command": "sleep 30 & wait" });

    let running = call_with(&skills, "bash", input, ctx);
    tokio::pin!(running);
    let still = tokio::time::timeout(Duration::from_millis(50), &mut running).await;
    stop.set("enough");

    assert!(still.is_err(), "it runs until somebody stops it");
    assert_eq!(running.await, json!({ "error": "the command was killed: enough" }));
}

#[tokio::test]
async fn a_folder_that_is_gone_is_an_answer_too_a254() {
    let folder = folder(GOOD);
    let skills = [local(&folder).await];
    drop(folder);

    let read = call(&skills, "readFile", json!({ "skill": "pdf", "path": "a" })).await;
    let ran = call(&skills, "bash", json!({ "skill": "pdf", "command": "true" })).await;

    assert!(read["error"].as_str().unwrap().starts_with("the skill's folder is gone: "), "{read}");
    assert!(ran["error"].as_str().unwrap().starts_with("the command did not run: "), "{ran}");
}

#[tokio::test(start_paused = true)]
async fn the_model_reads_of_the_skills_and_may_load_one_aa154() {
    let folder = folder(GOOD);
    let path = folder.path().to_owned();
    let session = Arc::new(FakeSession::default());
    session.say("read this");
    let model = FakeModel::new(|prompt| {
        let system = prompt.system.clone().unwrap_or_default();
        assert!(system.starts_with("You help.\n\nSkills you can use."), "{system}");
        assert!(system.ends_with("\n- pdf: Reads PDF files"), "{system}");
        let tools: Vec<&str> = prompt.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!(tools, ["loadSkill", "readFile", "bash"]);
        match prompt.step {
            0 => calls("c1", "loadSkill", json!({ "name": "pdf" })),
            _ => {
                says(if serde_json::to_string(&prompt.messages).unwrap().contains("read.sh") { "loaded" } else { "?" })
            }
        }
    });
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let options = turn.to_stream_text_options(ToStreamText::new())?;
        Ok(turn.stream_text().options(options).stop_when(step_count_is(3)))
    })
    .on_boot(move |boot: Boot| {
        let skill = Skill::define("pdf", &path);
        async move {
            boot.chat.prompt().set("You help.");
            boot.chat.skills().set([skill.local(boot.chat.host()).await?]);
            Ok(())
        }
    })
    .idle_timeout(Duration::ZERO);

    let lease = lease(&session, 1, json!({ "trigger": "submit-message" }));
    serve(&session, agent, model, lease).await.unwrap();

    assert_eq!(session.saved_texts(), ["read this", "loaded"]);
}
