//! What the members of a ring tell each other, and its lines.
//!
//! - [`place`]: the circle of identifiers. [`member`]: who is at a place. [`list`]: who follows one.
//! - [`message`]: what is said.
//! - [`codec`]: the text of it.

mod codec;
mod list;
mod member;
mod message;
mod place;

#[cfg_attr(not(test), allow(unused_imports, reason = "no node is in a ring yet"))]
pub(crate) use codec::{Letter, parse, print};
pub(crate) use list::{LONGEST, List};
pub(crate) use member::{Life, Member};
pub(crate) use message::{Find, Found, MAX_DEAD, MAX_HINTS, Message, Number, QueryId, Want};
pub(crate) use place::{BITS, Place, between, within};
