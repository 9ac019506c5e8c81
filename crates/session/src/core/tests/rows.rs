//! The rows of sessions and runs (S §1.1, S-22, S-33, S-35).

use turnkeep_protocol::run_api::RunOptions;
use turnkeep_protocol::session_api::{SessionStatus, UpdateSession};

use super::*;
use crate::{CancelledBy, RunStatus, SessionRow};

impl Fixture {
    fn row(&self) -> SessionRow {
        self.core.find("chat").unwrap().row.clone()
    }

    fn update(&mut self, update: Value) -> Result<SessionRow, Refused> {
        let update: UpdateSession = serde_json::from_value(update).unwrap();
        let updated = self.core.update(self.now, "chat", update);
        self.keep(updated)
    }
}

#[test]
fn a_status_follows_from_the_row_and_the_time_and_closed_outranks_expired_s6() {
    let mut fixture = Fixture::new();
    let expires_at = Some(fixture.now.plus(Duration::from_secs(5)));
    fixture.create_as(NewSession { expires_at, ..new_session(Some("chat"), json!({})) }).unwrap();
    let status = |fixture: &Fixture| fixture.row().status(fixture.now.into());

    assert_eq!(status(&fixture), SessionStatus::Active);
    fixture.pass(Duration::from_millis(4_999));
    assert_eq!(status(&fixture), SessionStatus::Active);
    fixture.pass(Duration::from_millis(1));
    assert_eq!(status(&fixture), SessionStatus::Expired);
    fixture.close(None);
    assert_eq!(status(&fixture), SessionStatus::Closed);
}

#[test]
fn an_update_replaces_what_it_names_and_leaves_the_rest_s22() {
    let mut fixture = Fixture::with_chat();
    fixture.pass(Duration::from_secs(1));
    let before = fixture.row();

    let updated = fixture.update(json!({ "tags": ["a"], "metadata": { "k": 1 } })).unwrap();
    let tags_only = fixture.update(json!({ "tags": [] })).unwrap();
    let cleared = fixture.update(json!({ "metadata": null })).unwrap();

    assert_eq!(
        (updated.tags.as_slice(), updated.metadata.clone()),
        (&["a".to_owned()][..], json!({ "k": 1 }).as_object().cloned())
    );
    assert_eq!(updated.updated_at, fixture.now.into());
    assert_eq!((tags_only.tags.len(), &tags_only.metadata), (0, &updated.metadata));
    assert_eq!(cleared, SessionRow { updated_at: fixture.now.into(), ..before });
    assert_eq!(fixture.row(), cleared);
}

#[test]
fn an_update_that_says_nothing_writes_nothing_s22() {
    let mut fixture = Fixture::with_chat();
    let n_changes = fixture.log.len();
    fixture.pass(Duration::from_secs(1));

    let row = fixture.update(json!({ "externalId": "chat" })).unwrap();

    assert_eq!((row, fixture.log.len()), (fixture.row(), n_changes));
}

#[test]
fn an_external_id_never_changes_s5_s22() {
    let mut fixture = Fixture::with_chat();
    for wanted in [json!("other"), json!(null), json!("")] {
        let refused = fixture.update(json!({ "externalId": wanted, "tags": ["x"] }));
        assert!(matches!(&refused, Err(Refused::Invalid(text)) if text.contains("externalId")), "{refused:?}");
        assert_eq!(fixture.row().tags, [""; 0]);
    }
    let nameless = fixture.create_as(new_session(None, json!({}))).unwrap().row.id;
    let update = UpdateSession { external_id: Some(Some("late".to_owned())), ..UpdateSession::default() };

    assert!(matches!(fixture.core.update(fixture.now, nameless.as_str(), update), Err(Refused::Invalid(_))));
}

#[test]
fn a_closed_session_takes_updates_and_stays_closed_s7_s22() {
    let mut fixture = Fixture::with_chat();
    fixture.close(Some("over"));
    let closed = fixture.row();

    let row = fixture.update(json!({ "tags": ["done"] })).unwrap();

    assert_eq!((row.closed_at, row.closed_reason), (closed.closed_at, Some("over".to_owned())));
    assert_eq!(fixture.core.update(fixture.now, "nobody", UpdateSession::default()), Err(Refused::NoSession));
}

#[test]
fn rows_without_external_id_never_collide_and_one_external_id_is_one_row_s2() {
    let mut fixture = Fixture::new();
    let mut create = |external_id| fixture.create_as(new_session(external_id, json!({}))).unwrap().row.id;

    let ids = [create(None), create(None), create(Some("a")), create(Some("a")), create(Some("b"))];

    let distinct: std::collections::BTreeSet<_> = ids.iter().collect();
    assert_eq!((distinct.len(), &ids[2]), (4, &ids[3]));
}

#[test]
fn each_run_that_takes_the_slot_raises_the_version_by_one_and_keeps_its_reason_s1_s8_s35_s38() {
    let mut fixture = Fixture::with_chat();
    let first = fixture.lease();
    fixture.end(&first, RunOutcome::Completed).unwrap();
    fixture.send();
    let second = fixture.lease();
    fixture.write(&second, vec![turn_complete(0)]).unwrap();
    fixture.swap(&second).unwrap();

    let mut runs: Vec<_> = fixture.runs().iter().map(|run| (run.queued, run.reason)).collect();
    runs.sort_by_key(|(queued, _)| *queued);

    let reasons: Vec<_> = runs.into_iter().map(|(_, reason)| reason).collect();
    assert_eq!(reasons, [RunReason::Initial, RunReason::Continuation, RunReason::Upgrade]);
    assert_eq!(fixture.row().run_version, 3);
    fixture.create(json!({})).unwrap();
    assert_eq!(fixture.row().run_version, 3, "a reused run takes nothing");
}

#[test]
fn a_run_gets_what_the_trigger_config_says_when_it_starts_s11_s14_s34() {
    let mut fixture = Fixture::new();
    let mut new = new_session(Some("chat"), json!({}));
    let said = RunOptions {
        machine: Some("large-1x".to_owned()),
        queue: Some("q".to_owned()),
        tags: Some(vec!["t".to_owned()]),
        max_attempts: Some(2),
        max_duration: Some(60),
        lock_to_version: Some("1".to_owned()),
        region: Some("eu".to_owned()),
    };
    new.trigger_config.options = said.clone();
    fixture.create_as(new).unwrap();
    fixture.create(json!({})).unwrap();

    let run = fixture.lease();
    assert_eq!(run.options, said, "the newer config is for later runs");
    fixture.end(&run, RunOutcome::Completed).unwrap();
    fixture.send();

    let wire = serde_json::to_value(fixture.lease()).unwrap();
    assert_eq!(wire.get("options"), None, "what was not said is absent");
}

#[test]
fn queued_and_leased_runs_are_live_and_all_others_terminal_s33() {
    let leased = RunStatus::Leased { worker: WorkerId::new("w"), expires_at: crate::Millis(1), confirmed: true };
    let error = || "x".to_owned();
    for (status, is_live) in [
        (RunStatus::Queued, true),
        (leased, true),
        (RunStatus::Completed, false),
        (RunStatus::Failed { error: error() }, false),
        (RunStatus::Crashed { error: error() }, false),
        (RunStatus::Cancelled { by: CancelledBy::Close }, false),
    ] {
        assert_eq!(status.is_live(), is_live, "{status:?}");
    }
}
