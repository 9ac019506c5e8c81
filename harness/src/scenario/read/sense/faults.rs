//! Faults that would do nothing: a story that says them means something else.

use std::collections::BTreeSet;

use super::Complaint;
use crate::document::Segment;
use crate::scenario::{LinkEnds, Step};

/// Whose disk a story may break: the session server's, and that of the machine with its objects.
pub(super) const WITH_DISKS: [&str; 2] = ["session", "objects"];

/// A link, its ends in order.
type Link<'a> = (&'a str, &'a str);

/// Which hosts and links a story has broken so far. Links that a power loss cuts are the restart's to mend, so they are not
/// among them.
#[derive(Default)]
struct Broken<'a> {
    down: BTreeSet<&'a str>,
    held: BTreeSet<Link<'a>>,
    parted: BTreeSet<Link<'a>>,
    failing: BTreeSet<&'a str>,
    offline: BTreeSet<&'a str>,
    wiped: BTreeSet<&'a str>,
}

/// Says which fault is the first that does nothing.
pub(super) fn check(steps: &[Step]) -> Result<(), Complaint> {
    let mut broken = Broken::default();
    for (index, step) in steps.iter().enumerate() {
        if let Err((verb, message)) = broken.take(step) {
            let path: [Segment; 3] = ["steps".into(), index.into(), verb.into()];
            return Err(Complaint::new(path, message));
        }
    }
    Ok(())
}

impl<'a> Broken<'a> {
    /// Takes a step in; gives its verb and why it does nothing.
    fn take(&mut self, step: &'a Step) -> Result<(), (&'static str, String)> {
        let (verb, changes, why_not) = match step {
            Step::DiskFails(fails) => (
                "disk_fails",
                self.failing.insert(&fails.host),
                format!("the disk of `{}` fails already here", fails.host),
            ),
            Step::DiskMends(host) => {
                let works = format!("the disk of `{host}` works here");
                ("disk_mends", self.failing.remove(host.as_str()), works)
            }
            Step::Crash(host) => ("crash", self.down.insert(host), already_down(host)),
            Step::PowerLoss(host) => ("power_loss", self.down.insert(host), already_down(host)),
            Step::GoOffline(who) => {
                ("go_offline", self.offline.insert(&who.client), format!("`{}` is already offline here", who.client))
            }
            Step::GoOnline(who) => {
                let online = format!("`{}` is online here", who.client);
                ("go_online", self.offline.remove(who.client.as_str()), online)
            }
            Step::Bfcache(away) if self.offline.contains(away.client.as_str()) => {
                ("bfcache", false, format!("`{}` is offline here", away.client))
            }
            Step::Wipe(host) if !self.down.contains(host.as_str()) => ("wipe", false, format!("`{host}` is up here")),
            Step::Wipe(host) => ("wipe", self.wiped.insert(host), format!("`{host}` is empty already here")),
            Step::Restart(host) => {
                self.wiped.remove(host.as_str());
                ("restart", self.down.remove(host.as_str()), format!("`{host}` is up here"))
            }
            Step::Hold(ends) => ("hold", self.held.insert(link(ends)), among(ends, "are already on hold here")),
            Step::Release(ends) => ("release", self.held.remove(&link(ends)), among(ends, "are not on hold here")),
            Step::Partition(ends) => {
                ("partition", self.parted.insert(link(ends)), among(ends, "are already apart here"))
            }
            Step::Repair(ends) => ("repair", self.parted.remove(&link(ends)), among(ends, "are not apart here")),
            _ => return Ok(()),
        };
        if changes { Ok(()) } else { Err((verb, format!("{why_not}: `{verb}` would do nothing"))) }
    }
}

fn already_down(host: &str) -> String {
    format!("`{host}` is already down here")
}

fn among(LinkEnds(one, other): &LinkEnds, how: &str) -> String {
    format!("`{one}` and `{other}` {how}")
}

fn link(LinkEnds(one, other): &LinkEnds) -> Link<'_> {
    if one < other { (one, other) } else { (other, one) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_steps(steps: &serde_json::Value, want: Result<(), &str>) {
        let steps: Vec<Step> = serde_json::from_value(steps.clone()).unwrap();

        let got = check(&steps).map_err(|complaint| complaint.message);

        assert_eq!(got, want.map_err(str::to_owned));
    }

    #[test]
    fn faults_that_do_something_may_come_in_any_order() {
        check_steps(
            &json!([
                { "crash": "a" }, { "restart": "a" }, { "power_loss": "a" }, { "restart": "a" },
                { "hold": ["a", "b"] }, { "release": ["b", "a"] }, { "hold": ["a", "b"] },
                { "partition": ["b", "c"] }, { "repair": ["c", "b"] }, { "partition": ["a", "c"] },
            ]),
            Ok(()),
        );
        // A partition of the story's own outlives a restart; only the power loss's are mended by it.
        check_steps(
            &json!([{ "partition": ["a", "b"] }, { "power_loss": "a" }, { "restart": "a" }, { "repair": ["a", "b"] }]),
            Ok(()),
        );
    }

    #[test]
    fn a_host_that_is_up_cannot_be_restarted_nor_a_dead_one_killed() {
        check_steps(&json!([{ "restart": "a" }]), Err("`a` is up here: `restart` would do nothing"));
        check_steps(&json!([{ "crash": "b" }, { "restart": "a" }]), Err("`a` is up here: `restart` would do nothing"));
        for first in ["crash", "power_loss"] {
            for second in ["crash", "power_loss"] {
                let want = format!("`a` is already down here: `{second}` would do nothing");
                check_steps(&json!([{ first: "a" }, { second: "a" }]), Err(&want));
            }
        }
    }

    #[test]
    fn a_host_that_is_down_is_wiped_once() {
        let down_and_wiped = json!([{ "crash": "session" }, { "wipe": "session" }, { "restart": "session" }]);

        check_steps(&down_and_wiped, Ok(()));
        check_steps(&json!([{ "wipe": "session" }]), Err("`session` is up here: `wipe` would do nothing"));
        let twice = "`session` is empty already here: `wipe` would do nothing";
        check_steps(&json!([{ "crash": "session" }, { "wipe": "session" }, { "wipe": "session" }]), Err(twice));
    }

    #[test]
    fn a_disk_is_mended_after_it_failed() {
        let fails = |host: &str| json!({ "disk_fails": { "host": host, "how": "full" } });
        let (session, mends) = (fails("session"), json!({ "disk_mends": "session" }));

        check_steps(&json!([session, mends, session]), Ok(()));
        let twice = "the disk of `session` fails already here: `disk_fails` would do nothing";
        check_steps(&json!([session, session]), Err(twice));
        check_steps(&json!([mends]), Err("the disk of `session` works here: `disk_mends` would do nothing"));
        check_steps(&json!([session, fails("objects"), mends]), Ok(()));
    }

    #[test]
    fn a_person_is_online_again_after_she_was_offline() {
        let [off, on] = ["go_offline", "go_online"].map(|verb| json!({ verb: { "client": "alice" } }));

        check_steps(&json!([off, on, off]), Ok(()));
        check_steps(&json!([off, off]), Err("`alice` is already offline here: `go_offline` would do nothing"));
        check_steps(&json!([on]), Err("`alice` is online here: `go_online` would do nothing"));
        let away = json!({ "bfcache": { "client": "alice", "away_ms": 1 } });
        check_steps(&json!([off, away]), Err("`alice` is offline here: `bfcache` would do nothing"));
        check_steps(&json!([off, on, away]), Ok(()));
    }

    #[test]
    fn a_link_is_mended_after_it_was_broken_in_that_way() {
        let release = "`a` and `b` are not on hold here: `release` would do nothing";
        check_steps(&json!([{ "release": ["a", "b"] }]), Err(release));
        check_steps(&json!([{ "partition": ["a", "b"] }, { "release": ["a", "b"] }]), Err(release));
        let repair = "`a` and `b` are not apart here: `repair` would do nothing";
        check_steps(&json!([{ "repair": ["a", "b"] }]), Err(repair));
        check_steps(&json!([{ "power_loss": "a" }, { "repair": ["a", "b"] }]), Err(repair));
        let twice = "`b` and `a` are already apart here: `partition` would do nothing";
        check_steps(&json!([{ "partition": ["a", "b"] }, { "partition": ["b", "a"] }]), Err(twice));
    }
}
