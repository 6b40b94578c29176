//! What is known of a call, whichever part in it is ours.

use std::net::{IpAddr, SocketAddr};

use super::action::Unsent;
use super::context::Context;
use crate::connect::Tried;
use crate::id::{CallId, ConId, ServerId};
use crate::identity::{NodeId, PublicKey};
use crate::time::Instant;
use crate::unl::{Forwarding, Place, Unl};
use crate::wire::proof::Ticket;
use crate::wire::rendezvous::Token;
use crate::wire::signal::{Body, Half};

#[derive(Debug)]
pub(super) struct CallInfo {
    pub(super) id: CallId,
    /// We call.
    pub(super) ours: bool,
    /// The other side; `None` for a UNL of version 2, which names nobody.
    pub(super) peer: Option<PublicKey>,
    /// The other side's.
    pub(super) unl: Option<Unl>,
    /// It is to replace a relayed link.
    pub(super) upgrade: Option<ConId>,
    pub(super) began: Instant,
    /// The server through which the two sides talk, once both are known to.
    pub(super) server: Option<ServerId>,
    /// A server of our own choice sees both sides at one address.
    pub(super) same_network: bool,
    /// What it has come to.
    pub(super) end: Option<CallEnd>,
}

/// What a call came to, other than a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CallEnd {
    /// Nothing more is to be said.
    Over,
    /// No rung led to the node.
    Failed(Vec<Tried>),
}

impl CallInfo {
    pub(super) fn new(
        id: CallId,
        ours: bool,
        peer: Option<PublicKey>,
        unl: Option<Unl>,
        began: Instant,
    ) -> Self {
        Self { id, ours, peer, unl, upgrade: None, began, server: None, same_network: false, end: None }
    }

    pub(super) fn node(&self) -> Option<NodeId> {
        self.peer.map(|key| key.id())
    }

    /// Whether the other side has had its router open its port.
    pub(super) fn is_mapped(&self) -> bool {
        let forwarding = self.unl.as_ref().map(Unl::forwarding);
        matches!(forwarding, Some(Forwarding::Upnp | Forwarding::NatPmp))
    }

    /// Whether the other side has this address in its own network, so that it comes by no router.
    pub(super) fn is_neighbour(&self, ip: IpAddr) -> bool {
        self.unl.as_ref().is_some_and(|unl| {
            unl.addresses().any(|address| address.place == Place::Lan && address.addr.ip() == ip)
        })
    }

    /// Whether what comes through the call's server is believed about addresses: we have chosen it.
    pub(super) fn is_trusted(&self, cx: &Context<'_, '_>) -> bool {
        self.server.is_some_and(|server| cx.around.servers.is_own(server))
    }

    /// The server through which the two of us talk, if that is it.
    pub(super) fn server_at(&self, addr: SocketAddr, cx: &Context<'_, '_>) -> Option<ServerId> {
        self.server.filter(|&server| cx.around.servers.addr_of(server) == Some(addr))
    }

    /// Says something to the other side; whether the server takes it.
    pub(super) fn signal(
        &self,
        server: ServerId,
        observed: Option<Token>,
        body: Body,
        unsent: Unsent,
        cx: &mut Context<'_, '_>,
    ) -> bool {
        self.node().is_some_and(|to| cx.signal(self.id, to, server, observed, body, unsent))
    }

    /// For the two of us to be relayed at this server in this call.
    pub(super) fn ticket(&self, server: SocketAddr, cx: &Context<'_, '_>) -> Option<Ticket> {
        let (own, peer) = (cx.shared.key.as_ref()?.public(), self.peer?);
        let (caller, callee) = if self.ours { (own, peer) } else { (peer, own) };
        Some(Ticket { server, session: *self.id.as_bytes(), caller, callee })
    }

    /// What we sign for that.
    pub(super) fn sign_ticket(&self, server: SocketAddr, cx: &Context<'_, '_>) -> Option<Half> {
        let sig = self.ticket(server, cx)?.sign(cx.shared.key.as_ref()?);
        Some(Half { server, sig })
    }
}
