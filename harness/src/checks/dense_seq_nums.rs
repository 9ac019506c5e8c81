//! `dense-seq-nums`: the records of one channel of one session have the seq_nums 0, 1, 2, …, each once, in the order in which they
//! became durable, whatever happens to the server in between (S-54, I3).

use std::collections::BTreeMap;

use super::story::{Story, broken_at};
use crate::outcome::Violation;

pub(super) const NAME: &str = "dense-seq-nums";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut tails = BTreeMap::new();
    let mut violations = Vec::new();
    for stored in story.records() {
        let tail = tails.entry((stored.session, stored.channel)).or_insert(0);
        let seq = stored.seq();
        if seq != *tail {
            let what = format!("`{}` got seq_num {seq} where {tail} comes next", stored.channel);
            violations.push(broken_at(NAME, stored.session, stored.entry, seq, what));
        }
        *tail = seq + 1;
    }
    violations
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::ChannelName;

    use super::*;
    use crate::checks::tale::{Tale, judge};

    #[test]
    fn both_channels_count_for_themselves_s54() {
        let tale = Tale::new().ask("alice-1", "Hi").stop().say("a1", &["Hello"]).boundary(1).ask("alice-2", "Bye");

        assert_eq!(judge(check, &tale), [""; 0]);
    }

    #[test]
    fn a_hole_a_repeat_and_a_false_start_are_seen() {
        let hole = Tale::new().stop().at_seq(ChannelName::In, 2).stop();
        let repeat = Tale::new().stop().at_seq(ChannelName::In, 0).stop();
        let false_start = Tale::new().at_seq(ChannelName::Out, 1).boundary(0);

        assert_eq!(judge(check, &hole), ["`in` got seq_num 2 where 1 comes next"]);
        assert_eq!(judge(check, &repeat), ["`in` got seq_num 0 where 1 comes next"]);
        assert_eq!(judge(check, &false_start), ["`out` got seq_num 1 where 0 comes next"]);
    }
}
