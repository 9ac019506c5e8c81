//! Small agents written as an author would write them.
