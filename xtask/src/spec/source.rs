//! Which lines of a Rust source are test code, and of which test.
//!
//! Braces, attributes and a few keywords are enough for that: `#[cfg(test)]` before a block or a module, `#[test]` and its like before
//! a function. What a `macro_rules!` would make into a test is not seen.

use super::lexer::{self, Line};

/// What a line belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scope {
    /// What ships, or what proves: no test.
    Code,
    /// Test code outside any test: a module's heading, a helper.
    Module,
    /// A test, by its name; its comments and attributes belong to it.
    Test(String),
}

/// A source, read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) lines: Vec<(Scope, Line)>,
    /// The modules in files of their own that are only for tests.
    pub(super) test_modules: Vec<String>,
}

/// An item that has begun and whose block has not.
#[derive(Debug, Default)]
struct Item {
    /// The line of its first attribute; none without attributes.
    start: Option<usize>,
    is_test: bool,
    is_for_tests: bool,
    /// Whether a word like `fn` was seen: a comma then belongs to the item's generics.
    has_keyword: bool,
    function: Option<String>,
    module: Option<String>,
}

/// A block that is open.
#[derive(Debug)]
struct Block {
    start: usize,
    scope: Option<Scope>,
}

#[derive(Debug)]
struct Walk {
    scopes: Vec<Option<Scope>>,
    blocks: Vec<Block>,
    /// How many `(` and `[` are open.
    n_parens: usize,
    item: Item,
    last_word: String,
    test_modules: Vec<String>,
}

const ITEMS: &[&str] =
    &["fn", "mod", "struct", "enum", "union", "trait", "impl", "type", "const", "static", "use", "let"];

/// Reads a source; none when its braces do not match, which would make every answer wrong.
pub(super) fn read(text: &str, is_for_tests: bool) -> Option<Source> {
    let lines = lexer::lines(text);
    let mut walk = Walk {
        scopes: vec![None; lines.len()],
        blocks: Vec::new(),
        n_parens: 0,
        item: Item::default(),
        last_word: String::new(),
        test_modules: Vec::new(),
    };
    for (line, token) in tokens(&lines) {
        walk.step(&lines, line, token)?;
    }
    if !walk.blocks.is_empty() {
        return None;
    }
    let rest = if is_for_tests { Scope::Module } else { Scope::Code };
    let scopes = walk.scopes.into_iter().map(|scope| scope.unwrap_or_else(|| rest.clone()));
    Some(Source { lines: scopes.zip(lines).collect(), test_modules: walk.test_modules })
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Word(String),
    /// What stands between `#[` and `]`, without spaces.
    Attribute(String),
    Mark(char),
}

/// Gives the tokens of the code with their lines, counted from 0.
fn tokens(lines: &[Line]) -> Vec<(usize, Token)> {
    let all = lines.iter().enumerate().flat_map(|(line, it)| it.code.chars().chain(['\n']).map(move |c| (line, c)));
    let mut chars = all.peekable();
    let mut found = Vec::new();
    while let Some((line, c)) = chars.next() {
        if c.is_alphanumeric() || c == '_' {
            let mut word = String::from(c);
            while let Some((_, c)) = chars.next_if(|(_, c)| c.is_alphanumeric() || *c == '_') {
                word.push(c);
            }
            found.push((line, Token::Word(word)));
        } else if c == '#' && chars.next_if(|(_, c)| *c == '[').is_some() {
            let mut attribute = String::new();
            let mut depth = 1;
            for (_, c) in chars.by_ref() {
                depth += i32::from(c == '[') - i32::from(c == ']');
                if depth == 0 {
                    break;
                }
                attribute.extend(Some(c).filter(|c| !c.is_whitespace()));
            }
            found.push((line, Token::Attribute(attribute)));
        } else if !c.is_whitespace() {
            found.push((line, Token::Mark(c)));
        }
    }
    found
}

impl Walk {
    /// Takes one token; none when a brace closes nothing.
    fn step(&mut self, lines: &[Line], line: usize, token: Token) -> Option<()> {
        match token {
            Token::Attribute(text) => {
                self.item.start.get_or_insert(line);
                self.item.is_test |= is_test(&text);
                self.item.is_for_tests |= is_for_tests(&text);
            }
            Token::Word(word) => self.word(word),
            Token::Mark('(' | '[') => self.n_parens += 1,
            Token::Mark(')' | ']') => self.n_parens = self.n_parens.saturating_sub(1),
            Token::Mark('{') => self.open(lines, line),
            Token::Mark('}') => self.close(line)?,
            Token::Mark(';') if self.n_parens == 0 => self.end_item(line),
            Token::Mark(',') if self.n_parens == 0 && !self.item.has_keyword => self.end_item(line),
            Token::Mark(_) => {}
        }
        Some(())
    }

    fn word(&mut self, word: String) {
        match self.last_word.as_str() {
            "fn" => self.item.function = Some(word.clone()),
            "mod" => self.item.module = Some(word.clone()),
            _ => {}
        }
        self.item.has_keyword |= ITEMS.contains(&word.as_str());
        self.last_word = word;
    }

    fn open(&mut self, lines: &[Line], line: usize) {
        let item = std::mem::take(&mut self.item);
        let mut start = item.start.unwrap_or(line);
        let scope = match item.function {
            Some(name) if item.is_test => Some(Scope::Test(name)),
            _ => item.is_for_tests.then_some(Scope::Module),
        };
        if matches!(scope, Some(Scope::Test(_))) {
            let is_comment = |line: usize| lines[line].code.trim().is_empty() && !lines[line].comment.is_empty();
            while start > 0 && is_comment(start - 1) {
                start -= 1;
            }
        }
        self.blocks.push(Block { start, scope });
    }

    fn close(&mut self, line: usize) -> Option<()> {
        let block = self.blocks.pop()?;
        self.item = Item::default();
        self.mark(block.start, line, block.scope);
        Some(())
    }

    fn end_item(&mut self, line: usize) {
        let item = std::mem::take(&mut self.item);
        if item.is_for_tests {
            self.test_modules.extend(item.module);
            self.mark(item.start.unwrap_or(line), line, Some(Scope::Module));
        }
    }

    /// Gives lines their scope where no inner block has one.
    fn mark(&mut self, start: usize, end: usize, scope: Option<Scope>) {
        let Some(scope) = scope else { return };
        for line in &mut self.scopes[start..=end] {
            line.get_or_insert_with(|| scope.clone());
        }
    }
}

/// Whether an attribute makes a function a test: `test`, `tokio::test(…)` and their like.
fn is_test(attribute: &str) -> bool {
    let path = attribute.split('(').next().unwrap_or_default();
    path.rsplit("::").next() == Some("test")
}

/// Whether an attribute leaves its item out of everything but tests.
fn is_for_tests(attribute: &str) -> bool {
    let Some(condition) = attribute.strip_prefix("cfg(") else { return false };
    condition == "test)"
        || condition.starts_with("all(test,")
        || condition.starts_with("all(") && condition.contains(",test)")
}

#[cfg(test)]
mod tests;
