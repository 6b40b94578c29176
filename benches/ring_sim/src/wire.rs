//! What it says: the library's own files.

#[path = "../../../src/wire/json.rs"]
mod json;
#[path = "../../../src/wire/ring/mod.rs"]
pub(crate) mod ring;
