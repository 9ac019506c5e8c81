//! The turn loop over a session in memory: order on `out`, hooks, stops, failures, waits.

mod actions;
mod answers;
mod approvals;
mod boot;
mod builder;
mod client_data;
mod compaction;
mod events;
mod hooks;
mod hydrate;
mod inject;
mod prepare_step;
mod recovery;
mod responses;
mod sharing;
mod steering;
mod turns;
mod ui_options;
mod waits;
