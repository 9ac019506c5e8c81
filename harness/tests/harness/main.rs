//! The harness as its users call it.

mod agent_chat;
mod answer_races;
mod ask_agent;
mod barriers;
mod cancels;
mod crash_points;
mod faults;
mod handover;
mod inbox_races;
mod leaks;
mod lost_snapshots;
mod members;
mod mock_child;
mod modes;
mod offline;
mod races;
mod readers;
mod real_server;
mod recovery_races;
mod restarts;
mod seeds;
mod sends;
mod skills;
mod stage;
mod starting;
mod successors;
mod support;
mod task;
#[cfg(feature = "world")]
mod two_networks;
