//! Rust sources taken apart line by line: code, comments, texts. It knows no grammar, only where each of the three ends.

/// A line of a Rust source; what is left out of `code` is in one of the others.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The code; texts are empty in it.
    pub(super) code: String,
    /// What comments and doc comments say.
    pub(super) comment: String,
    /// What texts say.
    pub(super) text: String,
}

enum State {
    Code,
    LineComment,
    /// How deep block comments are nested.
    BlockComment(usize),
    Text,
    /// How many `#` end the text.
    RawText(usize),
}

struct Lexer<'a> {
    rest: &'a str,
    state: State,
    lines: Vec<Line>,
    line: Line,
}

/// Takes a source apart.
pub(super) fn lines(source: &str) -> Vec<Line> {
    let mut lexer = Lexer { rest: source, state: State::Code, lines: Vec::new(), line: Line::default() };
    while let Some(c) = lexer.rest.chars().next() {
        if c == '\n' {
            lexer.end_line();
            continue;
        }
        match lexer.state {
            State::Code => lexer.code(c),
            State::LineComment => lexer.comment(c.len_utf8()),
            State::BlockComment(depth) => lexer.block_comment(c, depth),
            State::Text => lexer.quoted(c),
            State::RawText(hashes) => lexer.raw(c, hashes),
        }
    }
    lexer.lines.push(lexer.line);
    lexer.lines
}

impl Lexer<'_> {
    fn end_line(&mut self) {
        self.rest = &self.rest[1..];
        if matches!(self.state, State::LineComment) {
            self.state = State::Code;
        }
        self.lines.push(std::mem::take(&mut self.line));
    }

    fn take(&mut self, n_bytes: usize) -> &str {
        let (taken, rest) = self.rest.split_at(n_bytes);
        self.rest = rest;
        taken
    }

    fn comment(&mut self, n_bytes: usize) {
        let (taken, rest) = self.rest.split_at(n_bytes);
        self.line.comment.push_str(taken);
        self.rest = rest;
    }

    fn code(&mut self, c: char) {
        let in_word = self.line.code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        if self.rest.starts_with("//") {
            self.state = State::LineComment;
            self.comment(2);
        } else if self.rest.starts_with("/*") {
            self.state = State::BlockComment(1);
            self.comment(2);
        } else if let Some((n_bytes, hashes)) = raw_start(self.rest).filter(|_| !in_word) {
            self.state = State::RawText(hashes);
            self.line.code.push('"');
            self.take(n_bytes);
        } else if c == '"' {
            self.state = State::Text;
            self.line.code.push('"');
            self.take(1);
        } else if let Some(n_bytes) = char_literal(self.rest) {
            self.line.code.push('\'');
            self.take(n_bytes);
        } else {
            self.line.code.push(c);
            self.take(c.len_utf8());
        }
    }

    fn block_comment(&mut self, c: char, depth: usize) {
        if self.rest.starts_with("*/") {
            self.state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
            self.comment(2);
        } else if self.rest.starts_with("/*") {
            self.state = State::BlockComment(depth + 1);
            self.comment(2);
        } else {
            self.comment(c.len_utf8());
        }
    }

    fn quoted(&mut self, c: char) {
        let mut n_bytes = c.len_utf8();
        if c == '"' {
            self.state = State::Code;
        } else if c == '\\' {
            // The escaped character cannot end the text; an escaped line end is left for the loop.
            n_bytes += self.rest[1..].chars().next().filter(|next| *next != '\n').map_or(0, char::len_utf8);
        }
        let said = self.take(n_bytes).to_owned();
        self.line.text.push_str(&said);
    }

    fn raw(&mut self, c: char, hashes: usize) {
        let end = format!("\"{}", "#".repeat(hashes));
        let n_bytes = if self.rest.starts_with(&end) {
            self.state = State::Code;
            end.len()
        } else {
            c.len_utf8()
        };
        let said = self.take(n_bytes).to_owned();
        self.line.text.push_str(&said);
    }
}

/// Gives the length of `r#"` and the number of its `#`, with `b` or `c` before it, if the text starts with that.
fn raw_start(text: &str) -> Option<(usize, usize)> {
    let plain = text.strip_prefix(['b', 'c']).unwrap_or(text);
    let rest = plain.strip_prefix('r')?;
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    rest[hashes..].starts_with('"').then(|| (text.len() - rest.len() + hashes + 1, hashes))
}

/// Gives the length of a character in quotes; none for a lifetime.
fn char_literal(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    if let Some(escape) = inside.strip_prefix('\\') {
        // What is escaped may be the quote itself.
        let first = escape.chars().next()?.len_utf8();
        return escape[first..].find('\'').map(|at| 2 + first + at + 1);
    }
    let c = inside.chars().next()?;
    inside[c.len_utf8()..].starts_with('\'').then(|| 1 + c.len_utf8() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, code: &str, comment: &str, text: &str) {
        let lines = lines(source);

        let all = |part: fn(&Line) -> &String| lines.iter().map(part).cloned().collect::<Vec<_>>().join("\n");
        assert_eq!(
            (all(|l| &l.code), all(|l| &l.comment), all(|l| &l.text)),
            (code.into(), comment.into(), text.into())
        );
    }

    #[test]
    fn comments_are_told_from_code() {
        check("a // b {\nc", "a \nc", "// b {\n", "\n");
        check("a /* { /* } */ { */ b", "a  b", "/* { /* } */ { */", "");
        check("a /* {\n} */ b", "a \n b", "/* {\n} */", "\n");
    }

    #[test]
    fn texts_are_told_from_code() {
        check(r#"f("{ \" // }", 1)"#, r#"f(", 1)"#, "", r#"{ \" // }""#);
        check("f(r#\"{ \" }\"#) }", "f(\") }", "", "{ \" }\"#");
        check(r##"f(br"\") }"##, r#"f(") }"#, "", r#"\""#);
        check("f(\"a\\\nb\") }", "f(\"\n) }", "\n", "a\\\nb\"");
    }

    #[test]
    fn characters_are_told_from_lifetimes_and_raw_names() {
        check(r"f('{', '\'', '\u{1F600}', '…') }", "f(', ', ', ') }", "", "");
        check("fn f<'a>(r#type: &'a str) {", "fn f<'a>(r#type: &'a str) {", "", "");
        check("for\"x\" }", "for\" }", "", "x\"");
    }
}
