//! The session server: two channels per session, storage, SSE, starting runs.
