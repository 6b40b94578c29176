//! The values of the library that the machine is made of.

#[path = "../../../src/identity/node_id.rs"]
mod node_id;

pub(crate) use node_id::{NodeId, NodeIdError};
