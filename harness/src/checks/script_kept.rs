//! `script-kept`: the model is called exactly as the story's script says: no call that the script has no step for, and no step left
//! over at the end.

use super::story::{Story, broken};
use crate::outcome::Violation;
use crate::trace::Event;

pub(super) const NAME: &str = "script-kept";

pub(super) fn check(story: &Story<'_>) -> Vec<Violation> {
    let complaints = story.entries.iter().filter_map(|entry| match &entry.event {
        Event::ScriptComplaint { text } => Some(broken(NAME, "model", entry, text.clone())),
        _ => None,
    });
    complaints.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checks::tale::{Tale, judge};

    #[test]
    fn every_complaint_of_the_script_is_passed_on() {
        let text = "no model call used the script's step 2".to_owned();
        let tale = Tale::new().log("world", Event::ScriptComplaint { text: text.clone() });

        assert_eq!(judge(check, &tale), [text]);
        assert_eq!(judge(check, &Tale::new()), [""; 0]);
    }
}
