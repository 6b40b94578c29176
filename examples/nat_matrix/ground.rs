//! The network of a cell: two rendezvous servers, and the two ends where they belong.

use std::io::Result;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::cells::{Layout, ROUND_TRIP, Site};
use crate::lab::{Filter, Host, Lab, Nat, Observer, Router};
use crate::peer::Server;

/// Where servers listen.
const PORT: u16 = 8000;

/// Everything that is built for a series of attempts.
pub(crate) struct Ground {
    pub(crate) lab: Lab,
    pub(crate) servers: Vec<Server>,
    places: Vec<Arc<Place>>,
    _neighbours: Vec<Neighbour>,
    _server_hosts: Vec<Host>,
}

/// Where an end is.
pub(crate) struct Place {
    pub(crate) host: Host,
    /// How the public segment sees it.
    pub(crate) outside: Ipv4Addr,
    home: Option<Router>,
    site: Site,
}

impl Ground {
    pub(crate) fn build(layout: Layout, busy: bool) -> Result<Ground> {
        let lab = Lab::new();
        let server_hosts = vec![lab.server(), lab.server()];
        let servers = server_hosts.iter().map(|host| Server::start(host, PORT)).collect::<Result<_>>()?;
        let places = match layout {
            Layout::Apart(left, right) => vec![Place::build(&lab, left), Place::build(&lab, right)],
            Layout::SameLan { nat, hairpin } => {
                let router = lab.router(nat, Filter::Drop);
                let router = if hairpin { router.hairpin() } else { router };
                let place = || Place::behind(&router, router.address(), Site::Home(nat, Filter::Drop));
                vec![place(), place()]
            }
            Layout::SameHost(site) => vec![Place::build(&lab, site)],
        };
        let places: Vec<_> = places.into_iter().map(Arc::new).collect();
        lab.delay(ROUND_TRIP / 2);
        let mut neighbours = Vec::new();
        if busy {
            let elsewhere = lab.server();
            let homes = places.iter().filter_map(|place| place.home.as_ref());
            let hosts: Vec<_> = homes.map(Router::host).collect();
            neighbours.push(Neighbour::start(elsewhere, hosts)?);
        }
        Ok(Ground { lab, servers, places, _neighbours: neighbours, _server_hosts: server_hosts })
    }

    /// The first end's place and the second's, which may be the same one.
    pub(crate) fn places(&self) -> [&Place; 2] {
        let first = &self.places[0];
        [first, self.places.get(1).unwrap_or(first)]
    }

    pub(crate) fn server_addrs(&self) -> Vec<SocketAddr> {
        self.servers.iter().map(Server::addr).collect()
    }

    /// From now on what servers send takes so much longer to a place, on the connections that nodes have to them by then:
    /// the signals. Not what nodes have measured until now, nor what they measure on connections of their own.
    pub(crate) fn delay_signals(&self, place: &Place, extra: Duration) {
        for addr in self.server_addrs() {
            if let SocketAddr::V4(addr) = addr {
                self.lab.delay_standing(*addr.ip(), place.outside, extra);
            }
        }
    }

    /// How many connections were begun towards the places' outer addresses, other than by servers, which try ports.
    pub(crate) fn through_the_router(&self) -> u64 {
        let servers: Vec<_> = self.server_addrs().iter().map(SocketAddr::ip).collect();
        let outer: Vec<_> = self.places.iter().map(|place| place.outside).collect();
        let counted = |from: Ipv4Addr, to: Ipv4Addr| outer.contains(&to) && !servers.contains(&from.into());
        let houses = self.places.iter().filter_map(|place| place.home.as_ref()).map(Router::house);
        // Two places of one house would be counted twice, and more than none is all that matters.
        let inside: u64 = houses.map(|house| house.openings(counted)).sum();
        inside + self.lab.openings(counted)
    }
}

impl Place {
    fn build(lab: &Lab, site: Site) -> Place {
        match site {
            Site::Public => {
                let host = lab.server();
                Place { outside: host.address(), host, home: None, site }
            }
            Site::Home(nat, filter) => {
                let router = lab.router(nat, filter);
                Place::behind(&router, router.address(), site)
            }
            Site::Forwarded => {
                let router = lab.router(Nat::Preserving, Filter::Drop);
                Place::behind(&router, router.address(), site)
            }
            Site::Mappable(mapping) => {
                let router = lab.router(Nat::Preserving, Filter::Drop).mapping(mapping);
                Place::behind(&router, router.address(), site)
            }
            Site::Carrier(nat) => {
                let carrier = lab.carrier(nat, Filter::Drop);
                let home = carrier.router(Nat::Preserving, Filter::Drop);
                Place::behind(&home, carrier.address(), site)
            }
        }
    }

    fn behind(router: &Router, outside: Ipv4Addr, site: Site) -> Place {
        Place { host: router.host(), outside, home: Some(router.clone()), site }
    }

    /// Whether its router can be asked for a port.
    pub(crate) fn is_mappable(&self) -> bool {
        matches!(self.site, Site::Mappable(_))
    }

    /// What its owner does for a node on this port.
    pub(crate) fn prepare(&self, port: u16) {
        if let (Site::Forwarded, Some(home)) = (self.site, &self.home) {
            home.forward(port, SocketAddrV4::new(self.host.address(), port));
        }
    }
}

/// Other people behind the same routers, who open one connection after the other: with a round trip of 50 ms some 20 in a
/// second each.
struct Neighbour {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Neighbour {
    fn start(elsewhere: Host, hosts: Vec<Host>) -> Result<Neighbour> {
        const PATIENCE: Duration = Duration::from_secs(1);
        let stop = Arc::<AtomicBool>::default();
        let observer = Arc::new(Observer::start(&elsewhere, 0)?);
        let elsewhere = Arc::new(elsewhere);
        let threads = hosts.into_iter().map(|host| {
            let (stop, observer, elsewhere) = (stop.clone(), observer.clone(), elsewhere.clone());
            thread::spawn(move || {
                let to = observer.address();
                host.inside(|| {
                    while !stop.load(Ordering::Relaxed) {
                        // That one was not answered in time is nothing to anybody.
                        drop(TcpStream::connect_timeout(&to, PATIENCE));
                    }
                });
                drop((observer, elsewhere));
            })
        });
        let threads = threads.collect();
        Ok(Neighbour { stop, threads })
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // That it panicked was already printed.
            _ = thread.join();
        }
    }
}
