//! The client transport: send, subscribe, resume by cursor.
