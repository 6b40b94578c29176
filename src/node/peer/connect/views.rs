//! What calls see of other rooms.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::id::{CallId, ConId, ServerId};
use crate::identity::NodeId;
use crate::node::peer::Role;
use crate::node::peer::connections::Connections;
use crate::node::peer::links::{Handshaking, Link, Links};
use crate::node::peer::own_relays::OwnRelays;
use crate::node::peer::reach::Reaching;
use crate::node::peer::servers::Servers;
use crate::node::streams::Streams;
use crate::proto::admission::Admission;
use crate::proto::connect::{LinkView, RelayView, ServerView};
use crate::proto::dial::is_own;
use crate::time::Instant;
use crate::unl::Unl;

/// The rooms that calls look at.
#[derive(Clone, Copy)]
pub(in super::super) struct View<'a> {
    pub(in super::super) links: &'a Links,
    pub(in super::super) handshaking: &'a Handshaking,
    pub(in super::super) admission: &'a Admission,
    pub(in super::super) relays: &'a OwnRelays,
    pub(in super::super) servers: &'a Servers,
    pub(in super::super) reaching: &'a Reaching,
}

/// The links, and who would be let in.
pub(super) struct LinksSeen<'a> {
    pub(super) links: &'a Links,
    pub(super) handshaking: &'a Handshaking,
    pub(super) connections: &'a Connections,
    pub(super) streams: &'a Streams<Role>,
    pub(super) admission: &'a Admission,
    pub(super) now: Instant,
}

impl LinkView for LinksSeen<'_> {
    fn link_to(&self, node: NodeId) -> Option<ConId> {
        let is_open = |con: &ConId| {
            let connection = self.connections.get(*con);
            connection.is_some_and(|connection| self.streams.is_open(connection.writing))
        };
        self.links.to(node).filter(is_open)
    }

    fn is_relayed(&self, link: ConId) -> bool {
        self.links.is_relayed(link)
    }

    fn came_by(&self, link: ConId, call: CallId) -> bool {
        self.links.link(link).is_some_and(|link| link.calls.contains(&call))
    }

    fn unl_of(&self, link: ConId) -> Option<Unl> {
        self.links.link(link).and_then(|Link { unl, .. }| unl.clone())
    }

    fn is_handshaking(&self, node: NodeId) -> bool {
        self.handshaking.machine().is_about(node)
    }

    fn has_room(&self, ip: IpAddr) -> bool {
        self.admission.has_room(ip, self.now)
    }
}

/// The relays of the configuration, as far as we can come to them.
pub(super) struct RelaysSeen<'a> {
    pub(super) relays: &'a OwnRelays,
    pub(super) own: &'a [SocketAddr],
    pub(super) bind: Option<IpAddr>,
}

impl RelayView for RelaysSeen<'_> {
    fn has(&self, addr: SocketAddr) -> bool {
        self.relays.has(addr)
    }

    fn choose(&self, wished: Option<SocketAddr>) -> Option<SocketAddr> {
        let is_of_our_family =
            |addr: SocketAddr| self.bind.is_none_or(|bound| bound.is_ipv4() == addr.is_ipv4());
        let fits = |addr: SocketAddr| is_of_our_family(addr) && !is_own(self.own, addr);
        self.relays.choose(wished, fits)
    }
}

impl ServerView for Servers {
    fn own(&self) -> Vec<ServerId> {
        self.own_places().collect()
    }

    fn is_own(&self, server: ServerId) -> bool {
        Self::is_own(self, server)
    }

    fn have_none_of_our_own(&self) -> bool {
        Self::have_none_of_our_own(self)
    }

    fn addr_of(&self, server: ServerId) -> Option<SocketAddr> {
        Self::addr_of(self, server)
    }

    fn met_at(&self, server: ServerId) -> Option<SocketAddr> {
        Self::met_at(self, server)
    }

    fn seen_at(&self, server: ServerId) -> Option<SocketAddr> {
        Self::seen_at(self, server)
    }

    fn rtt_of(&self, server: ServerId) -> Option<Duration> {
        Self::rtt_of(self, server)
    }

    fn relays(&self, server: ServerId) -> bool {
        Self::relays(self, server)
    }

    fn observes(&self, server: ServerId) -> bool {
        Self::observes(self, server)
    }

    fn takes_signals(&self, server: ServerId) -> bool {
        Self::takes_signals(self, server)
    }
}
