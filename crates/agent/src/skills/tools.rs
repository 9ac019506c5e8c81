//! The three tools through which a model uses skills: `loadSkill`, `readFile`, `bash`.
//!
//! What a model may expect to go wrong is an answer with `error`, not a failed call.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use turnkeep_host::Command;

use super::ResolvedSkill;
use super::output::text;
use super::path::inside;
use crate::error::HookError;
use crate::tool::{Tool, ToolContext};

/// How many bytes of a file the model gets; more is never read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// How many bytes of each output of a command the model gets; the rest is only counted.
const MAX_OUTPUT_BYTES: usize = 64 * 1024;

/// Makes the tools for these skills; none when there are none.
pub(crate) fn skill_tools(skills: &[ResolvedSkill]) -> Vec<Tool> {
    if skills.is_empty() {
        return Vec::new();
    }
    vec![load_skill(skills.to_vec()), read_file(skills.to_vec()), bash(skills.to_vec())]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LoadSkill {
    /// The skill's name.
    name: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReadFile {
    /// The skill's name.
    skill: String,
    /// The file's path inside the skill's folder.
    path: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Bash {
    /// The skill's name.
    skill: String,
    /// The command, for `bash -c`, in the skill's folder.
    command: String,
}

fn load_skill(skills: Vec<ResolvedSkill>) -> Tool {
    Tool::typed("loadSkill", "Loads the instructions of a skill", move |input: LoadSkill, _: ToolContext| {
        let loaded = match find(&skills, &input.name) {
            Some(skill) => json!({
                "name": skill.frontmatter.name,
                "description": skill.frontmatter.description,
                "body": skill.body,
                "path": skill.path.to_string_lossy(),
            }),
            None => {
                let known: Vec<&str> = skills.iter().map(|skill| skill.frontmatter.name.as_str()).collect();
                error(format!("there is no skill `{}`; the skills are {}", input.name, known.join(", ")))
            }
        };
        async { Ok::<Value, HookError>(loaded) }
    })
}

fn read_file(skills: Vec<ResolvedSkill>) -> Tool {
    Tool::typed("readFile", "Reads a file of a skill", move |input: ReadFile, ctx: ToolContext| {
        let skill = find(&skills, &input.skill).cloned();
        async move {
            let Some(skill) = skill else {
                return Ok::<Value, HookError>(unknown(&input.skill));
            };
            let host = ctx.chat.host();
            let path = match inside(host, &skill.path, &input.path).await {
                Ok(path) => path,
                Err(why) => return Ok(error(why)),
            };
            Ok(match host.files().read(&path, MAX_FILE_BYTES).await {
                Ok(file) => json!({ "content": text(&file.bytes, file.len) }),
                Err(why) => error(format!("{} cannot be read: {why}", input.path)),
            })
        }
    })
}

fn bash(skills: Vec<ResolvedSkill>) -> Tool {
    Tool::typed("bash", "Runs a command in the folder of a skill", move |input: Bash, ctx: ToolContext| {
        let skill = find(&skills, &input.skill).cloned();
        async move {
            let Some(skill) = skill else {
                return Ok::<Value, HookError>(unknown(&input.skill));
            };
            let command = Command {
                program: "bash".to_owned(),
                args: vec!["-c".to_owned(), input.command],
                folder: skill.path,
                max_kept_bytes: MAX_OUTPUT_BYTES,
            };
            // Dropping what runs kills it and whatever it has started.
            let finished = tokio::select! {
                biased;
                reason = ctx.stop_signal.wait() => return Ok(error(format!("the command was killed: {reason}"))),
                finished = ctx.chat.host().process().run(command) => finished,
            };
            Ok(match finished {
                Ok(finished) => json!({
                    "exitCode": finished.exit_code,
                    "stdout": text(&finished.stdout.bytes, finished.stdout.n_bytes),
                    "stderr": text(&finished.stderr.bytes, finished.stderr.n_bytes),
                }),
                Err(why) => error(format!("the command did not run: {why}")),
            })
        }
    })
}

fn find<'a>(skills: &'a [ResolvedSkill], name: &str) -> Option<&'a ResolvedSkill> {
    skills.iter().find(|skill| skill.frontmatter.name == name)
}

fn unknown(name: &str) -> Value {
    error(format!("there is no skill `{name}`"))
}

fn error(text: String) -> Value {
    json!({ "error": text })
}
