//! How the NAT in front of us chooses ports: `survey` asks observers, `kind` judges what they saw.
//!
//! What can not be told from outside: two observers at one address (the two ports of one server) see an
//! address-dependent mapping (RFC 4787 section 4.1) as reuse, because towards that address it is. Observers at two
//! addresses tell the two apart.

pub(crate) mod kind;
#[cfg(test)]
mod model;
pub(crate) mod survey;
