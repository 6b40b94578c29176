//! The machine: the library's own files.

#[path = "../../../src/proto/backoff.rs"]
pub(crate) mod backoff;
#[path = "../../../src/proto/ring/mod.rs"]
pub(crate) mod ring;
