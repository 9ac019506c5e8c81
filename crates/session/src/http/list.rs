//! `GET /api/v1/sessions`: the query as text, the page as JSON (S-26…S-28).

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{RawQuery, Request, State};
use http::StatusCode;
use turnkeep_host::Timestamp;
use turnkeep_protocol::session_api::{Pagination, SessionPage, SessionStatus};
use turnkeep_protocol::{SessionId, TaskId};

use super::App;
use super::auth::Caller;
use super::reply::{Answer, Fail, ok};
use crate::core::{Direction, Query, Refused, listed};
use crate::iso;
use crate::token::Need;

/// The rows of a page when the request does not say, and at most (S-26).
const DEFAULT_SIZE: usize = 20;
const MAX_SIZE: usize = 100;

/// Answers one page of the environment's sessions.
pub(super) async fn list(State(app): State<Arc<App>>, RawQuery(query): RawQuery, request: Request) -> Answer {
    let caller = app.authenticate(request.headers())?;
    let bad = |text: String| Fail::error(StatusCode::BAD_REQUEST, &text);
    // A period goes back from now by the clock that stamps the rows (D-84).
    let query = parse(query.as_deref().unwrap_or_default(), app.actor.clock().now()).map_err(bad)?;
    if !may_list(&caller, &query.tasks) {
        return Err(Fail::forbidden());
    }
    let listing = app.actor.call(move |core, now| core.list(now, &query)).await?;
    let listing = listing.map_err(|refused| match refused {
        Refused::Invalid(text) => bad(text),
        other => super::reply::Route::Other.refuse(other),
    })?;
    ok(&SessionPage {
        data: listing.rows.iter().map(listed).collect(),
        pagination: Pagination { next: listing.next.map(cursor), previous: listing.previous.map(cursor) },
    })
}

fn cursor(id: SessionId) -> String {
    id.as_str().to_owned()
}

/// Tells whether the caller may list: all sessions, all tasks, or every task of the filter (S §7).
fn may_list(caller: &Caller, tasks: &BTreeSet<TaskId>) -> bool {
    let may = |kind, ids: &[&str]| caller.may(Need { action: "read", kind, ids });
    let every_task = !tasks.is_empty() && tasks.iter().all(|task| may("tasks", &[task.as_str()]));
    may("sessions", &[]) || may("tasks", &[]) || every_task
}

/// Reads the query; the text of a refusal names the parameter. Unknown parameters say nothing.
fn parse(text: &str, now: Timestamp) -> Result<Query, String> {
    let mut query = Query { size: DEFAULT_SIZE, ..Query::default() };
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        // A list may come joined by commas, and a parameter more than once (S-28, RC-19).
        let values = || value.split(',').map(str::trim).filter(|it| !it.is_empty()).map(str::to_owned);
        match name.as_ref() {
            "page[size]" => query.size = size(&value)?,
            "page[after]" => set_page(&mut query, Direction::Older, &value)?,
            "page[before]" => set_page(&mut query, Direction::Newer, &value)?,
            "filter[type]" => query.kinds.extend(values()),
            "filter[tags]" => query.tags.extend(values()),
            "filter[taskIdentifier]" => query.tasks.extend(values().map(TaskId::new)),
            "filter[externalId]" => query.external_id = Some(value.into_owned()),
            "filter[status]" => query.statuses.extend(values().map(|it| status(&it)).collect::<Result<Vec<_>, _>>()?),
            "filter[createdAt][period]" => {
                let period = iso::parse_duration(&value).ok_or_else(|| format!("{name}: not a duration"))?;
                let from = now.since(Timestamp::default().plus(period));
                query.from = query.from.max(Some(Timestamp::default().plus(from)));
            }
            "filter[createdAt][from]" => query.from = query.from.max(Some(moment(&name, &value)?)),
            "filter[createdAt][to]" => query.to = Some(moment(&name, &value)?),
            _ => {}
        }
    }
    Ok(query)
}

fn size(text: &str) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| (1..=MAX_SIZE).contains(size));
    size.ok_or_else(|| format!("page[size]: 1 to {MAX_SIZE}, not {text}"))
}

fn set_page(query: &mut Query, direction: Direction, cursor: &str) -> Result<(), String> {
    match query.page.replace((direction, SessionId::new(cursor))) {
        Some(_) => Err("page: either after or before, once".to_owned()),
        None => Ok(()),
    }
}

fn status(text: &str) -> Result<SessionStatus, String> {
    match text {
        "ACTIVE" => Ok(SessionStatus::Active),
        "CLOSED" => Ok(SessionStatus::Closed),
        "EXPIRED" => Ok(SessionStatus::Expired),
        _ => Err(format!("filter[status]: ACTIVE, CLOSED or EXPIRED, not {text}")),
    }
}

fn moment(name: &str, text: &str) -> Result<Timestamp, String> {
    text.parse().map(Timestamp::from_millis).map_err(|_| format!("{name}: Unix milliseconds, not {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(10_000_000);

    #[track_caller]
    fn check(text: &str, change: impl FnOnce(&mut Query)) {
        let mut want = Query { size: 20, ..Query::default() };
        change(&mut want);
        assert_eq!(parse(text, NOW), Ok(want), "{text}");
    }

    fn set<T: Ord>(values: impl IntoIterator<Item = T>) -> BTreeSet<T> {
        values.into_iter().collect()
    }

    #[test]
    fn every_parameter_of_a_list_is_read_s26() {
        check("", |_| {});
        check("page%5Bsize%5D=100", |query| query.size = 100);
        check("page[after]=session_a", |query| query.page = Some((Direction::Older, SessionId::new("session_a"))));
        check("page[before]=session_a", |query| query.page = Some((Direction::Newer, SessionId::new("session_a"))));
        check("filter[externalId]=a,b", |query| query.external_id = Some("a,b".to_owned()));
        check("filter[taskIdentifier]=t", |query| query.tasks = set([TaskId::new("t")]));
        check("filter[createdAt][period]=1h", |query| query.from = Some(Timestamp::from_millis(6_400_000)));
        check("filter[createdAt][period]=900w", |query| query.from = Some(Timestamp::default()));
        check("filter[createdAt][from]=5&filter[createdAt][to]=7", |query| {
            (query.from, query.to) = (Some(Timestamp::from_millis(5)), Some(Timestamp::from_millis(7)));
        });
        check("filter[createdAt][period]=1h&filter[createdAt][from]=5", |query| {
            query.from = Some(Timestamp::from_millis(6_400_000));
        });
        check("filter[colour]=red&page", |_| {});
    }

    #[test]
    fn lists_of_values_are_split_at_commas_and_may_be_repeated_s28_rc19() {
        check("filter[type]=a%2Cb&filter[type]=c", |query| query.kinds = set(["a", "b", "c"].map(str::to_owned)));
        check("filter[tags]=a,%20b,", |query| query.tags = set(["a", "b"].map(str::to_owned)));
        check("filter[status]=CLOSED,ACTIVE", |query| {
            query.statuses = set([SessionStatus::Active, SessionStatus::Closed]);
        });
        check("filter[status]=", |_| {});
    }

    #[test]
    fn what_cannot_be_meant_is_refused_by_name_s26() {
        for (text, names) in [
            ("page[size]=0", "page[size]"),
            ("page[size]=101", "page[size]"),
            ("page[size]=ten", "page[size]"),
            ("page[after]=a&page[before]=b", "page"),
            ("filter[status]=OPEN", "filter[status]"),
            ("filter[createdAt][period]=soon", "filter[createdAt][period]"),
            ("filter[createdAt][from]=2001-01-01", "filter[createdAt][from]"),
            ("filter[createdAt][to]=-1", "filter[createdAt][to]"),
        ] {
            let error = parse(text, NOW).unwrap_err();
            assert!(error.starts_with(names), "{text}: {error}");
        }
    }

    #[test]
    fn listing_needs_all_sessions_all_tasks_or_every_task_asked_for_s7() {
        let tasks = |names: &[&str]| names.iter().map(|name| TaskId::new(*name)).collect::<BTreeSet<_>>();
        for (scope, asked, want) in [
            ("read:sessions", &[][..], true),
            ("read:sessions:chat", &[], false),
            ("write:sessions", &[], false),
            ("read:tasks", &[], true),
            ("read:tasks:a", &[], false),
            ("read:tasks:a", &["a"], true),
            ("read:tasks:a", &["a", "b"], false),
            ("admin", &[], true),
        ] {
            let caller = Caller::Token(crate::token::Scopes::new(vec![scope.to_owned()]));
            assert_eq!(may_list(&caller, &tasks(asked)), want, "{scope} for {asked:?}");
        }
        let two = crate::token::Scopes::new(vec!["read:tasks:a".to_owned(), "read:tasks:b".to_owned()]);
        assert!(may_list(&Caller::Token(two), &tasks(&["a", "b"])));
    }
}
