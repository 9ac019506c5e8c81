//! What proves: mock model, mock chat, the simulated world, scenarios, checks.
