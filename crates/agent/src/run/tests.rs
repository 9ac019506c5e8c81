//! The turn loop over a session in memory: order on `out`, hooks, stops, failures, waits.

mod actions;
mod answers;
mod appendix_b;
mod approvals;
mod boot;
mod boot_matrix;
mod builder;
mod by_hand;
mod client_data;
mod compaction;
mod events;
mod hooks;
mod hydrate;
mod inject;
mod patterns;
mod prepare_step;
mod recovery;
mod responses;
mod set_times;
mod sharing;
mod steering;
mod taken_over;
mod trust;
mod turns;
mod ui_options;
mod waits;
