//! A router: whom it lets out and in, and when it forgets.

use std::net::IpAddr;
use std::time::Duration;

use super::topology::Realm;
use crate::sim::nat::{Flow, NatBox};
use crate::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::sim) struct RouterId(pub(super) usize);

#[derive(Debug)]
pub(in crate::sim) struct Router {
    pub(super) ip: IpAddr,
    pub(super) realm: Realm,
    /// From here to the middle of the internet, or to the router that it is behind.
    pub(in crate::sim) delay: Duration,
    pub(in crate::sim) nat: NatBox,
}

/// A connection has been translated by a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Passage {
    pub(super) router: RouterId,
    pub(super) flow: Flow,
    /// The external port.
    pub(super) port: u16,
}

/// What has become of a session at the time at which it was to be forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    Forgotten,
    /// It was used meanwhile.
    At(Instant),
    /// It is no more, or sessions are kept for good.
    Never,
}

impl Router {
    /// The external port of what goes out, and whether the session is new; `None`: it cannot go out here.
    pub(super) fn leave(&mut self, flow: Flow, now: Instant) -> Option<(u16, bool)> {
        if self.ip.is_ipv4() != flow.remote.is_ipv4() {
            return None;
        }
        let is_new = self.nat.port_of(flow).is_none();
        let port = self.nat.leave(flow, now)?;
        Some((port, is_new))
    }

    /// A session is forgotten if its time has come.
    pub(super) fn expire(&mut self, flow: Flow, now: Instant) -> Expiry {
        match self.nat.expires_at(flow) {
            Some(at) if at <= now => {
                self.nat.forget(flow);
                Expiry::Forgotten
            }
            Some(at) => Expiry::At(at),
            None => Expiry::Never,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;
    use crate::sim::nat::{Filter, Nat};

    #[test]
    fn a_session_is_forgotten_when_its_time_has_come_unless_it_was_used() {
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let nat = NatBox::new(Nat::Preserving, Filter::Drop, Random::from_number(1));
        let ip = "192.0.2.1".parse().unwrap();
        let mut router = Router { ip, realm: None, delay: Duration::ZERO, nat };
        let flow =
            Flow { inner: "192.168.1.2:4000".parse().unwrap(), remote: "198.51.100.1:80".parse().unwrap() };
        assert_eq!(router.leave(flow, at(0)), Some((4000, true)));
        assert_eq!(router.leave(flow, at(1)), Some((4000, false)));
        assert_eq!(router.expire(flow, at(100)), Expiry::Never);
        router.nat.expiry = Some(Duration::from_secs(60));
        assert_eq!(router.expire(flow, at(60)), Expiry::At(at(61)));
        assert_eq!(router.expire(flow, at(61)), Expiry::Forgotten);
        assert_eq!(router.expire(flow, at(61)), Expiry::Never);
        assert_eq!(router.nat.port_of(flow), None);
        let remote = "[2001:db8::1]:80".parse().unwrap();
        assert_eq!(router.leave(Flow { remote, ..flow }, at(62)), None, "it translates one family");
    }
}
