//! [`Skill`]: a folder of instructions and scripts that the model reads when it needs them (A-251…A-255).
//!
//! The prompt names each skill in one line; the model then loads what it wants with three tools of its own. `bash` is no sandbox: a
//! command may do whatever the worker's process may, the folder is only where it starts. Give an agent skills whose scripts you have
//! read, and run it where its commands can do no harm.

mod front_matter;
mod output;
mod path;
#[cfg(all(test, unix))]
mod tests;
mod tools;

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use turnkeep_host::Host;

pub use self::front_matter::{FrontMatterError, SkillFrontmatter};
pub(crate) use self::tools::skill_tools;

/// The file that makes a folder a skill.
const SKILL_FILE: &str = "SKILL.md";

/// Where bundled skills lie, below the working directory (A-251).
const BUNDLED: &str = ".trigger/skills";

/// The largest `SKILL.md` that is taken, in bytes.
const MAX_SKILL_FILE_BYTES: u64 = 1024 * 1024;

/// A skill by its id and its folder in the author's sources.
///
/// ```
/// use turnkeep_agent::Skill;
///
/// # async fn example(boot: turnkeep_agent::Boot) -> Result<(), turnkeep_agent::HookError> {
/// let pdf = Skill::define("pdf", "skills/pdf").local(boot.chat.host()).await?;
/// boot.chat.skills().set([pdf]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skill {
    id: String,
    path: PathBuf,
}

/// A skill whose `SKILL.md` has been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSkill {
    /// The author's id of it.
    pub id: String,
    /// Always `local`: there are no others yet.
    pub version: String,
    /// Always empty.
    pub labels: Vec<String>,
    /// The whole `SKILL.md`.
    pub skill_md: String,
    /// What stands between its `---` lines.
    pub frontmatter: SkillFrontmatter,
    /// What stands behind them.
    pub body: String,
    /// The real path of the skill's folder.
    pub path: PathBuf,
}

/// Says why a skill cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SkillError {
    /// Neither the bundled folder nor the author's own has a `SKILL.md`.
    #[error("skill `{id}` has no SKILL.md: expected it at {} or {}", .bundled.display(), .source_file.display())]
    Missing {
        /// The skill.
        id: String,
        /// Where a bundled skill has it.
        bundled: PathBuf,
        /// Where the author's sources have it.
        source_file: PathBuf,
    },
    /// There is a `SKILL.md` that cannot be read.
    #[error("SKILL.md of skill `{id}` cannot be read: {detail}")]
    Unreadable {
        /// The skill.
        id: String,
        /// Why.
        detail: String,
    },
    /// The beginning of `SKILL.md` does not say what the skill is.
    #[error("SKILL.md of skill `{id}` {problem}")]
    FrontMatter {
        /// The skill.
        id: String,
        /// What is missing.
        problem: FrontMatterError,
    },
    /// Versions that lie elsewhere cannot be had.
    #[error("skill `{id}`: remote versions are not available, use `local`")]
    RemoteUnavailable {
        /// The skill.
        id: String,
    },
}

impl Skill {
    /// Names a skill; `path` is its folder, from the working directory if it is not absolute.
    ///
    /// A deployment may bring the folder as `.trigger/skills/{id}` below the working directory; that one is used then.
    pub fn define(id: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { id: id.into(), path: path.into() }
    }

    /// Reads the skill from the files of `host` (A-251).
    ///
    /// # Errors
    ///
    /// Fails when there is no `SKILL.md`, or none that says the skill's name and description.
    pub async fn local(&self, host: &Host) -> Result<ResolvedSkill, SkillError> {
        let bundled = Path::new(BUNDLED).join(&self.id);
        for folder in [&bundled, &self.path] {
            match host.files().read(&folder.join(SKILL_FILE), MAX_SKILL_FILE_BYTES).await {
                Ok(file) if file.len > MAX_SKILL_FILE_BYTES => {
                    return Err(self.unreadable(format!("it has {} bytes, {MAX_SKILL_FILE_BYTES} at most", file.len)));
                }
                Ok(file) => {
                    let text = String::from_utf8(file.bytes).map_err(|error| self.unreadable(error.utf8_error()))?;
                    let path = host.files().real_path(folder).await.map_err(|error| self.unreadable(error))?;
                    return self.resolved(text, path);
                }
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {}
                Err(error) => return Err(self.unreadable(error)),
            }
        }
        let (bundled, source_file) = (bundled.join(SKILL_FILE), self.path.join(SKILL_FILE));
        Err(SkillError::Missing { id: self.id.clone(), bundled, source_file })
    }

    /// Would read a version that lies elsewhere.
    ///
    /// # Errors
    ///
    /// Always fails: remote versions are not available (A-251).
    pub fn resolve(&self) -> Result<ResolvedSkill, SkillError> {
        Err(SkillError::RemoteUnavailable { id: self.id.clone() })
    }

    fn resolved(&self, skill_md: String, path: PathBuf) -> Result<ResolvedSkill, SkillError> {
        let (frontmatter, body) = front_matter::parse(&skill_md)
            .map_err(|problem| SkillError::FrontMatter { id: self.id.clone(), problem })?;
        let body = body.to_owned();
        let (version, labels) = ("local".to_owned(), Vec::new());
        Ok(ResolvedSkill { id: self.id.clone(), version, labels, skill_md, frontmatter, body, path })
    }

    fn unreadable(&self, detail: impl fmt::Display) -> SkillError {
        SkillError::Unreadable { id: self.id.clone(), detail: detail.to_string() }
    }
}

/// The skills of the running chat; cheap to clone. They last as long as the run lives: set them in `on_boot`.
#[derive(Clone, Default)]
pub struct ChatSkills(Arc<Mutex<Vec<ResolvedSkill>>>);

impl ChatSkills {
    /// Replaces the skills, from the next answer on (A-191).
    pub fn set(&self, skills: impl IntoIterator<Item = ResolvedSkill>) {
        let skills = skills.into_iter().collect();
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = skills;
    }

    /// Lists the skills.
    pub fn get(&self) -> Vec<ResolvedSkill> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for ChatSkills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.get().iter().map(|skill| &skill.id)).finish()
    }
}

/// Tells the model which skills there are; nothing when there are none (A-253).
pub(crate) fn preamble(skills: &[ResolvedSkill]) -> Option<String> {
    if skills.is_empty() {
        return None;
    }
    let mut text = "Skills you can use. Call `loadSkill` with a skill's name first and follow what it says:".to_owned();
    for SkillFrontmatter { name, description, .. } in skills.iter().map(|skill| &skill.frontmatter) {
        let line: Vec<&str> = description.split_whitespace().collect();
        text.push_str(&format!("\n- {name}: {}", line.join(" ")));
    }
    Some(text)
}
