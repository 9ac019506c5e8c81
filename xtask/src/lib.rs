//! sim, bless, tidy, test, ci.
