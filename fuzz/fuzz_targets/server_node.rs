//! `cargo +nightly fuzz run server_node`
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| p2poll::fuzz::server_node(data));
