//! The decoder of event stream frames under any bytes: `cargo xtask fuzz frames`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| turnkeep_client::attack_frames(input));
