//! The author's web application in memory, for offline tests of agents that keep their conversations there.

use turnkeep_agent::host::{Host, Task};
use turnkeep_harness::app::AppDatabase;

use crate::persisted::Database;

/// Serves `rows` on `host` until the task is dropped, and gives a client of it.
pub(crate) fn serve(host: &Host, rows: &AppDatabase) -> (Task, Database) {
    let (server, on) = (rows.clone(), host.clone());
    let task = host.spawn(async move {
        server.serve(on, "app:80").await.expect("the address is free");
    });
    (task, Database::new(host.clone(), "http://app:80".parse().expect("a fixed address parses")))
}
