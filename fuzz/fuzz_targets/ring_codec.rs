//! `cargo +nightly fuzz run ring_codec`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| p2poll::fuzz::ring_codec(data));
