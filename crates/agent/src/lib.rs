//! The agent runtime: boot, turn loop, hooks, tools, chat snapshots.
