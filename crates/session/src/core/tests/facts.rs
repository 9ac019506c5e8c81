//! What is on the channels by everything that was acknowledged: a model from outside, which shares nothing with the core.

use std::collections::BTreeMap;

use super::*;

/// What must be on the two channels of `chat`, no more and no less.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    /// Whether the session is closed.
    pub closed: bool,
    /// `in`, each at its place: the part id that was named and the text.
    input: Vec<(Option<String>, String)>,
    /// What runs wrote on `out`, by place; the server's own records lie between.
    output: BTreeMap<u64, String>,
    /// The places of every part id that was named.
    parts: BTreeMap<(ChannelName, String), Vec<u64>>,
    /// Numbers what is written, so that any two texts differ.
    n_texts: u64,
}

impl Facts {
    /// Sends a message and notes what was answered. One with a part id is the same whenever it is sent.
    pub(super) fn send(&mut self, fixture: &mut Fixture, trigger: &str, part: Option<&str>) {
        let text = self.text(part);
        let payload = json!({ "chatId": "chat", "trigger": trigger, "text": text });
        self.append(fixture, &json!({ "kind": "message", "payload": payload }).to_string(), part);
    }

    /// Appends to `in` and notes what was answered.
    pub(super) fn append(&mut self, fixture: &mut Fixture, body: &str, part: Option<&str>) {
        let places = match fixture.append(IN, body, part) {
            Ok(seq) => vec![seq],
            Err(refused) => {
                assert!(self.closed && matches!(refused, Refused::Closed { .. }), "{refused:?}, and nothing is wrong");
                return;
            }
        };
        assert!(!self.closed, "a closed session took an append (D-2)");
        if self.is_first(IN, part, &places) {
            assert_eq!(places, [self.input.len() as u64], "not the next place (I3)");
            self.input.push((part.map(str::to_owned), body.to_owned()));
        }
    }

    /// Writes a batch as a run and notes what was answered; gives whether it was taken.
    pub(super) fn write(&mut self, fixture: &mut Fixture, run: &LeasedRun, n: usize, part: Option<&str>) -> bool {
        let texts: Vec<_> = (0..n).map(|at| format!("{}-{at}", self.text(part))).collect();
        let Ok(places) = fixture.write_part(Some(run), texts.iter().map(|text| data(text)).collect(), part) else {
            return false;
        };
        if self.is_first(OUT, part, &places) {
            assert_eq!(places.len(), n, "a place for each record");
            for (seq, text) in places.into_iter().zip(texts) {
                let other = self.output.insert(seq, text);
                assert_eq!(other, None, "place {seq} was given twice");
            }
        }
        true
    }

    /// Tells whether what was just answered is new; a repeated part must have the places that it had (D-6).
    fn is_first(&mut self, channel: ChannelName, part: Option<&str>, places: &[u64]) -> bool {
        let Some(part) = part else { return true };
        let known = self.parts.entry((channel, part.to_owned())).or_default();
        if known.is_empty() {
            known.extend_from_slice(places);
            return true;
        }
        assert_eq!(*known, places, "part {part} has another place now (D-6)");
        false
    }

    fn text(&mut self, part: Option<&str>) -> String {
        self.n_texts += 1;
        part.map_or_else(|| format!("text-{}", self.n_texts), |part| format!("part-{part}"))
    }

    /// One record for each that was acknowledged, at its place, and none beside those (D-6, D-12).
    pub(super) fn check(&self, fixture: &Fixture) {
        let stored: Vec<_> = fixture.records(IN).iter().map(|record| record.envelope().unwrap()).collect();
        let texts: Vec<_> = stored.iter().map(|stored| stored.data.as_str().unwrap()).collect();
        let want: Vec<_> = self.input.iter().map(|(_, body)| body.as_str()).collect();
        assert_eq!(texts, want, "`in` is not what was acknowledged");
        let same_part = |(stored, (part, _)): (&turnkeep_protocol::Envelope, &(Option<String>, _))| {
            part.as_ref().is_none_or(|part| *part == stored.id.as_str())
        };
        assert!(stored.iter().zip(&self.input).all(same_part), "a part id went astray");

        let first = fixture.core.find("chat").unwrap().output.shape().first.get();
        let of_runs = fixture.records(OUT).into_iter().filter(|record| matches!(record.kind(), RecordKind::Data));
        let written = of_runs.map(|record| (record.seq_num.get(), in_words(&record)));
        let written: Vec<_> = written.filter(|(_, text)| text != "error" && text != "abort").collect();
        let want: Vec<_> = self.output.range(first..).map(|(seq, text)| (*seq, text.clone())).collect();
        assert_eq!(written, want, "`out` is not what was acknowledged");
    }
}
