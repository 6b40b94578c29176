//! A UNL in the making.

use std::net::{Ipv4Addr, SocketAddr};

use super::{Fields, Forwarding, Place, Unl, UnlAddress, UnlError, server, version2, version3};
use crate::identity::{Key, NodeId};
use crate::reach::{NatKind, NodeType};

/// A [`Unl`] in the making: from [`Unl::builder`] to [`sign`](UnlBuilder::sign) or [`version2`](UnlBuilder::version2).
#[derive(Clone, Debug)]
pub struct UnlBuilder {
    node_type: NodeType,
    nat: Option<NatKind>,
    forwarding: Forwarding,
    addresses: Vec<UnlAddress>,
    servers: Vec<String>,
}

impl UnlBuilder {
    pub(super) fn new(node_type: NodeType) -> Self {
        Self {
            node_type,
            nat: None,
            forwarding: Forwarding::None,
            addresses: Vec::new(),
            servers: Vec::new(),
        }
    }

    /// How its NAT chooses ports. Defaults to unknown.
    pub fn nat(mut self, kind: NatKind) -> Self {
        self.nat = Some(kind);
        self
    }

    /// Who has opened its port. Defaults to [`Forwarding::None`].
    pub fn forwarding(mut self, forwarding: Forwarding) -> Self {
        self.forwarding = forwarding;
        self
    }

    /// Adds an address at which the outside sees it. What is added first is to be tried first.
    pub fn wan(mut self, addr: SocketAddr) -> Self {
        self.addresses.push(UnlAddress::new(Place::Wan, addr));
        self
    }

    /// Adds an address that it has in its own network.
    pub fn lan(mut self, addr: SocketAddr) -> Self {
        self.addresses.push(UnlAddress::new(Place::Lan, addr));
        self
    }

    /// Adds a rendezvous server through which it takes signals, as `HOST:PORT`. What is added first is preferred.
    pub fn server(mut self, server: impl Into<String>) -> Self {
        self.servers.push(server.into());
        self
    }

    /// The UNL in version 3, signed by its node's key.
    ///
    /// Fails when there are too many addresses or servers, when a server is no `HOST:PORT`, when a delta is 0, or when it
    /// is too long as a whole.
    pub fn sign(self, key: &Key) -> Result<Unl, UnlError> {
        let servers = self.servers.iter().map(|server| server::normal(server));
        let fields = Fields {
            version: 3,
            key: Some(key.public()),
            claimed_id: None,
            node_type: self.node_type,
            nat: self.nat,
            forwarding: self.forwarding,
            servers: servers.collect::<Result<_, _>>()?,
            addresses: self.addresses,
            skipped: 0,
        };
        let text = version3::print(&version3::write(&fields, key)?);
        Ok(Unl::new(text, fields))
    }

    /// The UNL in version 2, for pyp2p. The id is a number in pyp2p's distributed hash table, if it has one.
    ///
    /// It takes the first IPv4 address of the outside with its port, and the first one of the inside; when there is none
    /// of the inside, the one of the outside again, which is right for a host without NAT. All the rest can not be said.
    /// Fails when there is no IPv4 address of the outside.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use p2poll::{Forwarding, NatKind, NodeType, Unl};
    ///
    /// let id = "000102030405060708090a0b0c0d0e0f10111213".parse()?;
    /// let unl = Unl::builder(NodeType::Passive)
    ///     .nat(NatKind::Preserving)
    ///     .forwarding(Forwarding::Upnp)
    ///     .wan("203.0.113.7:44444".parse()?)
    ///     .lan("192.168.0.45:44444".parse()?)
    ///     .version2(Some(id))?;
    /// assert_eq!(unl.to_string(), "AgABAgMEBQYHCAkKCwwNDg8QERITcGdVnK0HcQDLLQCowGEATmo=");
    /// # Ok(())
    /// # }
    /// ```
    pub fn version2(self, id: Option<NodeId>) -> Result<Unl, UnlError> {
        let outside = self.first_v4(Place::Wan);
        let outside =
            outside.ok_or(UnlError::field("address", "version 2 needs an IPv4 address of the outside"))?;
        let inside = self.first_v4(Place::Lan).unwrap_or(outside);
        let contents = version2::Contents {
            id: id.map_or([0; NodeId::LENGTH], |id| *id.as_bytes()),
            node_type: self.node_type,
            nat: self.nat,
            forwarding: self.forwarding,
            port: outside.1,
            wan: outside.0,
            lan: inside.0,
        };
        let text = version2::print(&version2::seal(&version2::write(&contents)));
        Ok(Unl::new(text, contents.into_fields()))
    }

    fn first_v4(&self, place: Place) -> Option<(Ipv4Addr, u16)> {
        self.addresses.iter().filter(|address| address.place == place).find_map(|address| {
            match address.addr {
                SocketAddr::V4(addr) => Some((*addr.ip(), addr.port())),
                SocketAddr::V6(_) => None,
            }
        })
    }
}
