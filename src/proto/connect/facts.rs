//! What is known of the way to a node before anything was tried.

use super::caller::outside;
use super::surroundings::Surroundings;
use crate::connect::{Rung, Rungs};
use crate::proto::connect::ladder::Facts;
use crate::proto::household::household;
use crate::reach::{NodeType, Reach, Reachability};
use crate::unl::{Forwarding, Place, Unl};

/// `callable`: there is a server to call it through.
pub(super) fn facts_of(unl: &Unl, rungs: Rungs, callable: bool, around: &Surroundings<'_>) -> Facts {
    let local = &around.local;
    let reach = local.reach;
    let our_wan = reach.wan.map(household);
    let mut wan = unl.addresses().filter(|address| address.place == Place::Wan);
    let same_wan = wan.any(|address| our_wan == Some(household(address.addr.ip())));
    let meets = !callable && !same_wan && can_meet(unl, around);
    // A node of pyp2p's, which nobody can ask, is in our network if it has our address outside, and only then.
    let elsewhere = unl.version() == 2 && our_wan.is_some() && !same_wan;
    // Who leaves out all but the local ways asks for them; and where no server could say so, nobody else can.
    let lan_at_once = !callable || !rungs.has(Rung::Direct) && !rungs.has(Rung::Relay);
    let visible = has_public_address(reach) && reach.reachable != Reachability::No;
    let has_wan = !local.addresses(unl, Place::Wan).is_empty();
    let passive = unl.node_type() == NodeType::Passive;
    // A mapping is likely to work even if no server could tell; such a node is called at the same time.
    let open = passive || unl.forwarding() != Forwarding::None;
    Facts {
        lan: !local.addresses(unl, Place::Lan).is_empty() && !elsewhere,
        lan_at_once,
        // What says that it can not be connected to is not dialled in vain, unless there is nothing else to try.
        direct: has_wan && (open || !callable && !meets),
        passive,
        closed: has_wan && !open,
        same_wan,
        callable,
        meets,
        reachable: local.listens && (reach.reachable == Reachability::Yes || visible || same_wan),
        our_kind: reach.nat.kind(),
        their_kind: unl.nat(),
    }
}

/// Whether this is a node that can be punched to as pyp2p does.
fn can_meet(unl: &Unl, around: &Surroundings<'_>) -> bool {
    !around.servers.own().is_empty()
        && unl.version() == 2
        && unl.node_type() == NodeType::Simultaneous
        && outside(unl).is_some()
}

/// Whether it has its address outside itself: as a server says, or, where none can, as far as its interfaces tell.
fn has_public_address(reach: &Reach) -> bool {
    let is_ours = |wan| reach.lan.iter().any(|lan| lan.address == wan);
    reach.translated.map_or_else(|| reach.wan.is_some_and(is_ours), |translated| !translated)
}
