//! Lists of sessions (S-26…S-29).

use std::collections::BTreeSet;

use turnkeep_protocol::SessionId;
use turnkeep_protocol::session_api::SessionStatus;

use super::*;
use crate::core::{Direction, Query};

impl Fixture {
    /// Makes a session a second after whatever was before.
    fn made(&mut self, change: impl FnOnce(&mut NewSession)) -> SessionId {
        let mut new = new_session(None, json!({}));
        change(&mut new);
        self.pass(Duration::from_secs(1));
        self.create_as(new).unwrap().row.id
    }

    fn list(&self, query: &Query) -> (Vec<SessionId>, Option<SessionId>, Option<SessionId>) {
        let listing = self.core.list(self.now, query).unwrap();
        (listing.rows.into_iter().map(|row| row.id).collect(), listing.next, listing.previous)
    }
}

fn all() -> Query {
    Query { size: 100, ..Query::default() }
}

fn set<T: Ord>(values: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    values.into_iter().collect()
}

#[test]
fn pages_follow_each_other_in_both_directions_newest_first_s27() {
    let mut fixture = Fixture::new();
    let mut ids: Vec<_> = (0..5).map(|_| fixture.made(|_| {})).collect();
    ids.reverse();
    let page = |page| fixture.list(&Query { size: 2, page, ..Query::default() });
    let slice = |from: usize, to: usize| ids[from..to].to_vec();
    let at = |n: usize| Some(ids[n].clone());

    assert_eq!(page(None), (slice(0, 2), at(1), None));
    assert_eq!(page(at(1).map(|id| (Direction::Older, id))), (slice(2, 4), at(3), at(2)));
    assert_eq!(page(at(3).map(|id| (Direction::Older, id))), (slice(4, 5), None, at(4)));
    assert_eq!(page(at(4).map(|id| (Direction::Older, id))), (vec![], None, None));
    assert_eq!(page(at(4).map(|id| (Direction::Newer, id))), (slice(2, 4), at(3), at(2)));
    assert_eq!(page(at(2).map(|id| (Direction::Newer, id))), (slice(0, 2), at(1), None));
    assert_eq!(page(at(0).map(|id| (Direction::Newer, id))), (vec![], None, None));
}

#[test]
fn a_page_that_is_just_full_has_no_next_s27() {
    let mut fixture = Fixture::new();
    let ids = [fixture.made(|_| {}), fixture.made(|_| {})];

    let (rows, next, previous) = fixture.list(&Query { size: 2, ..Query::default() });

    assert_eq!((rows.len(), next, previous), (ids.len(), None, None));
}

#[test]
fn sessions_of_one_moment_are_each_listed_once_s27() {
    let mut fixture = Fixture::new();
    for _ in 0..5 {
        fixture.create_as(new_session(None, json!({}))).unwrap();
    }
    let (mut seen, mut page) = (Vec::new(), None);

    for _ in 0..5 {
        let (rows, next, _) = fixture.list(&Query { size: 1, page, ..Query::default() });
        seen.extend(rows);
        page = next.map(|id| (Direction::Older, id));
    }

    assert_eq!(set(seen.clone()).len(), 5);
    assert_eq!((seen.len(), page), (5, None));
}

#[test]
fn filters_are_anded_and_their_values_ored_s26_s28() {
    let mut fixture = Fixture::new();
    let chat = fixture.made(|new| (new.kind, new.tags) = ("chat".to_owned(), vec!["a".to_owned(), "b".to_owned()]));
    let job = fixture.made(|new| (new.kind, new.task_id) = ("job".to_owned(), TaskId::new("other")));
    let named = fixture.made(|new| (new.external_id, new.tags) = (Some("n".to_owned()), vec!["b".to_owned()]));
    let check = |query: Query, want: &[&SessionId]| {
        let rows = fixture.list(&query).0;
        assert_eq!(rows.iter().collect::<Vec<_>>(), want, "{query:?}");
    };

    check(all(), &[&named, &job, &chat]);
    check(Query { kinds: set(["chat".to_owned()]), ..all() }, &[&chat]);
    check(Query { kinds: set(["chat".to_owned(), "job".to_owned()]), ..all() }, &[&job, &chat]);
    check(Query { tags: set(["a".to_owned(), "x".to_owned()]), ..all() }, &[&chat]);
    check(Query { tags: set(["b".to_owned()]), ..all() }, &[&named, &chat]);
    check(Query { tags: set(["b".to_owned()]), kinds: set(["chat".to_owned()]), ..all() }, &[&chat]);
    check(Query { tasks: set([TaskId::new("other")]), ..all() }, &[&job]);
    check(Query { external_id: Some("n".to_owned()), ..all() }, &[&named]);
    check(Query { external_id: Some("nobody".to_owned()), ..all() }, &[]);
    let (newest, oldest) = (fixture.now, fixture.now.since(Timestamp::default().plus(Duration::from_secs(2))));
    let oldest = Timestamp::default().plus(oldest);
    check(Query { from: Some(newest), ..all() }, &[&named]);
    check(Query { to: Some(oldest), ..all() }, &[&chat]);
    check(Query { from: Some(oldest), to: Some(oldest), ..all() }, &[&chat]);
}

#[test]
fn the_status_filter_sees_the_rows_as_they_are_now_s26_s29() {
    let mut fixture = Fixture::with_chat();
    let chat = fixture.core.find("chat").unwrap().row.id.clone();
    let expires_at = fixture.now.plus(Duration::from_secs(10));
    let short = fixture.made(|new| new.expires_at = Some(expires_at));
    let open = fixture.made(|_| {});
    fixture.close(None);
    let of = |fixture: &Fixture, statuses: &[SessionStatus]| {
        fixture.list(&Query { statuses: statuses.iter().copied().collect(), ..all() }).0
    };

    assert_eq!(of(&fixture, &[SessionStatus::Active]), [open.clone(), short.clone()]);
    fixture.pass(Duration::from_secs(10));
    assert_eq!(of(&fixture, &[SessionStatus::Active]), std::slice::from_ref(&open));
    assert_eq!(of(&fixture, &[SessionStatus::Expired]), std::slice::from_ref(&short));
    assert_eq!(of(&fixture, &[SessionStatus::Closed, SessionStatus::Active]), [open, chat]);
}

#[test]
fn a_cursor_need_not_fit_the_filter_but_must_exist_s27() {
    let mut fixture = Fixture::new();
    let old = fixture.made(|new| new.kind = "job".to_owned());
    let cursor = fixture.made(|_| {});
    let query = |id: &str| Query {
        page: Some((Direction::Older, SessionId::new(id))),
        kinds: set(["job".to_owned()]),
        ..all()
    };

    assert_eq!(fixture.list(&query(cursor.as_str())).0, [old]);
    assert!(matches!(fixture.core.list(fixture.now, &query("session_x")), Err(Refused::Invalid(_))));
}

#[test]
fn a_search_that_looked_at_its_bound_says_where_to_go_on_s27() {
    let mut fixture = Fixture::new();
    let rare = fixture.made(|new| new.kind = "rare".to_owned());
    fixture.pass(Duration::from_secs(1));
    for _ in 0..1_000 {
        fixture.create_as(new_session(None, json!({}))).unwrap();
    }
    let query = |page| Query { kinds: set(["rare".to_owned()]), page, ..all() };

    let (first, next, _) = fixture.list(&query(None));
    assert_eq!((first, next.is_some()), (vec![], true), "a thousand rows were looked at");

    let (second, end, _) = fixture.list(&query(next.map(|id| (Direction::Older, id))));
    assert_eq!((second, end), (vec![rare], None));
}

#[test]
fn an_external_id_is_found_without_a_search_s26() {
    let mut fixture = Fixture::new();
    let named = fixture.create_as(new_session(Some("mine"), json!({}))).unwrap().row.id;
    fixture.pass(Duration::from_secs(1));
    for _ in 0..1_000 {
        fixture.create_as(new_session(None, json!({}))).unwrap();
    }
    let query = |id: &str| Query { external_id: Some(id.to_owned()), ..all() };

    assert_eq!(fixture.list(&query("mine")), (vec![named], None, None));
    assert_eq!(fixture.list(&query("other")), (vec![], None, None));
}
