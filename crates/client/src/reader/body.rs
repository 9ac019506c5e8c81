//! [`BodyDecoder`]: the decoder of a subscription without its connections.

use turnkeep_protocol::SeqNum;

use super::Part;
use super::decode::Decoder;
use crate::Error;

/// Decodes the bytes of a session stream's body as a [`Reader`](crate::Reader) does: batches to parts, each part id once (C-26…C-34).
///
/// It is for code that measures or attacks the decoder; programs that read a session use a `Reader`. Its memory does not grow with
/// what it has decoded: it remembers the last 5,000 part ids and at most one unfinished frame of 16 MiB.
#[derive(Debug)]
pub struct BodyDecoder(Decoder);

impl BodyDecoder {
    /// Begins behind `cursor`, or at the stream's beginning.
    pub fn new(cursor: Option<SeqNum>) -> Self {
        Self(Decoder::new(cursor))
    }

    /// Takes the next bytes and gives the parts that they complete.
    ///
    /// # Errors
    ///
    /// [`Error::BadResponse`] when a frame is too large; [`Error::StreamBroken`] when the server ends the stream with an `error` event
    /// (RC-18), which drops what those bytes had brought before it.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<Part>, Error> {
        let decoded = self.0.push(bytes, 0)?;
        match decoded.broken {
            Some(message) => Err(Error::StreamBroken { message }),
            None => Ok(decoded.parts),
        }
    }

    /// Gives the seq_num of the last decoded record (C-32).
    pub fn cursor(&self) -> Option<SeqNum> {
        self.0.cursor()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_gives_the_parts_of_a_body_however_it_is_cut_and_tells_of_a_broken_one_c26_c32() {
        let body = concat!(
            "event: batch\ndata: {\"records\":[{\"body\":\"{\\\"data\\\":{\\\"type\\\":\\\"finish\\\"},\\\"id\\\":\\\"a\\\"}\",",
            "\"seq_num\":4,\"timestamp\":9}]}\n\n"
        );
        for cut in 0..body.len() {
            let mut decoder = BodyDecoder::new(Some(SeqNum::new(3)));
            let (one, other) = body.as_bytes().split_at(cut);

            let parts = [decoder.push(one).unwrap(), decoder.push(other).unwrap()].concat();

            assert_eq!(
                (parts.len(), parts[0].seq_num.get(), decoder.cursor().map(SeqNum::get)),
                (1, 4, Some(4)),
                "{cut}"
            );
        }
        let broken = BodyDecoder::new(None).push(b"event: error\ndata: gone\n\n");
        assert!(matches!(broken, Err(Error::StreamBroken { message }) if message == "gone"));
    }
}
