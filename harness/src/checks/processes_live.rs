//! `processes-live`: no server and no worker gives up by itself.
//!
//! Exactly: nothing that serves or works ever returns from its own `run` or `serve` with an error. A story may kill a process; then
//! it does not speak.

use super::story::{Story, broken};
use crate::outcome::{Violation, ViolationKind};
use crate::trace::Event;

pub(super) const NAME: &str = "processes-live";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let failures = story.entries.iter().filter_map(|entry| match &entry.event {
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
}
