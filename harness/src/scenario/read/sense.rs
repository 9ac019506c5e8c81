//! Whether a well-formed story makes sense: the people, hosts and counts it names exist.

mod faults;
mod numbers;
mod pages;
mod vocabulary;

use std::collections::BTreeSet;

use crate::document::Segment;
use crate::scenario::{Cut, Dribble, Expectation, LinkEnds, Scenario, Step};

pub use vocabulary::Vocabulary;

/// What makes no sense, and where.
pub(super) struct Complaint {
    pub path: Vec<Segment>,
    pub message: String,
    pub word: String,
    pub allowed: Vec<String>,
}

impl Complaint {
    fn new(path: impl IntoIterator<Item = Segment>, message: impl Into<String>) -> Self {
        Self { path: path.into_iter().collect(), message: message.into(), word: String::new(), allowed: Vec::new() }
    }
}

/// A name that a story uses, and what it must be the name of.
struct Mention<'a> {
    path: Vec<Segment>,
    name: &'a str,
    role: Role,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A person in one of her tabs.
    Tab,
    /// A person with all that she has open.
    Person,
    Host,
    Disk,
    Backend,
}

/// Says what is first found to make no sense; without a vocabulary every agent and check may be meant.
pub(super) fn check(scenario: &Scenario, vocabulary: Option<&Vocabulary<'_>>) -> Result<(), Complaint> {
    // First of all, since what follows counts up to these numbers.
    numbers::check(scenario)?;
    check_setting(scenario)?;
    vocabulary.map_or(Ok(()), |vocabulary| vocabulary::check(scenario, vocabulary))?;
    check_people(scenario)?;
    if scenario.steps.is_empty() {
        return Err(Complaint::new(["steps".into()], "a story has at least one step"));
    }
    for (index, step) in scenario.steps.iter().enumerate() {
        check_step(scenario, step).map_err(|complaint| under(["steps".into(), index.into()], complaint))?;
    }
    faults::check(&scenario.steps)?;
    pages::check(scenario)?;
    for (index, expectation) in scenario.expect.iter().enumerate() {
        let at = |verb: &str| vec!["expect".into(), index.into(), verb.into(), "client".into()];
        let mention = match expectation {
            Expectation::Answers { client, .. } => Mention { path: at("answers"), name: client, role: Role::Tab },
            Expectation::Failed { client, .. } => Mention { path: at("failed"), name: client, role: Role::Tab },
            Expectation::Refused { client, .. } => Mention { path: at("refused"), name: client, role: Role::Tab },
            Expectation::ShownAfterLoad { client, .. } => {
                Mention { path: at("shown_after_load"), name: client, role: Role::Tab }
            }
            _ => continue,
        };
        check_mention(scenario, mention)?;
    }
    Ok(())
}

fn under(prefix: impl IntoIterator<Item = Segment>, mut complaint: Complaint) -> Complaint {
    complaint.path = prefix.into_iter().chain(complaint.path).collect();
    complaint
}

fn check_setting(scenario: &Scenario) -> Result<(), Complaint> {
    if scenario.why.trim().is_empty() {
        return Err(Complaint::new(["why".into()], "a story says in one sentence what it shows"));
    }
    let [least, most] = scenario.latency_ms;
    if least > most {
        let message = format!("the least latency {least} is above the most {most}");
        return Err(Complaint::new(["latency_ms".into()], message));
    }
    if scenario.lease_ms < 4 {
        return Err(Complaint::new(
            ["lease_ms".into()],
            "a lease lasts at least 4 ms: it is renewed four times in one",
        ));
    }
    Ok(())
}

fn check_people(scenario: &Scenario) -> Result<(), Complaint> {
    if scenario.people.is_empty() {
        return Err(Complaint::new(["people".into()], "a story has at least one person"));
    }
    let mut seen = BTreeSet::new();
    for (index, person) in scenario.people.iter().enumerate() {
        let at = ["people".into(), index.into()];
        if !seen.insert(person) {
            return Err(Complaint::new(at, format!("`{person}` is here twice")));
        }
        if person == "world"
            || person.starts_with("worker-")
            || ["session", "app", "objects"].contains(&person.as_str())
        {
            return Err(Complaint::new(at, format!("`{person}` is the name of a host")));
        }
        if person.is_empty() || !person.chars().all(is_plain) {
            return Err(Complaint::new(at, "a person's name is a host's name: `a-z`, `0-9` and `-`"));
        }
    }
    for (index, program) in scenario.programs.iter().enumerate() {
        let path = vec!["programs".into(), index.into()];
        check_mention(scenario, Mention { path, name: program, role: Role::Person })?;
    }
    Ok(())
}

fn check_step(scenario: &Scenario, step: &Step) -> Result<(), Complaint> {
    for mention in mentions(step) {
        check_mention(scenario, mention)?;
    }
    match step {
        Step::Dribble(Dribble { bytes: 0, .. }) => Err(Complaint::new(
            ["dribble".into(), "bytes".into()],
            "a read of 0 bytes is the end of a stream: at least 1",
        )),
        Step::Hold(ends) => check_ends("hold", ends),
        Step::Release(ends) => check_ends("release", ends),
        Step::Partition(ends) => check_ends("partition", ends),
        Step::Repair(ends) => check_ends("repair", ends),
        Step::Slow(slow) => check_ends("slow", &slow.between),
        Step::Cut(Cut { client, from, .. }) => check_ends("cut", &LinkEnds(client.clone(), from.clone())),
        Step::Dribble(Dribble { client, from, .. }) => check_ends("dribble", &LinkEnds(client.clone(), from.clone())),
        _ => Ok(()),
    }
}

fn check_ends(verb: &str, LinkEnds(one, other): &LinkEnds) -> Result<(), Complaint> {
    if one == other {
        return Err(Complaint::new([verb.into()], format!("`{one}` has no link to itself")));
    }
    Ok(())
}

fn check_mention(scenario: &Scenario, mention: Mention<'_>) -> Result<(), Complaint> {
    let name = match mention.role {
        Role::Tab => check_tab(&mention)?,
        _ => mention.name,
    };
    let (what, allowed) = match mention.role {
        Role::Tab | Role::Person => ("person", scenario.people.clone()),
        Role::Host => ("host", hosts(scenario)),
        Role::Backend => ("backend", vec!["session".to_owned()]),
        Role::Disk => ("disk of", faults::WITH_DISKS.map(str::to_owned).to_vec()),
    };
    if allowed.iter().any(|word| word == name) {
        return Ok(());
    }
    let message = format!("there is no {what} `{name}` in this story");
    Err(Complaint { path: mention.path, message, word: name.to_owned(), allowed })
}

/// Gives the person whose tab is meant: a further tab has a name of its own behind a slash.
fn check_tab<'a>(mention: &Mention<'a>) -> Result<&'a str, Complaint> {
    let Some((person, tab)) = mention.name.split_once('/') else { return Ok(mention.name) };
    if tab.is_empty() || !tab.chars().all(is_plain) {
        return Err(Complaint::new(mention.path.clone(), "a tab's name is made of `a-z`, `0-9` and `-`"));
    }
    Ok(person)
}

fn is_plain(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

fn hosts(scenario: &Scenario) -> Vec<String> {
    let fixed = ["session", "app"].into_iter().map(str::to_owned);
    let workers = (1..=scenario.workers).map(|n| format!("worker-{n}"));
    fixed.chain(workers).chain(scenario.people.iter().cloned()).collect()
}

/// Lists the people and hosts that a step names.
fn mentions(step: &Step) -> Vec<Mention<'_>> {
    match step {
        Step::Send(send) => vec![person("send", &send.client)],
        Step::Claim(claim) => vec![person("claim", &claim.client)],
        Step::Steer(steer) => vec![person("steer", &steer.client)],
        Step::Regenerate(who) => vec![person("regenerate", &who.client)],
        Step::Decide(decide) => vec![person("decide", &decide.client)],
        Step::Answer(answer) => vec![person("answer", &answer.client)],
        Step::Act(act) => vec![person("act", &act.client)],
        Step::Stop(who) => vec![person("stop", &who.client)],
        Step::Abort(who) => vec![person("abort", &who.client)],
        Step::Dispose(who) => vec![person("dispose", &who.client)],
        Step::CancelRun(who) => vec![whole("cancel_run", &who.client)],
        Step::Reload(who) => vec![person("reload", &who.client)],
        Step::ClosePage(who) => vec![person("close_page", &who.client)],
        Step::OpenPage(who) => vec![person("open_page", &who.client)],
        Step::CrashPage(who) => vec![person("crash_page", &who.client)],
        Step::Watch(who) => vec![person("watch", &who.client)],
        Step::GoOffline(who) => vec![whole("go_offline", &who.client)],
        Step::GoOnline(who) => vec![whole("go_online", &who.client)],
        Step::Hide(who) => vec![person("hide", &who.client)],
        Step::Show(who) => vec![person("show", &who.client)],
        Step::Bfcache(away) => vec![whole("bfcache", &away.client)],
        Step::ExpireToken(who) => vec![person("expire_token", &who.client)],
        Step::LateToken(late) => vec![person("late_token", &late.client)],
        Step::WaitChunks(wait) => vec![person("wait_chunks", &wait.client)],
        Step::WaitAnswer(wait) => vec![person("wait_answer", &wait.client)],
        Step::WaitReadOnly(wait) => vec![person("wait_read_only", &wait.client)],
        Step::WaitStreams(wait) => vec![whole("wait_streams", &wait.client)],
        Step::WaitStored(_) | Step::WaitApp(_) | Step::AdvanceMs(_) => Vec::new(),
        Step::Hold(ends) => link(vec!["hold".into()], ends),
        Step::Release(ends) => link(vec!["release".into()], ends),
        Step::Partition(ends) => link(vec!["partition".into()], ends),
        Step::Repair(ends) => link(vec!["repair".into()], ends),
        Step::Slow(slow) => link(vec!["slow".into(), "between".into()], &slow.between),
        Step::Cut(cut) => vec![host(["cut", "client"], &cut.client), host(["cut", "from"], &cut.from)],
        Step::Dribble(dribble) => {
            vec![host(["dribble", "client"], &dribble.client), host(["dribble", "from"], &dribble.from)]
        }
        Step::DiskFails(fails) => vec![disk(["disk_fails", "host"], &fails.host)],
        Step::DiskMends(name) => vec![disk(["disk_mends"], name)],
        Step::Crash(name) => vec![host(["crash"], name)],
        Step::PowerLoss(name) => vec![host(["power_loss"], name)],
        Step::Wipe(name) => vec![Mention { role: Role::Backend, ..host(["wipe"], name) }],
        Step::Restart(name) => vec![host(["restart"], name)],
    }
}

fn person<'a>(verb: &str, name: &'a str) -> Mention<'a> {
    Mention { path: vec![verb.into(), "client".into()], name, role: Role::Tab }
}

/// A person, whichever tab it is.
fn whole<'a>(verb: &str, name: &'a str) -> Mention<'a> {
    Mention { role: Role::Person, ..person(verb, name) }
}

fn host<'a, const N: usize>(path: [&str; N], name: &'a str) -> Mention<'a> {
    Mention { path: path.into_iter().map(Segment::from).collect(), name, role: Role::Host }
}

fn disk<'a, const N: usize>(path: [&str; N], name: &'a str) -> Mention<'a> {
    Mention { role: Role::Disk, ..host(path, name) }
}

fn link(path: Vec<Segment>, LinkEnds(one, other): &LinkEnds) -> Vec<Mention<'_>> {
    let end = |index: usize, name| {
        let path = path.iter().cloned().chain([index.into()]).collect();
        Mention { path, name, role: Role::Host }
    };
    vec![end(0, one), end(1, other)]
}
