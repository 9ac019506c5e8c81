//! Lists of sessions: filters and pages (S-26…S-29). Rows are filtered as they are, so no index can lag behind them.

use std::collections::BTreeSet;

use turnkeep_host::Timestamp;
use turnkeep_protocol::session_api::SessionStatus;
use turnkeep_protocol::{SessionId, TaskId};

use super::{Core, Refused};
use crate::SessionRow;
use crate::change::Millis;

/// Which sessions, and which page of them. Empty filters let everything through; all of them must fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Query {
    /// The most rows of a page, at least 1.
    pub size: usize,
    /// Where the page lies; the newest sessions without it.
    pub page: Option<(Direction, SessionId)>,
    /// Any of these types.
    pub kinds: BTreeSet<String>,
    /// Any of these row tags.
    pub tags: BTreeSet<String>,
    /// Any of these agents.
    pub tasks: BTreeSet<TaskId>,
    /// Exactly this external id.
    pub external_id: Option<String>,
    /// Any of these statuses.
    pub statuses: BTreeSet<SessionStatus>,
    /// Made at this moment or later.
    pub from: Option<Timestamp>,
    /// Made at this moment or earlier.
    pub to: Option<Timestamp>,
}

/// On which side of a cursor a page lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// `page[after]`.
    Older,
    /// `page[before]`.
    Newer,
}

/// One page, newest first.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listing {
    /// The rows.
    pub rows: Vec<SessionRow>,
    /// Where older ones follow.
    pub next: Option<SessionId>,
    /// Where newer ones precede.
    pub previous: Option<SessionId>,
}

/// How many rows one request looks at: the server answers nobody else meanwhile. Past it a page may be short and still have a next.
const MAX_LOOKED_AT: usize = 1_000;

/// Rows that fit, and where the search was given up, if it was.
struct Found<'a> {
    rows: Vec<&'a SessionRow>,
    stopped_at: Option<SessionId>,
}

/// Takes rows that fit until there are `wanted`, at most [`MAX_LOOKED_AT`] of them looked at.
fn search<'a>(
    rows: impl Iterator<Item = &'a SessionRow>,
    fits: impl Fn(&SessionRow) -> bool,
    wanted: usize,
) -> Found<'a> {
    let mut found = Found { rows: Vec::new(), stopped_at: None };
    for (n_before, row) in rows.enumerate() {
        if n_before >= MAX_LOOKED_AT {
            return found;
        }
        found.stopped_at = (n_before + 1 == MAX_LOOKED_AT).then(|| row.id.clone());
        if fits(row) {
            found.rows.push(row);
        }
        if found.rows.len() == wanted {
            return Found { stopped_at: None, ..found };
        }
    }
    Found { stopped_at: None, ..found }
}

impl Core {
    /// Gives one page. A cursor is the public id of the row it lies beside; it need not fit the filters. A search that looked at
    /// [`MAX_LOOKED_AT`] rows gives what it found and where to go on.
    pub(crate) fn list(&self, now: Timestamp, query: &Query) -> Result<Listing, Refused> {
        let cursor = query.page.as_ref();
        let beside = cursor.map(|(direction, id)| self.state.session(id).map(|it| (*direction, &it.row)));
        let fits = |row: &SessionRow| query.fits(row, now.into());
        // One more than asked for tells whether there is a further page (S-27).
        let wanted = query.size + 1;
        let (Found { mut rows, stopped_at }, newer_first) = match beside {
            // An external id names one row at most.
            None if query.external_id.is_some() => {
                let named = query.external_id.as_ref().and_then(|id| self.state.find_external(id));
                (search(named.map(|session| &session.row).into_iter(), fits, wanted), true)
            }
            None => (search(self.state.rows_by_age().rev(), fits, wanted), true),
            Some(None) => return Err(Refused::Invalid("page: unknown cursor".to_owned())),
            Some(Some((Direction::Older, row))) => {
                (search(self.state.rows_beside(row, Direction::Older).rev(), fits, wanted), true)
            }
            Some(Some((Direction::Newer, row))) => {
                (search(self.state.rows_beside(row, Direction::Newer), fits, wanted), false)
            }
        };
        let has_more = rows.len() > query.size;
        rows.truncate(query.size);
        if !newer_first {
            rows.reverse();
        }
        let end =
            |row: Option<&&SessionRow>, there_is_more: bool| row.filter(|_| there_is_more).map(|row| row.id.clone());
        // On the side that the request came from there is the cursor's own row at least.
        let (more_older, more_newer) = if newer_first { (has_more, cursor.is_some()) } else { (true, has_more) };
        let (stopped_older, stopped_newer) = if newer_first { (stopped_at, None) } else { (None, stopped_at) };
        Ok(Listing {
            next: stopped_older.or_else(|| end(rows.last(), more_older)),
            previous: stopped_newer.or_else(|| end(rows.first(), more_newer)),
            rows: rows.into_iter().cloned().collect(),
        })
    }
}

impl Query {
    fn fits(&self, row: &SessionRow, now: Millis) -> bool {
        let created_at = Timestamp::from(row.created_at);
        let any_tag = self.tags.is_empty() || row.tags.iter().any(|tag| self.tags.contains(tag));
        any_tag
            && any_of(&self.kinds, &row.kind)
            && any_of(&self.tasks, &row.task_id)
            && any_of(&self.statuses, &row.status(now))
            && self.external_id.as_ref().is_none_or(|id| row.external_id.as_ref() == Some(id))
            && self.from.is_none_or(|from| created_at >= from)
            && self.to.is_none_or(|to| created_at <= to)
    }
}

fn any_of<T: Ord>(wanted: &BTreeSet<T>, one: &T) -> bool {
    wanted.is_empty() || wanted.contains(one)
}
