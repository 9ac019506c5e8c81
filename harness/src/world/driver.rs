//! Tells a story: one step after the other, each until it has come true, then healing, then silence.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use turnkeep_client::PageEvent;

use super::person::{Command, Person};
use super::stage::{CHAT, Stage};
use super::tabs::person_of_tab;
use super::watch::Watch;
use crate::EPOCH;
use crate::outcome::{Violation, ViolationKind};
use crate::scenario::{
    Act, AnswerCall, Bfcache, Claim, Decide, DiskFails, ExpireToken, IoName, Scenario, SendUntil, Step,
};
use crate::trace::{Entry, Event};

/// Virtual milliseconds for hosts to boot before the story begins.
const BOOT_MS: u64 = 30;

/// Virtual milliseconds without news after which a world that owes nothing counts as settled.
const QUIET_MS: u64 = 1000;

/// How many of the newest entries a liveness report shows.
const LAST_WORDS: usize = 5;

/// The grain of a token's dates.
const SECOND_MS: u64 = 1000;

/// Virtual milliseconds that a button press, a page load or a stop may take.
const GESTURE_MS: u64 = 30_000;

/// Tells `scenario` on `stage`; gives what did not come true in time.
pub(super) fn tell(stage: &mut Stage<'_>, scenario: &Scenario) -> Result<Vec<Violation>, String> {
    let mut story = Story { stage, watch: Watch::default() };
    story.advance(BOOT_MS)?;
    let mut late = Vec::new();
    for (index, step) in scenario.steps.iter().enumerate() {
        let text = serde_json::to_value(step).expect("a step always serialises");
        story.stage.trace.log("world", Event::Step { index, step: text });
        if let Some(missed) = story.perform(step)? {
            late.push(story.lateness(index, &missed));
            break;
        }
    }
    // A button that was only pressed may have had nothing to act on, which shows when the story has gone on.
    let refused = story.stage.people.values().find_map(|person| person.refusal()).filter(|_| late.is_empty());
    late.extend(refused.map(|refused| story.lateness(scenario.steps.len().saturating_sub(1), &refused)));
    // A healed network is no secret: the browser tells the page.
    let back = story.stage.machines.offline();
    story.stage.machines.heal();
    for tab in story.stage.people.values().filter(|tab| back.contains(&tab.host) && tab.is_open()) {
        tab.ask(Command::Hear(PageEvent::Online));
    }
    if let Some(missed) = story.settle(scenario.settle_within_ms)? {
        late.push(missed);
    } else {
        story.stage.trace.log("world", Event::Settled);
    }
    story.curtain()?;
    Ok(late)
}

struct Story<'s, 'a> {
    stage: &'s mut Stage<'a>,
    watch: Watch,
}

impl Story<'_, '_> {
    fn tick(&mut self) -> Result<(), String> {
        self.stage.machines.tick()?;
        self.watch.catch_up(&self.stage.trace);
        Ok(())
    }

    fn advance(&mut self, ms: u64) -> Result<(), String> {
        let until = self.stage.trace.now() + ms;
        while self.stage.trace.now() < until {
            self.tick()?;
        }
        Ok(())
    }

    /// Waits for `holds`, at most `within_ms`; gives what was awaited when the time ran out.
    fn wait(&mut self, awaited: &str, within_ms: u64, holds: impl Fn(&Self) -> bool) -> Result<Option<String>, String> {
        let until = self.stage.trace.now() + within_ms;
        while !holds(self) {
            if self.stage.trace.now() >= until {
                return Ok(Some(format!("{awaited} did not come true within {within_ms} ms")));
            }
            self.tick()?;
        }
        Ok(None)
    }

    fn perform(&mut self, step: &Step) -> Result<Option<String>, String> {
        match step {
            Step::Send(send) => {
                let text = send.text.repeat(send.times);
                self.post(&send.client, Command::Send { text }, send.until)
            }
            Step::Claim(Claim { client, text }) => {
                let missed = self.post(client, Command::Send { text: text.clone() }, SendUntil::Pressed)?;
                if missed.is_some() {
                    return Ok(missed);
                }
                let (claims, all) = (client.clone(), self.stage.people.clone());
                let others = |tab: &&Arc<Person>| {
                    person_of_tab(&tab.name) == person_of_tab(&claims) && tab.name != claims && tab.is_open()
                };
                self.wait("the other tabs' hearing of it", GESTURE_MS, |_| {
                    all.values().filter(others).all(|tab| tab.is_read_only())
                })
            }
            Step::Regenerate(client) => self.post(&client.client, Command::Regenerate, SendUntil::Accepted),
            Step::Decide(Decide { client, approved, reason, until }) => {
                let (approved, reason) = (*approved, reason.clone());
                self.post(client, Command::Decide { approved, reason }, *until)
            }
            Step::Answer(AnswerCall { client, output }) => {
                self.post(client, Command::Answer { output: output.clone() }, SendUntil::Accepted)
            }
            Step::Act(Act { client, action, takes_away }) => {
                let act = Command::Act { action: action.clone(), takes_away: *takes_away };
                self.post(client, act, SendUntil::Accepted)
            }
            Step::Steer(steer) => {
                let person = self.person(&steer.client)?;
                let before = person.answered_steers.load(Ordering::Relaxed);
                person.ask(Command::Steer { text: steer.text.clone() });
                self.wait("the steering message's acknowledgement", GESTURE_MS, move |_| {
                    person.answered_steers.load(Ordering::Relaxed) > before
                })
            }
            Step::Stop(stop) => {
                let person = self.person(&stop.client)?;
                let before = person.answered_stops.load(Ordering::Relaxed);
                person.ask(Command::Stop);
                if stop.until == SendUntil::Pressed {
                    return self.advance(1).map(|()| None);
                }
                self.wait("the stop's acknowledgement", GESTURE_MS, move |_| {
                    person.answered_stops.load(Ordering::Relaxed) > before
                })
            }
            Step::CancelRun(client) => {
                let person = self.person(&client.client)?;
                let before = person.cancelled_runs.load(Ordering::Relaxed);
                person.ask(Command::CancelRun);
                let missed = self.wait("the run's cancelling", GESTURE_MS, |_| {
                    person.cancelled_runs.load(Ordering::Relaxed) > before || person.refusal().is_some()
                });
                Ok(person.refusal().or(missed?))
            }
            Step::Reload(client) => self.load(&client.client, Command::Reload),
            Step::OpenPage(client) => self.load(&client.client, Command::Open),
            Step::Watch(client) => self.load(&client.client, Command::Watch),
            Step::ClosePage(client) => self.end_page(&client.client, Command::Close),
            Step::CrashPage(client) => self.end_page(&client.client, Command::Crash),
            _ => self.perform_browser(step),
        }
    }

    /// Does what a person's browser does to her page without being asked by it.
    fn perform_browser(&mut self, step: &Step) -> Result<Option<String>, String> {
        match step {
            Step::GoOffline(client) => {
                self.stage.machines.go_offline(&client.client);
                Ok(None)
            }
            Step::GoOnline(client) => {
                self.stage.machines.go_online(&client.client);
                self.tell_device(&client.client, PageEvent::Online)
            }
            Step::Hide(client) => self.tell_page(&client.client, Command::Hear(PageEvent::Hidden)),
            Step::Show(client) => self.tell_page(&client.client, Command::Hear(PageEvent::Visible)),
            Step::Bfcache(Bfcache { client, away_ms }) => {
                self.stage.machines.go_offline(client);
                self.advance(*away_ms)?;
                self.stage.machines.go_online(client);
                self.tell_page(client, Command::Hear(PageEvent::PageShow { persisted: true }))
            }
            Step::Abort(client) => self.tell_page(&client.client, Command::Abort),
            Step::Dispose(client) => self.tell_page(&client.client, Command::Dispose),
            Step::LateToken(late) => self.tell_page(&late.client, Command::LateToken { after_ms: late.after_ms }),
            Step::ExpireToken(ExpireToken { client, for_good }) => {
                // A token is known by its text, and two of the same second have the same.
                self.advance(SECOND_MS - (EPOCH.as_millis() + self.stage.trace.now()) % SECOND_MS)?;
                self.tell_page(client, Command::ExpireToken { for_good: *for_good })
            }
            _ => self.perform_wait(step),
        }
    }

    /// Tells every page that the person has open, if any.
    fn tell_device(&mut self, client: &str, event: PageEvent) -> Result<Option<String>, String> {
        let tabs = self.stage.people.values().filter(|tab| tab.host == client && tab.is_open());
        let tabs: Vec<String> = tabs.map(|tab| tab.name.clone()).collect();
        for tab in tabs {
            if let Some(missed) = self.tell_page(&tab, Command::Hear(event))? {
                return Ok(Some(missed));
            }
        }
        Ok(None)
    }

    fn tell_page(&mut self, client: &str, command: Command) -> Result<Option<String>, String> {
        let person = self.person(client)?;
        let before = person.heard.load(Ordering::Relaxed);
        person.ask(command);
        let missed = self.wait("the page's hearing of it", GESTURE_MS, |_| {
            person.heard.load(Ordering::Relaxed) > before || person.refusal().is_some()
        });
        Ok(person.refusal().or(missed?))
    }

    fn end_page(&mut self, client: &str, command: Command) -> Result<Option<String>, String> {
        let person = self.person(client)?;
        person.ask(command);
        self.wait("the page's end", GESTURE_MS, move |_| !person.open.load(Ordering::Relaxed))
    }

    /// Lets a person's page send something.
    fn post(&mut self, client: &str, command: Command, until: SendUntil) -> Result<Option<String>, String> {
        let person = self.person(client)?;
        let before = person.accepted_sends.load(Ordering::Relaxed);
        person.shown.store(0, Ordering::Relaxed);
        person.ask(command);
        let missed = match until {
            SendUntil::Pressed => self.advance(1).map(|()| None),
            SendUntil::Accepted => self.wait("the send's acknowledgement", GESTURE_MS, |_| {
                person.accepted_sends.load(Ordering::Relaxed) > before || person.refusal().is_some()
            }),
        };
        // Whatever came of it else: the story asks for what is not there.
        Ok(person.refusal().or(missed?))
    }

    fn load(&mut self, client: &str, command: Command) -> Result<Option<String>, String> {
        let person = self.person(client)?;
        let before = person.loads.load(Ordering::Relaxed);
        person.ask(command);
        self.wait("the page's load", GESTURE_MS, move |_| person.loads.load(Ordering::Relaxed) > before)
    }

    fn perform_wait(&mut self, step: &Step) -> Result<Option<String>, String> {
        match step {
            Step::WaitChunks(wait) => {
                let person = self.person(&wait.client)?;
                let count = wait.count;
                let awaited = format!("{count} chunks for {}", wait.client);
                self.wait(&awaited, wait.within_ms, move |_| person.shown.load(Ordering::Relaxed) >= count)
            }
            Step::WaitAnswer(wait) => {
                let person = self.person(&wait.client)?;
                let awaited = format!("a quiet page for {}", wait.client);
                self.wait(&awaited, wait.within_ms, move |_| !person.is_busy())
            }
            Step::WaitReadOnly(wait) => {
                let (person, read_only) = (self.person(&wait.client)?, wait.read_only);
                let awaited = format!(
                    "{} for {}",
                    if read_only { "a read-only page" } else { "a page that may send" },
                    wait.client
                );
                self.wait(&awaited, wait.within_ms, move |_| person.is_read_only() == read_only)
            }
            Step::WaitStreams(wait) => {
                let awaited = format!("{} streams to {}", wait.count, wait.client);
                let (who, count) = (wait.client.as_str(), wait.count);
                self.wait(&awaited, wait.within_ms, move |story| story.stage.machines.streams("session", who) == count)
            }
            Step::WaitStored(wait) => {
                let awaited = format!("{} records on `{}`", wait.count, io_name(wait.channel));
                let (channel, count) = (wait.channel, wait.count);
                self.wait(&awaited, wait.within_ms, move |story| match channel {
                    IoName::In => story.watch.in_tail(&story.chat()) >= count,
                    IoName::Out => story.watch.out_tail(&story.chat()) >= count,
                })
            }
            Step::WaitApp(wait) => {
                let awaited = format!("{} messages in the author's database", wait.messages);
                let messages = wait.messages;
                self.wait(&awaited, wait.within_ms, move |story| story.watch.app_messages(CHAT) >= messages)
            }
            Step::Wipe(_) => {
                self.stage.replace_backend();
                self.watch.forget();
                Ok(None)
            }
            Step::AdvanceMs(ms) => self.advance(*ms).map(|()| None),
            _ => {
                self.fault(step);
                Ok(None)
            }
        }
    }

    fn fault(&mut self, step: &Step) {
        let machines = &mut self.stage.machines;
        match step {
            Step::Hold(ends) => machines.hold(&ends.0, &ends.1),
            Step::Release(ends) => machines.release(&ends.0, &ends.1),
            Step::Partition(ends) => machines.partition(&ends.0, &ends.1),
            Step::Repair(ends) => machines.repair(&ends.0, &ends.1),
            Step::Slow(slow) => machines.slow(&slow.between.0, &slow.between.1, slow.ms),
            Step::Cut(cut) => machines.cut(&cut.client, &cut.from, cut.after_bytes),
            Step::Dribble(dribble) => machines.dribble(&dribble.client, &dribble.from, dribble.bytes),
            Step::DiskFails(DiskFails { host, how }) => machines.disk_fails(host, how.fault(), how.told()),
            Step::DiskMends(host) => machines.disk_mends(host),
            Step::Crash(host) => machines.crash(host),
            Step::PowerLoss(host) => machines.power_loss(host),
            Step::Restart(host) => machines.restart(host),
            _ => unreachable!("every other verb is a gesture or a wait"),
        }
    }

    /// Waits until nothing is owed, no page is busy, and nothing has happened for a while.
    fn settle(&mut self, within_ms: u64) -> Result<Option<Violation>, String> {
        let from = self.stage.trace.now();
        let quiet = |story: &Self| {
            let now = story.stage.trace.now();
            story.unsettled().is_none() && now.saturating_sub(story.watch.last_news_ms.max(from)) >= QUIET_MS
        };
        let missed = self.wait("the world's silence", within_ms, quiet)?;
        Ok(missed.map(|missed| {
            let reason = self.unsettled().unwrap_or_else(|| "something still happens".to_owned());
            let busy = self.stage.people.values().find(|person| person.is_busy());
            let whom = busy.map(|person| person.name.clone()).or_else(|| self.watch.debtor());
            self.violation("settles", format!("after healing, {missed}: {reason}"), whom)
        }))
    }

    fn unsettled(&self) -> Option<String> {
        let busy = self.stage.people.values().find(|person| person.is_busy());
        let locked = || self.stage.people.values().find(|person| person.is_open() && person.is_read_only());
        let busy = busy.map(|person| format!("the page of {} is busy", person.name));
        busy.or_else(|| locked().map(|person| format!("the page of {} is read-only", person.name)))
            .or_else(|| self.watch.owed())
    }

    fn lateness(&self, index: usize, missed: &str) -> Violation {
        let client = self.stage.scenario_client(index);
        self.violation("story", format!("step {index}: {missed}"), client)
    }

    /// Reports that something did not happen, to whom, with the newest entries that concern them.
    fn violation(&self, check: &str, what: String, whom: Option<String>) -> Violation {
        let entries = self.stage.trace.scan(0, |entries| {
            let concerns = |entry: &&Entry| {
                let told = !matches!(entry.event, Event::Net { .. } | Event::Step { .. } | Event::Notice { .. });
                told && whom.as_ref().is_none_or(|whom| entry.host == person_of_tab(whom) || entry.host == "session")
            };
            let newest = entries.iter().rev().filter(concerns).take(LAST_WORDS);
            let mut newest: Vec<usize> = newest.map(|entry| entry.n).collect();
            newest.reverse();
            newest
        });
        Violation {
            check: check.to_owned(),
            kind: ViolationKind::Liveness,
            what,
            whom: whom.unwrap_or_else(|| "world".to_owned()),
            seq_num: None,
            at_ms: self.stage.trace.now(),
            entries,
        }
    }

    /// Notes what every page shows and what is left of the script, and ends every host.
    fn curtain(&mut self) -> Result<(), String> {
        let people: Vec<_> = self.stage.people.values().cloned().collect();
        for person in people {
            person.show();
        }
        for step in self.stage.model.unused() {
            let text = format!("no model call used the script's step {}", serde_json::json!(step));
            self.stage.trace.log("world", Event::ScriptComplaint { text });
        }
        for text in self.stage.model.complaints() {
            self.stage.trace.log("world", Event::ScriptComplaint { text });
        }
        self.stage.machines.shut_down();
        Ok(())
    }

    /// Names the chat as the trace does.
    fn chat(&self) -> String {
        self.stage.backend.name(CHAT)
    }

    fn person(&self, name: &str) -> Result<std::sync::Arc<Person>, String> {
        self.stage.people.get(name).cloned().ok_or_else(|| format!("nobody is called {name}"))
    }
}

fn io_name(channel: IoName) -> &'static str {
    match channel {
        IoName::In => "in",
        IoName::Out => "out",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use turnkeep_agent::{Agent, TurnInput};

    use crate::outcome::ViolationKind;
    use crate::run;
    use crate::scenario::parse;
    use crate::world::Cast;

    /// Plays a story of an agent without tools; gives what did not come true.
    fn played(steps: &str) -> Vec<(ViolationKind, String)> {
        let text = format!(
            r#"{{ "why": "w", "agent": "plain", "model": [{{ "parts": [{{ "say": "Hi." }}] }}], "steps": [{steps}], "expect": [] }}"#
        );
        let cast: Cast = Arc::new(|_, backstage| {
            let agent = Agent::new("plain", |turn: TurnInput| async move { Ok(turn.stream_text()) });
            Some(agent.idle_timeout(backstage.idle_timeout).turn_timeout(backstage.turn_timeout))
        });
        let outcome = run(&parse("plain", &text).unwrap(), 1, &cast);
        outcome.violations.into_iter().map(|violation| (violation.kind, violation.what)).collect()
    }

    #[test]
    fn a_token_that_is_not_there_cannot_expire() {
        let expires = r#"{ "expire_token": { "client": "alice" } }"#;

        let want = (ViolationKind::Liveness, "step 0: alice#1 has no token that could expire".to_owned());
        assert!(played(expires).contains(&want), "{:?}", played(expires));
    }

    #[test]
    fn a_person_who_is_asked_to_answer_what_nobody_has_asked_fails_the_step() {
        let asked = r#"{ "send": { "client": "alice", "text": "Hello" } }, { "wait_answer": { "client": "alice" } }"#;
        let decide =
            |until| format!(r#"{{ "decide": {{ "client": "alice", "approved": true, "until": "{until}" }} }}"#);
        let answer = r#"{ "answer": { "client": "alice", "output": 1 } }"#;

        for (steps, want) in [
            (asked.to_owned(), None),
            (format!("{asked}, {}", decide("accepted")), Some("step 2: on alice#1 no call waits for a decision")),
            (format!("{asked}, {}", decide("pressed")), Some("step 2: on alice#1 no call waits for a decision")),
            (format!("{asked}, {answer}"), Some("step 2: on alice#1 no call waits for an answer")),
        ] {
            let want: Vec<_> = want.into_iter().map(|want| (ViolationKind::Liveness, want.to_owned())).collect();
            assert_eq!(played(&steps), want, "{steps}");
        }
    }
}
