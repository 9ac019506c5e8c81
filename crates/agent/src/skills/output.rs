//! Texts for the model that were cut: at a character, with a line that says how much is missing.

/// Makes text of the beginning of `n_bytes` bytes; bytes that are no UTF-8 become replacement characters.
pub(super) fn text(beginning: &[u8], n_bytes: u64) -> String {
    if beginning.len() as u64 >= n_bytes {
        return String::from_utf8_lossy(beginning).into_owned();
    }
    let kept = whole_characters(beginning);
    let missing = n_bytes - kept.len() as u64;
    format!("{}\n…[truncated {missing} bytes]", String::from_utf8_lossy(kept))
}

/// Drops the beginning of a character from the end of a text that was cut anywhere.
fn whole_characters(bytes: &[u8]) -> &[u8] {
    // A character has four bytes at most: one that is cut begins in the last three.
    for n_tail in 1..=bytes.len().min(3) {
        let at = bytes.len() - n_tail;
        let n_bytes = match bytes[at] {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if n_bytes > n_tail { &bytes[..at] } else { bytes };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters_at_every_place_a255() {
        let whole = "aé€😀z";

        for n_kept in 0..=whole.len() {
            let cut = text(&whole.as_bytes()[..n_kept], whole.len() as u64);
            let kept = (0..=n_kept).rev().find(|at| whole.is_char_boundary(*at)).unwrap();
            let want = match whole.len() - kept {
                0 => whole.to_owned(),
                missing => format!("{}\n…[truncated {missing} bytes]", &whole[..kept]),
            };
            assert_eq!(cut, want, "cut at {n_kept}");
        }
    }

    #[test]
    fn what_is_no_text_is_shown_as_such_and_never_cut_short_a255() {
        assert_eq!(text(b"a\xffb", 3), "a\u{fffd}b");
        assert_eq!(text(b"a\xff", 3), "a\u{fffd}\n…[truncated 1 bytes]");
        assert_eq!(text(b"\x80\x80\x80\x80", 4), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        assert_eq!(text(b"\x80\x80\x80\x80", 5), "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\n…[truncated 1 bytes]");
        assert_eq!(text(b"", 0), "");
    }
}
