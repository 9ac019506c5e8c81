//! The arrows between our crates (D-52), dev-dependencies included; a cycle is a bug.

use anyhow::Result;
use serde_json::Value;

use super::{Finding, cargo};

const OURS: &str = "turnkeep-";

/// Who may depend on whom; who is not listed may not exist, and who does not exist may not be listed.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("host", &[]),
    ("model", &["host", "protocol"]),
    ("session", &["host", "protocol"]),
    ("client", &["host", "protocol"]),
    ("agent", &["client", "host", "model", "protocol"]),
    ("head-start", &["client", "host", "model", "protocol"]),
    ("harness", &["agent", "client", "host", "model", "protocol", "session"]),
    ("mcp", &["client", "host", "protocol"]),
    ("reference-agents", &["agent"]),
];

/// What only tests of a crate may use besides.
const DEV_ARROWS: &[(&str, &[&str])] = &[
    ("head-start", &["session"]),
    ("mcp", &["agent", "reference-agents", "session"]),
    ("reference-agents", &["harness"]),
];

/// What must not be among all that these depend on, however far down.
const SHIPPED: &[&str] = &["turnkeep-agent", "turnkeep-head-start", "turnkeep-session"];
const NOT_SHIPPED: &[&str] = &["turmoil", "turnkeep-harness", "mock"];

/// One arrow, as a manifest has it.
#[derive(Debug, PartialEq, Eq)]
struct Arrow {
    from: String,
    to: String,
    dev: bool,
}

pub(super) fn check() -> Result<Vec<Finding>> {
    let metadata = serde_json::from_str(&cargo(&["metadata", "--no-deps", "--format-version", "1"])?)?;
    let mut findings = judge(&arrows(&metadata));
    findings.extend(strangers(&packages(&metadata)));
    for package in SHIPPED {
        let tree = cargo(&["tree", "-p", package, "-e", "normal", "--prefix", "none"])?;
        findings.extend(stowaways(package, &tree));
    }
    Ok(findings)
}

/// Gives a list in cargo's answer.
fn list<'v>(value: &'v Value, key: &str) -> &'v [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

/// Gives the short name of a package of ours.
fn ours(package: &Value) -> Option<&str> {
    package["name"].as_str()?.strip_prefix(OURS)
}

/// Names our packages; xtask and the root package stand outside and see everything.
fn packages(metadata: &Value) -> Vec<&str> {
    list(metadata, "packages").iter().filter_map(ours).collect()
}

/// Lists the arrows between our packages.
fn arrows(metadata: &Value) -> Vec<Arrow> {
    let mut arrows = Vec::new();
    for package in list(metadata, "packages") {
        let Some(from) = ours(package) else { continue };
        for dependency in list(package, "dependencies") {
            let Some(to) = ours(dependency) else { continue };
            arrows.push(Arrow { from: from.to_owned(), to: to.to_owned(), dev: dependency["kind"] == "dev" });
        }
    }
    arrows
}

/// Finds packages without a row and rows without a package.
fn strangers(packages: &[&str]) -> Vec<Finding> {
    let listed = |name: &str| ARROWS.iter().any(|(from, _)| *from == name);
    let unlisted = packages.iter().filter(|name| !listed(name)).map(|name| (name, "D-52 has no such crate"));
    let missing = ARROWS.iter().map(|(from, _)| from).filter(|name| !packages.contains(name));
    let missing = missing.map(|name| (name, "its arrows are listed, and there is no such crate"));
    unlisted.chain(missing).map(|(name, what)| Finding::new(format!("{OURS}{name}"), 0, what)).collect()
}

fn judge(arrows: &[Arrow]) -> Vec<Finding> {
    let allowed = |table: &[(&str, &[&str])], arrow: &Arrow| {
        table.iter().any(|(from, to)| *from == arrow.from && to.contains(&arrow.to.as_str()))
    };
    let wrong = arrows.iter().filter(|arrow| !(allowed(ARROWS, arrow) || arrow.dev && allowed(DEV_ARROWS, arrow)));
    wrong
        .map(|Arrow { from, to, dev }| {
            let kind = if *dev { "dev-dependency" } else { "dependency" };
            Finding::new(format!("{OURS}{from}"), 0, format!("{kind} on {OURS}{to}: D-52 has no such arrow"))
        })
        .collect()
}

fn stowaways(package: &str, tree: &str) -> Vec<Finding> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let found = names.filter(|name| NOT_SHIPPED.iter().any(|word| name.contains(word)));
    found.map(|name| Finding::new(package, 0, format!("depends on {name}, which must not ship"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn arrow(from: &str, to: &str, dev: bool) -> Arrow {
        Arrow { from: from.to_owned(), to: to.to_owned(), dev }
    }

    #[test]
    fn arrows_are_read_from_cargos_metadata() {
        let metadata = json!({ "packages": [
            { "name": "turnkeep-agent", "dependencies": [
                { "name": "turnkeep-host", "kind": null }, { "name": "turnkeep-harness", "kind": "dev" }, { "name": "serde", "kind": null },
            ] },
            { "name": "xtask", "dependencies": [{ "name": "turnkeep-harness", "kind": null }] },
        ] });

        assert_eq!(arrows(&metadata), [arrow("agent", "host", false), arrow("agent", "harness", true)]);
        assert_eq!(packages(&metadata), ["agent"]);
    }

    #[test]
    fn who_is_listed_exists_and_who_exists_is_listed() {
        let mut packages: Vec<&str> = ARROWS.iter().map(|(from, _)| *from).filter(|name| *name != "session").collect();
        packages.push("utils");

        let found: Vec<String> = strangers(&packages).iter().map(Finding::to_string).collect();

        assert_eq!(
            found,
            [
                "turnkeep-utils: D-52 has no such crate",
                "turnkeep-session: its arrows are listed, and there is no such crate",
            ]
        );
    }

    #[test]
    fn only_agreed_arrows_are_allowed() {
        let right = [arrow("agent", "host", false), arrow("reference-agents", "harness", true)];
        let wrong = [
            arrow("reference-agents", "harness", false),
            arrow("agent", "session", false),
            arrow("session", "client", true),
            arrow("utils", "host", false),
        ];

        assert_eq!(judge(&right), []);
        assert_eq!(judge(&wrong).len(), wrong.len());
        assert_eq!(
            judge(&wrong)[2].to_string(),
            "turnkeep-session: dev-dependency on turnkeep-client: D-52 has no such arrow"
        );
    }

    #[test]
    fn the_agreed_arrows_have_no_cycle() {
        let mut settled: Vec<&str> = Vec::new();
        for _ in ARROWS {
            let ready = |to: &[&str]| to.iter().all(|name| settled.contains(name));
            let next = ARROWS.iter().find(|(from, to)| !settled.contains(from) && ready(to));
            settled.push(next.expect("some crate depends only on settled ones").0);
        }
    }

    #[test]
    fn the_simulator_never_ships() {
        let tree = "turnkeep-agent v0.1.0 (/x)\nturnkeep-host v0.1.0 (/x)\nturmoil v0.7.2\nmockall v0.13.0\n";

        let found: Vec<String> = stowaways("turnkeep-agent", tree).iter().map(Finding::to_string).collect();

        let what = |name: &str| format!("turnkeep-agent: depends on {name}, which must not ship");
        assert_eq!(found, [what("turmoil"), what("mockall")]);
    }
}
