//! `processes-live`: no server and no worker gives up by itself.
//!
//! Exactly: nothing that serves or works ever returns from its own `run` or `serve` with an error. A story may kill a process; then
//! it does not speak. A server whose disk the story lets fail is excused as long as that lasts: giving up is what it must do.

use std::collections::BTreeSet;

use serde_json::Value;

use super::story::{Story, broken};
use crate::outcome::{Violation, ViolationKind};
use crate::trace::Event;

pub(super) const NAME: &str = "processes-live";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let mut failing = BTreeSet::new();
    let failures = story.entries.iter().filter_map(|entry| match &entry.event {
        Event::Step { step, .. } => {
            failing.extend(step.get("disk_fails").and_then(|fails| fails.get("host")).and_then(Value::as_str));
            step.get("disk_mends").and_then(Value::as_str).map(|host| failing.remove(host));
            None
        }
        Event::Heal => {
            failing.clear();
            None
        }
        Event::ServerFailed { .. } if failing.contains(entry.host.as_str()) => None,
        Event::ServerFailed { error } => {
            let violation = broken(NAME, &entry.host, entry, format!("{} gave up: {error}", entry.host));
            Some(Violation { kind: ViolationKind::Unforeseen, ..violation })
        }
        _ => None,
    });
    failures.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::checks::tale::{Tale, judge, scenario};

    #[test]
    fn a_process_that_gives_up_is_our_own_failure() {
        let tale = Tale::good().log("worker-1", Event::ServerFailed { error: "no agent".to_owned() });

        assert_eq!(judge(check, &Tale::good()), [""; 0]);
        assert_eq!(judge(check, &tale), ["worker-1 gave up: no agent"]);
        let found = check(&Story::new(&scenario(), &tale.entries));
        assert_eq!(found[0].kind, ViolationKind::Unforeseen);
    }

    #[test]
    fn a_server_may_give_up_while_its_disk_fails_and_not_before_or_after() {
        let gives_up = |tale: Tale| tale.log("session", Event::ServerFailed { error: "disk".to_owned() });
        let step = |tale: Tale, step| tale.log("world", Event::Step { index: 0, step });
        let fails = json!({ "disk_fails": { "host": "session", "how": "full" } });
        let failing = step(Tale::good(), fails);
        let mended = step(failing.clone(), json!({ "disk_mends": "session" }));

        assert_eq!(judge(check, &gives_up(failing.clone())), [""; 0]);
        for tale in [gives_up(mended), gives_up(failing.log("world", Event::Heal))] {
            assert_eq!(judge(check, &tale), ["session gave up: disk"]);
        }
    }
}
