//! The head of a message on a connection, as a proxy or a browser looks at it.

/// The longest head that is looked at; of a longer one nothing is known.
const MAX_HEAD_BYTES: usize = 16 * 1024;

/// What has come of a head so far.
#[derive(Debug, Default)]
pub(super) struct Head {
    text: Vec<u8>,
    is_over: bool,
}

impl Head {
    /// Takes in what comes next; tells whether the head ends in it.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        if self.is_over {
            return false;
        }
        let before = self.text.len();
        self.text.extend_from_slice(bytes);
        // The blank line may have begun before.
        let from = before.saturating_sub(3);
        let end = self.text[from..].windows(4).position(|four| four == b"\r\n\r\n").map(|at| from + at + 4);
        if let Some(end) = end {
            self.text.truncate(end);
            self.text.make_ascii_lowercase();
            self.is_over = true;
        } else if self.text.len() > MAX_HEAD_BYTES {
            (self.text, self.is_over) = (Vec::new(), true);
        }
        end.is_some()
    }

    /// Tells whether anything has come.
    pub(super) fn has_begun(&self) -> bool {
        self.is_over || !self.text.is_empty()
    }

    /// Tells whether the head is over and has a header whose name and value begin like this, in small letters.
    pub(super) fn has(&self, header: &str) -> bool {
        let wanted = format!("\r\n{header}");
        self.is_over && self.text.windows(wanted.len()).any(|text| text == wanted.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n: ping\n\n";

    #[test]
    fn a_head_ends_at_its_blank_line_however_its_bytes_come() {
        let n_head = ANSWER.len() - 8;
        for first in 0..ANSWER.len() {
            let mut head = Head::default();

            let ends = [head.take(&ANSWER[..first]), head.take(&ANSWER[first..])];

            assert_eq!(ends, [first >= n_head, first < n_head], "split at {first}");
            assert!(head.has("content-type: text/event-stream"));
            assert!(!head.has("origin: "));
        }
    }

    #[test]
    fn of_a_head_that_is_too_long_or_not_over_nothing_is_known() {
        let mut open = Head::default();
        open.take(b"GET / HTTP/1.1\r\nOrigin: a\r\n");
        let mut long = Head::default();
        long.take(&vec![b'a'; MAX_HEAD_BYTES + 1]);

        assert!(!open.has("origin: a"));
        assert!(!long.take(b"\r\norigin: a\r\n\r\n"));
        assert!(!long.has("origin: a"));
    }
}
