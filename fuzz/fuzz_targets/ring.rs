//! `cargo +nightly fuzz run ring`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| p2poll::fuzz::ring(data));
