//! Which file of a skill a model means: never one outside the skill's folder, whatever links say.

use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use turnkeep_host::Host;

/// Gives the real path of `path` inside the folder `root`, every link followed, or says why there is none.
pub(super) async fn inside(host: &Host, root: &Path, path: &str) -> Result<PathBuf, String> {
    let outside = || format!("{path} is outside the skill's folder");
    // Both spellings, wherever the agent runs: the model does not know where that is.
    if Path::new(path).has_root() || path.starts_with(['/', '\\']) || has_drive(path) {
        return Err(format!("{path} is not relative to the skill's folder"));
    }
    let root = host.files().real_path(root).await.map_err(|error| format!("the skill's folder is gone: {error}"))?;
    match host.files().real_path(&root.join(path)).await {
        Ok(real) if real.starts_with(&root) => Ok(real),
        Ok(_) => Err(outside()),
        // What does not exist has no real path: it is judged by its text.
        Err(error) if error.kind() == ErrorKind::NotFound && stays_inside(path) => {
            Err(format!("{path} does not exist"))
        }
        Err(error) if stays_inside(path) => Err(format!("{path} cannot be read: {error}")),
        Err(_) => Err(outside()),
    }
}

/// Tells whether a path begins like `C:`.
fn has_drive(path: &str) -> bool {
    path.as_bytes().get(1) == Some(&b':') && path.as_bytes()[0].is_ascii_alphabetic()
}

/// Tells by its text alone whether a relative path never climbs above its start.
fn stays_inside(path: &str) -> bool {
    let mut depth = 0_usize;
    for component in Path::new(path).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::ParentDir if depth == 0 => return false,
            Component::ParentDir => depth -= 1,
            Component::Prefix(_) | Component::RootDir => return false,
            Component::CurDir => {}
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_judged_by_its_text_a255() {
        for path in ["a", "a/../b", "./a/./b", "a/b/../../c", ""] {
            assert!(stays_inside(path), "{path}");
        }
        for path in ["..", "../a", "a/../../b", "a/../.."] {
            assert!(!stays_inside(path), "{path}");
        }
    }

    #[test]
    fn a_drive_is_told_from_a_name() {
        assert!(has_drive("C:/x") && has_drive("c:"));
        assert!(!has_drive("a") && !has_drive("1:") && !has_drive(""));
    }
}
