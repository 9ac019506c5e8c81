//! Reads a batch as servers write it, byte by byte.
//!
//! The body of a record is JSON within a JSON string, so every fourth byte or so of a batch is behind a backslash, and a reader for any
//! JSON spends most of its time between two of them. This one knows the one form of a batch that comes all the time: no white space, no
//! headers, no `\u`. Whatever else it meets, it gives the batch back whole, to be read by serde; so it never decides what is an error.

use serde_json::{Map, Value};
use turnkeep_protocol::{PartId, SeqNum, Tail};

use super::{LooseEnvelope, ReadBody, ReadRecord};

/// As many fields as most chunks have.
const FEW: usize = 4;

/// Reads `data`, or nothing when it has any other form than the usual one.
pub(super) fn read(data: &str) -> Option<(Vec<ReadRecord>, Option<Tail>)> {
    let mut scan = Scan { rest: data.as_bytes(), body: Vec::new() };
    scan.skip(b"{\"records\":[{")?;
    let mut records = Vec::new();
    loop {
        records.push(scan.record()?);
        match scan.next()? {
            b',' => scan.skip(b"{")?,
            b']' => break,
            _ => return None,
        }
    }
    let tail = match scan.next()? {
        b',' => scan.tail()?,
        b'}' if scan.rest.is_empty() => return Some((records, None)),
        _ => return None,
    };
    Some((records, Some(tail)))
}

struct Scan<'d> {
    rest: &'d [u8],
    /// The unescaped body of one record after the other.
    body: Vec<u8>,
}

impl<'d> Scan<'d> {
    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*byte)
    }

    fn skip(&mut self, bytes: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(bytes)?;
        Some(())
    }

    /// Reads a record behind its opening brace; each field once, in any order.
    fn record(&mut self) -> Option<ReadRecord> {
        let (mut seq_num, mut timestamp, mut body) = (None, None, None);
        loop {
            if self.skip(b"\"body\":\"").is_some() {
                once(&mut body, self.body()?)?;
            } else if self.skip(b"\"seq_num\":").is_some() {
                once(&mut seq_num, SeqNum::new(self.number()?))?;
            } else if self.skip(b"\"timestamp\":").is_some() {
                once(&mut timestamp, self.number()?)?;
            } else {
                return None;
            }
            match self.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        Some(ReadRecord { seq_num: seq_num?, timestamp: timestamp?, body: body?, headers: Vec::new() })
    }

    fn number(&mut self) -> Option<u64> {
        let n_digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at(n_digits);
        self.rest = rest;
        if digits.len() > 1 && digits[0] == b'0' {
            return None;
        }
        str::from_utf8(digits).ok()?.parse().ok()
    }

    /// Reads a string behind its opening quote.
    fn body(&mut self) -> Option<ReadBody> {
        if let Some(envelope) = self.envelope() {
            return Some(ReadBody(Some(envelope)));
        }
        self.body.clear();
        let mut bytes = self.rest.iter();
        loop {
            match *bytes.next()? {
                b'"' => break,
                b'\\' => self.body.push(unescaped(*bytes.next()?)?),
                control if control < b' ' => return None,
                byte => self.body.push(byte),
            }
        }
        self.rest = bytes.as_slice();
        Some(ReadBody::read(str::from_utf8(&self.body).ok()?))
    }

    /// Reads the envelope that comes all the time, a few texts by their names without an escape in any, and the string's end behind it;
    /// nothing is read when it is another one.
    fn envelope(&mut self) -> Option<LooseEnvelope> {
        let mut scan = Scan { rest: self.rest, body: Vec::new() };
        scan.skip(br#"{\"data\":{"#)?;
        let mut data = Map::with_capacity(FEW);
        loop {
            let name = scan.text()?;
            scan.skip(b":")?;
            data.insert(name.to_owned(), Value::String(scan.text()?.to_owned()));
            match scan.next()? {
                b',' => {}
                b'}' => break,
                _ => return None,
            }
        }
        scan.skip(br#",\"id\":"#)?;
        let id = Some(PartId::new(scan.text()?));
        scan.skip(b"}\"")?;
        self.rest = scan.rest;
        Some(LooseEnvelope { data: Value::Object(data), id })
    }

    /// Reads a text between two escaped quotes.
    fn text(&mut self) -> Option<&'d str> {
        self.skip(br#"\""#)?;
        let end = self.rest.iter().position(|byte| matches!(byte, b'\\' | b'"' | ..b' '))?;
        let (text, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip(br#"\""#)?;
        str::from_utf8(text).ok()
    }

    fn tail(&mut self) -> Option<Tail> {
        self.skip(b"\"tail\":")?;
        serde_json::from_slice(self.rest.strip_suffix(b"}")?).ok()
    }
}

fn once<T>(field: &mut Option<T>, value: T) -> Option<()> {
    field.replace(value).is_none().then_some(())
}

fn unescaped(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' | b'/' => byte,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read_any;
    use super::*;

    /// Gives what both readers make of `data`: this one, if it makes anything of it, and serde.
    #[track_caller]
    fn check(data: &str, is_usual: bool) {
        let quick = read(data);
        assert_eq!(quick.is_some(), is_usual, "{data}");
        if let Some(quick) = quick {
            assert_eq!(quick, read_any(data), "{data}");
        }
    }

    #[test]
    fn the_usual_form_is_read_as_serde_reads_it() {
        let body = r#""body":"{\"data\":{\"type\":\"text-delta\",\"delta\":\"a\\n\\\"é\\u00e9\"},\"id\":\"p\"}""#;
        check(&format!(r#"{{"records":[{{"seq_num":0,"timestamp":7,{body}}}]}}"#), true);
        check(&format!(r#"{{"records":[{{{body},"timestamp":7,"seq_num":18446744073709551615}}]}}"#), true);
        let tail = r#""tail":{"seq_num":9,"timestamp":8}"#;
        check(
            &format!(
                r#"{{"records":[{{"seq_num":0,"timestamp":7,{body}}},{{"seq_num":1,"timestamp":7,"body":""}}],{tail}}}"#
            ),
            true,
        );
        // Where each escape stands, it decides what the envelope holds, or whether there is one.
        for body in [
            r#"{\n\"data\":1}"#,
            r#"{\r\"data\":1}"#,
            r#"{\t\"data\":1}"#,
            r#"{\"data\":\"\/\\\\\"}"#,
            r#"{\"data\":\"\b\"}"#,
            r#"{\"data\":\"\f\"}"#,
        ] {
            check(&format!(r#"{{"records":[{{"seq_num":0,"timestamp":7,"body":"{body}"}}]}}"#), true);
        }
    }

    #[test]
    fn an_envelope_of_texts_is_read_as_serde_reads_it() {
        for body in [
            r#"{\"data\":{\"type\":\"text-delta\",\"id\":\"t\",\"delta\":\" wörd/\"},\"id\":\"p\"}"#,
            r#"{\"data\":{\"a\":\"1\",\"b\":\"2\",\"a\":\"3\"},\"id\":\"\"}"#,
            r#"{\"data\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\",\"d\":\"4\",\"e\":\"5\",\"\":\"\"},\"id\":\"p\"}"#,
            // And whatever is nearly one.
            r#"{\"data\":{},\"id\":\"p\"}"#,
            r#"{\"data\":{\"a\":1},\"id\":\"p\"}"#,
            r#"{\"data\":{\"a\":\"\\n\"},\"id\":\"p\"}"#,
            r#"{\"data\":{\"a\":\"1\",},\"id\":\"p\"}"#,
            r#"{\"data\":{\"a\":\"1\"},\"id\":\"p\",\"more\":\"m\"}"#,
            r#"{\"data\":{\"a\":\"1\"},\"id\":null}"#,
            r#"{\"data\":{\"a\":\"1\"}}"#,
            r#"{\"data\":{\"a\":\"1\"},\"id\":\"p\"}}"#,
            r#"{\"data\":{\"a\":\"1\"},\"id\":\"p\"} "#,
            r#"{\"id\":\"p\",\"data\":{\"a\":\"1\"}}"#,
        ] {
            check(&format!(r#"{{"records":[{{"seq_num":0,"timestamp":7,"body":"{body}"}}]}}"#), true);
        }
        let control = "{\\\"data\\\":{\\\"a\\\":\\\"\u{1}\\\"},\\\"id\\\":\\\"p\\\"}";
        check(&format!(r#"{{"records":[{{"seq_num":0,"timestamp":7,"body":"{control}"}}]}}"#), false);
    }

    #[test]
    fn any_other_form_is_left_to_serde() {
        for data in [
            "",
            "{}",
            "[]",
            r#"{"records":[]}"#,
            r#"{"records":[{}]}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":""}]"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":""}]}}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":""}],}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":""}],"tail":{"seq_num":9,"timestamp":8}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":""}],"tail":null}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":""},]}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7}]}"#,
            r#"{"records":[{"seq_num":0,"body":""}]}"#,
            r#"{"records":[{"timestamp":0,"body":""}]}"#,
            r#"{"records":[{"seq_num":0,"seq_num":1,"timestamp":7,"body":""}]}"#,
            r#"{"records":[{"seq_num":00,"timestamp":7,"body":""}]}"#,
            r#"{"records":[{"seq_num":,"timestamp":7,"body":""}]}"#,
            r#"{"records":[{"seq_num":-1,"timestamp":7,"body":""}]}"#,
            r#"{"records":[{"seq_num":1.0,"timestamp":7,"body":""}]}"#,
            r#"{"records":[{"seq_num":18446744073709551616,"timestamp":7,"body":""}]}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":"\u0000"}]}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":"\x"}]}"#,
            "{\"records\":[{\"seq_num\":0,\"timestamp\":7,\"body\":\"\t\"}]}",
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":"","headers":[["trigger-control","turn-complete"]]}]}"#,
            r#"{"records":[{"seq_num":0,"timestamp":7,"body":"","more":1}]}"#,
            r#"{ "records":[{"seq_num":0,"timestamp":7,"body":""}]}"#,
        ] {
            check(data, false);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// A usual batch of which some bytes were changed, taken away or doubled is read as serde reads it, or left to it.
        #[test]
        fn what_is_read_here_serde_reads_no_other_way(
            body in prop_oneof!["[a-c é\"\\\\/\n]{0,8}", any::<String>()],
            numbers in any::<(u64, u64)>(),
            changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<char>(), 0..3_u8), 0..4),
        ) {
            let envelope = serde_json::json!({ "data": { "type": "text-delta", "delta": body }, "id": "p" }).to_string();
            let record = serde_json::json!({ "seq_num": numbers.0, "timestamp": numbers.1, "body": envelope });
            let mut data: Vec<char> = serde_json::json!({ "records": [record], "tail": { "seq_num": 1, "timestamp": 2 } }).to_string().chars().collect();
            for (at, new, how) in changes {
                let at = at.index(data.len());
                match how {
                    0 => data[at] = new,
                    1 => drop(data.remove(at)),
                    _ => data.insert(at, data[at]),
                }
            }
            let data: String = data.into_iter().collect();
            if let Some(quick) = read(&data) {
                prop_assert_eq!(quick, read_any(&data));
            }
        }
    }
}
