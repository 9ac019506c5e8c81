//! Ids in paths.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What stays readable of a path segment, as `encodeURIComponent` has it.
const READABLE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// Percent-encodes text as one segment of a path, whatever is in it.
pub fn segment(text: &str) -> String {
    utf8_percent_encode(text, READABLE).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_becomes_one_segment() {
        assert_eq!(segment("a/b c:ü?%"), "a%2Fb%20c%3A%C3%BC%3F%25");
        assert_eq!(segment("chat-1_x.~!*'()"), "chat-1_x.~!*'()");
    }
}
