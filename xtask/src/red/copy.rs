//! A copy of the tree that may be broken.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::bank::Edit;
use crate::tree::Tree;

/// Cargo reads this folder of every folder above its own: the copy lies inside the tree, and a second reading would double every flag
/// and build each dependency anew.
const CONFIG: &str = ".cargo/";

/// The copy.
pub(super) struct Copy {
    root: PathBuf,
}

/// Files that were changed, with what they were before.
#[must_use = "the copy stays broken until this is undone"]
pub(super) struct Edited(BTreeMap<PathBuf, String>);

impl Copy {
    /// Brings the copy at `root` up to date. Only files that differ are written: the rest stays built.
    pub(super) fn of(tree: &Tree, root: &Path) -> Result<Self> {
        fs::create_dir_all(root).with_context(|| format!("{} cannot be made", root.display()))?;
        let before = Tree::read(root)?;
        for file in tree.files.iter().filter(|file| !file.path.starts_with(CONFIG)) {
            if before.text(&file.path) == Some(&file.text) {
                continue;
            }
            let path = root.join(&file.path);
            let folder = path.parent().expect("a file lies in a folder");
            fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
            write(&path, &file.text)?;
        }
        for old in before.files.iter().filter(|old| tree.text(&old.path).is_none()) {
            let path = root.join(&old.path);
            fs::remove_file(&path).with_context(|| format!("{} cannot be removed", path.display()))?;
        }
        Ok(Self { root: root.to_owned() })
    }

    /// Gives the copy's top folder.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Makes every edit, or none.
    pub(super) fn edit(&self, edits: &[Edit]) -> Result<Edited> {
        let mut before = BTreeMap::new();
        let mut after: BTreeMap<PathBuf, String> = BTreeMap::new();
        for edit in edits {
            let path = self.root.join(&edit.file);
            if !after.contains_key(&path) {
                let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
                before.insert(path.clone(), text.clone());
                after.insert(path.clone(), text);
            }
            let text = after.get_mut(&path).expect("it was just put there");
            let n_times = text.matches(&edit.find).count();
            if n_times != 1 {
                bail!("{}: the text to replace stands there {n_times} times: {:?}", edit.file, edit.find);
            }
            *text = text.replacen(&edit.find, &edit.replace, 1);
        }
        for (path, text) in &after {
            write(path, text)?;
        }
        Ok(Edited(before))
    }
}

impl Edited {
    /// Makes the copy whole again.
    pub(super) fn undo(self) -> Result<()> {
        self.0.iter().try_for_each(|(path, text)| write(path, text))
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edit(find: &str, replace: &str) -> Edit {
        Edit { file: "src/a.rs".to_owned(), find: find.to_owned(), replace: replace.to_owned() }
    }

    fn text(copy: &Copy, path: &str) -> String {
        fs::read_to_string(copy.root().join(path)).unwrap()
    }

    #[test]
    fn a_copy_follows_its_tree_and_forgets_what_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        Copy::of(&Tree::of(&[("src/a.rs", "1"), ("b.txt", "2")]), folder.path()).unwrap();

        let copy = Copy::of(&Tree::of(&[("src/a.rs", "3")]), folder.path()).unwrap();

        assert_eq!(text(&copy, "src/a.rs"), "3");
        assert!(!folder.path().join("b.txt").exists());
    }

    #[test]
    fn edits_of_one_file_add_up_and_can_be_undone() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Copy::of(&Tree::of(&[("src/a.rs", "one two")]), folder.path()).unwrap();

        let edited = copy.edit(&[edit("one", "1"), edit("two", "2")]).unwrap();

        assert_eq!(text(&copy, "src/a.rs"), "1 2");
        edited.undo().unwrap();
        assert_eq!(text(&copy, "src/a.rs"), "one two");
    }

    #[test]
    fn an_edit_that_does_not_fit_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let copy = Copy::of(&Tree::of(&[("src/a.rs", "one two")]), folder.path()).unwrap();

        assert!(copy.edit(&[edit("one", "1"), edit("three", "3")]).is_err());

        assert_eq!(text(&copy, "src/a.rs"), "one two");
    }
}
