//! Machines at the ends: servers on the public segment, and hosts in houses.

use std::io::Result;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;

use super::router::{Place, Router};
use super::segment::Plug;
use super::space::Space;

/// A machine with one interface, `eth0`, and one address. It is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Host {
    // Pulled before the router behind it may go.
    plug: Option<Plug>,
    space: Arc<Space>,
    address: Ipv4Addr,
    place: Place,
}

impl Host {
    /// A new machine in a place.
    pub(crate) fn new(place: Place) -> Result<Host> {
        let space = Arc::new(Space::new()?);
        let mut host = Host { plug: None, space, address: Ipv4Addr::UNSPECIFIED, place };
        host.plug_in()?;
        Ok(host)
    }

    /// Its address.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Its IPv6 address, if it has one.
    pub(crate) fn address6(&self) -> Option<Ipv6Addr> {
        self.place.segment.address6(self.address).map(|(address, _)| address)
    }

    /// A program that will run on this machine, and that is killed when the thread that starts it ends, in whatever
    /// way.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.space.command(program)
    }

    /// The words that go before a command line to run it on this machine.
    pub(crate) fn entrance(&self) -> Vec<String> {
        self.space.entrance()
    }

    /// Runs `work` on this machine. Sockets that it opens stay there, wherever they are used later.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.space.inside(work)
    }

    /// Pulls the cable: the interface is gone, and its address with it.
    pub(crate) fn unplug(&mut self) {
        if let Some(plug) = self.plug.take() {
            // At once, because the next one takes its name, and the segment may be reading from this one just now.
            self.space.ip("link delete dev eth0\n").expect("an interface can be removed");
            drop(plug);
        }
    }

    /// Carries the machine to another house, where it gets another address.
    pub(crate) fn move_to(&mut self, router: &Router) {
        self.unplug();
        self.place = router.inside();
        self.plug_in().expect("a machine can be plugged in");
    }

    /// Gives it another address in the same place.
    pub(crate) fn readdress(&mut self) {
        self.unplug();
        self.plug_in().expect("a machine can be plugged in");
    }

    /// The namespace that it is in.
    pub(crate) fn space(&self) -> &Arc<Space> {
        &self.space
    }

    fn plug_in(&mut self) -> Result<()> {
        self.address = self.place.assign();
        self.plug = Some(self.space.attach("eth0", &self.place.segment, self.address)?);
        let Some(router) = &self.place.router else { return Ok(()) };
        let mut routes = format!("route add default via {}\n", router.gateway());
        if let (Some(gateway), Some(address)) = (router.gateway6(), self.address6()) {
            routes.push_str(&format!("route add ::/0 via {gateway} dev eth0\n"));
            router.announce(address)?;
        }
        self.space.ip(&routes)
    }
}
