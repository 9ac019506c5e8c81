//! What a chat's file holds: the messages a person has seen whole, and where the transport stands, always together (C-234, C-236).

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use turnkeep_client::ChatSessionState;
use turnkeep_protocol::UiMessage;

use crate::bad_input::BadInput;

/// The shape of the file.
const VERSION: u32 = 1;

/// The longest name that is spelt out, in bytes: file systems take 255.
const MAX_NAME: usize = 200;

/// One chat as its file has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Saved {
    version: u32,
    /// The agent that the chat is with.
    pub(super) agent: String,
    pub(super) messages: Vec<UiMessage>,
    pub(super) session: Option<ChatSessionState>,
}

impl Saved {
    pub(super) fn new(agent: &str) -> Self {
        Self { version: VERSION, agent: agent.to_owned(), messages: Vec::new(), session: None }
    }

    /// Reads a chat's file; none when there is no such file.
    pub(super) fn read(file: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            text => text.with_context(|| format!("{} cannot be read", file.display()))?,
        };
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        let refuse =
            |what: String| BadInput(format!("{}: {what}; move it away to begin the chat anew", file.display()));
        let head: Head = serde_json::from_str(&text).map_err(|error| refuse(format!("this is no chat: {error}")))?;
        if head.version != VERSION {
            return Err(refuse(format!("this is version {}, and only {VERSION} is known", head.version)).into());
        }
        let saved = serde_json::from_str(&text).map_err(|error| refuse(format!("this is no chat: {error}")))?;
        Ok(Some(saved))
    }

    /// Writes the chat's file: the old one stays whole until the new one is. It holds a token, so nobody else may read it.
    pub(super) fn write(&self, file: &Path) -> io::Result<()> {
        let mut next = NamedTempFile::new_in(file.parent().unwrap_or(Path::new(".")))?;
        next.write_all(&serde_json::to_vec(self)?)?;
        next.as_file().sync_all()?;
        next.persist(file)?;
        Ok(())
    }
}

/// Gives the file of a chat, whatever its id is made of.
pub(super) fn file_of(folder: &Path, chat: &str) -> PathBuf {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let name: String = chat
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("_{byte:02x}") })
        .collect();
    let name = if name.len() > MAX_NAME { format!("_h{:x}", Sha256::digest(chat)) } else { name };
    folder.join(format!("{name}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saved() -> Saved {
        let messages = vec![UiMessage::user("u1", "hi")];
        Saved { messages, session: Some(ChatSessionState::new("token")), ..Saved::new("echo") }
    }

    #[test]
    fn a_chat_comes_back_as_it_was_written_c234() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), "one");

        assert_eq!(Saved::read(&file).unwrap(), None);
        Saved::new("echo").write(&file).unwrap();
        saved().write(&file).unwrap();

        assert_eq!(Saved::read(&file).unwrap(), Some(saved()));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_write_that_fails_leaves_the_chat_as_it_was_c236() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), "one");
        // Nothing takes the place of a folder.
        fs::create_dir(&file).unwrap();

        assert!(saved().write(&file).is_err());

        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_reads_the_token() {
        use std::os::unix::fs::PermissionsExt as _;

        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), "one");

        saved().write(&file).unwrap();

        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_no_chat_or_a_newer_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let file = file_of(folder.path(), "one");
        for (text, want) in [
            ("{", "this is no chat: EOF while parsing an object at line 1 column 1"),
            (r#"{"version":2,"more":1}"#, "this is version 2, and only 1 is known"),
        ] {
            fs::write(&file, text).unwrap();
            let error = Saved::read(&file).unwrap_err();
            assert!(error.is::<BadInput>());
            assert_eq!(error.to_string(), format!("{}: {want}; move it away to begin the chat anew", file.display()));
        }
    }

    #[test]
    fn every_id_has_a_file_of_its_own_in_the_folder() {
        let name = |chat| file_of(Path::new("f"), chat).display().to_string();

        assert_eq!(name("chat-1"), "f/chat-1.json");
        assert_eq!(name("../A é_"), "f/_2e_2e_2f_41_20_c3_a9_5f.json");
        assert_ne!(name("a_2e"), name("a."));
        let (long, longer) = ("A".repeat(256), "A".repeat(257));
        assert!(name(&long).len() < 100 && name(&long) != name(&longer), "{}", name(&long));
    }
}
