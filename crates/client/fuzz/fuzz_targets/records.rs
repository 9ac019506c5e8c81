//! The decoder of a session stream's records under any bytes: `cargo xtask fuzz records`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| turnkeep_client::attack_records(input));
