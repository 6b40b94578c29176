//! Its driver: the library's own files.

#[path = "../../../src/sim/ring/mod.rs"]
pub(crate) mod ring;
