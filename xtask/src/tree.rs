//! The files of the house, read once.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Folders at the top that are not of the house: what cargo and git keep, and a server that was tried out.
const FOREIGN: &[&str] = &["target", ".git", "turnkeep-data"];

/// What npm keeps beside a package.json.
const NPM_KEEPS: &str = "node_modules";

/// A text file.
#[derive(Debug)]
pub(crate) struct File {
    /// From the top, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// Every text file, sorted by path, and what lies at the top.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) top: Vec<String>,
    pub(crate) files: Vec<File>,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let mut tree = Self::default();
        tree.walk(root, "")?;
        tree.files.sort_by(|a, b| a.path.cmp(&b.path));
        tree.top.sort();
        Ok(tree)
    }

    fn walk(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        for entry in fs::read_dir(dir).with_context(|| format!("{} cannot be read", dir.display()))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == NPM_KEEPS {
                continue;
            }
            if prefix.is_empty() {
                if FOREIGN.contains(&name.as_str()) {
                    continue;
                }
                self.top.push(name.clone());
            }
            let path = format!("{prefix}{name}");
            if entry.file_type()?.is_dir() {
                self.walk(&entry.path(), &format!("{path}/"))?;
            } else if let Ok(text) = String::from_utf8(fs::read(entry.path())?) {
                self.files.push(File { path, text });
            }
        }
        Ok(())
    }

    /// Gives the files below `folder` whose name ends in `.ext`.
    pub(crate) fn below<'a>(&'a self, folder: &'a str, ext: &'a str) -> impl Iterator<Item = &'a File> {
        self.files.iter().filter(move |file| {
            file.path.starts_with(folder) && file.path.rsplit_once('.').is_some_and(|(_, found)| found == ext)
        })
    }

    /// Gives one file's text.
    pub(crate) fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }
}

#[cfg(test)]
impl Tree {
    /// Makes a tree of paths and texts.
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self { top: Vec::new(), files: files.iter().map(file).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cargo_git_and_npm_keep_is_not_of_the_house() {
        let folder = tempfile::tempdir().unwrap();
        for path in ["target/a", ".git/b", "interop/node_modules/ai/c", "interop/d"] {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "text").unwrap();
        }

        let tree = Tree::read(folder.path()).unwrap();

        assert_eq!(tree.top, ["interop"]);
        assert_eq!(tree.files.iter().map(|file| file.path.as_str()).collect::<Vec<_>>(), ["interop/d"]);
    }
}
