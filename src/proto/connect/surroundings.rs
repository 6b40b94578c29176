//! What the machine sees of the rest of the node.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use crate::id::{CallId, ConId, ServerId};
use crate::identity::NodeId;
use crate::note::Notes;
use crate::proto::budget::{Budget, Class};
use crate::proto::dial::{is_dialable, is_own};
use crate::proto::household::household;
use crate::reach::Reach;
use crate::unl::{Place, Unl};

/// The rendezvous servers, as calls see them.
pub(crate) trait ServerView {
    /// Those of our own choice.
    fn own(&self) -> Vec<ServerId>;
    fn is_own(&self, server: ServerId) -> bool;
    /// The application has named none, so that all are there for a UNL.
    fn have_none_of_our_own(&self) -> bool;
    /// The server's end of its present session, as it was dialled.
    fn addr_of(&self, server: ServerId) -> Option<SocketAddr>;
    /// Its address, as it was dialled the last time; a server of pyp2p's is left between two questions.
    fn met_at(&self, server: ServerId) -> Option<SocketAddr>;
    /// Our address, as it sees the connection that signals go over.
    fn seen_at(&self, server: ServerId) -> Option<SocketAddr>;
    /// How long it takes to the server and back.
    fn rtt_of(&self, server: ServerId) -> Option<Duration>;
    fn relays(&self, server: ServerId) -> bool;
    /// Whether it tells how it sees a port, and can say so to the other side.
    fn observes(&self, server: ServerId) -> bool;
    /// Whether it takes a signal on now.
    fn takes_signals(&self, server: ServerId) -> bool;
}

/// The node links, as calls see them.
pub(crate) trait LinkView {
    /// The link to this node that the application sees.
    fn link_to(&self, node: NodeId) -> Option<ConId>;
    fn is_relayed(&self, link: ConId) -> bool;
    /// Whether it came about by this call.
    fn came_by(&self, link: ConId, call: CallId) -> bool;
    fn unl_of(&self, link: ConId) -> Option<Unl>;
    /// Whether it is being found out of a connection whether it leads to this node.
    fn is_handshaking(&self, node: NodeId) -> bool;
    /// Whether a connection from this address would be let in.
    fn has_room(&self, ip: IpAddr) -> bool;
}

/// The relays of the configuration.
pub(crate) trait RelayView {
    fn has(&self, addr: SocketAddr) -> bool;
    /// The one at this address, if there is one, or else the first.
    fn choose(&self, wished: Option<SocketAddr>) -> Option<SocketAddr>;
}

/// What is known of this node itself.
#[derive(Debug)]
pub(crate) struct Local<'a> {
    pub(crate) reach: &'a Reach,
    pub(crate) unl: Option<&'a Unl>,
    /// Its addresses, never to be dialled.
    pub(crate) own: &'a [SocketAddr],
    /// Where it listens in its own network.
    pub(crate) lan: Vec<SocketAddr>,
    pub(crate) listens: bool,
    /// Where it is bound to: nothing of the other family can be dialled.
    pub(crate) bind: Option<IpAddr>,
}

/// All that, and what is shared with others.
pub(crate) struct Surroundings<'a> {
    pub(crate) servers: &'a dyn ServerView,
    pub(crate) links: &'a dyn LinkView,
    pub(crate) relays: &'a dyn RelayView,
    pub(crate) local: Local<'a>,
    pub(crate) budget: &'a mut Budget,
    pub(crate) notes: &'a mut Notes,
}

impl Local<'_> {
    /// Where a node can be reached, from outside or in its own network: what can not be outside is left alone.
    pub(super) fn addresses(&self, unl: &Unl, place: Place) -> Vec<SocketAddr> {
        let is_ours = |addr: SocketAddr| is_own(self.own, addr) || is_own(&self.lan, addr);
        let fits = |addr: &SocketAddr| self.bind.is_none_or(|bound| bound.is_ipv4() == addr.is_ipv4());
        unl.addresses()
            .filter(|address| address.place == place)
            .filter(|address| match place {
                Place::Wan => address.oddity().is_none(),
                // A node that listens on loopback only is one on this computer.
                Place::Lan => true,
            })
            .map(|address| address.addr)
            .filter(|&addr| is_dialable(addr) && !is_ours(addr))
            .filter(fits)
            .collect()
    }
}

impl Surroundings<'_> {
    /// Whether a server sees this address where it sees us: only then are addresses that mean something in one network only
    /// dialled. It has to be a server of our own choice. Who has chosen none has chosen the UNL, and its servers with it.
    pub(super) fn is_same_network(&self, server: ServerId, seen: SocketAddr) -> bool {
        let believed = self.servers.is_own(server) || self.servers.have_none_of_our_own();
        let ours = self.servers.seen_at(server).filter(|_| believed);
        ours.is_some_and(|ours| household(ours.ip()) == household(seen.ip()))
    }

    /// It is a server indeed, and no third party.
    pub(super) fn handle_visited(&mut self, server: ServerId) {
        if let Some(addr) = self.servers.addr_of(server).filter(|_| !self.servers.is_own(server)) {
            self.budget.give_back(addr, Class::Claimed, u32::MAX);
        }
    }

    /// Its own servers' word, in the order of the configuration: the first that has been met.
    pub(super) fn met_own(&self) -> Option<ServerId> {
        self.servers.own().into_iter().find(|&server| self.servers.met_at(server).is_some())
    }
}
