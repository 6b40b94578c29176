//! Home routers: the kernel's, with a real mapping daemon, or one in this process.

use std::io::{Error, Result};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::daemon::Daemon;
use super::host::Host;
use super::segment::{End, Plug, Segment};
use super::space::Space;
use super::translator::{Side, Translator, Uplink};
use super::{Filter, Mapping, Nat};

/// A router with a house behind it. Its clones are the same router, and every host of the house keeps it running.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    inner: Arc<Inner>,
}

/// Where something is plugged in: the public segment, or a router's house.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) segment: Arc<Segment>,
    pub(crate) router: Option<Router>,
}

#[derive(Debug)]
struct Inner {
    nat: Nat,
    address: Ipv4Addr,
    machine: Machine,
    house: Arc<Segment>,
    above: Place,
}

#[derive(Debug)]
enum Machine {
    Kernel(Kernel),
    Translator(Arc<Translator>),
}

#[derive(Debug)]
struct Kernel {
    // Killed before the network that it is in goes.
    daemon: Mutex<Option<Daemon>>,
    wished: Mutex<Option<(Mapping, String)>>,
    forwards: Mutex<Vec<(u16, SocketAddrV4)>>,
    filter: Filter,
    space: Arc<Space>,
    _plugs: [Plug; 2],
}

impl Router {
    /// Plugs a new router in, with an empty house of this network behind it.
    pub(crate) fn new(above: Place, nat: Nat, filter: Filter, house: (Ipv4Addr, u8)) -> Result<Router> {
        let address = above.segment.assign(Place::ROUTERS);
        // In a house within a house it would take more than this laboratory needs.
        let six = above.segment.address6(address).filter(|_| above.router.is_none() && nat.is_kernels());
        let house = Arc::new(Segment::new(house, six.map(|(address, _)| Place::house_six(address)))?);
        let machine = if nat.is_kernels() {
            Machine::Kernel(Kernel::new(&above, address, &house, nat, filter)?)
        } else {
            let uplink = Uplink::new(address, &above.segment, above.gateway());
            let translator = Arc::new(Translator::new(nat, filter, uplink, house.address(Place::GATEWAY)));
            let wan = above.segment.plug(End::Translator(translator.clone(), Side::Wan));
            let lan = house.plug(End::Translator(translator.clone(), Side::Lan));
            translator.connect(wan, lan);
            Machine::Translator(translator)
        };
        Ok(Router { inner: Arc::new(Inner { nat, address, machine, house, above }) })
    }

    /// Lets hosts of the house ask for ports. Only the kernel's routers can.
    pub(crate) fn mapping(self, mapping: Mapping) -> Router {
        self.mapping_with(mapping, "")
    }

    /// The same, with more lines for miniupnpd's settings.
    pub(crate) fn mapping_with(self, mapping: Mapping, settings: &str) -> Router {
        let kernel = self.kernel().expect("miniupnpd needs a router of the kernel's");
        *lock(&kernel.wished) = Some((mapping, settings.to_owned()));
        kernel.start_daemon(self.gateway()).expect("miniupnpd starts");
        self
    }

    /// Lets hosts of the house reach each other through the outer address. Not the kernel's routers.
    pub(crate) fn hairpin(self) -> Router {
        self.translator().hairpin();
        self
    }

    /// Lets everybody in at a port that a host has sent from, whomever it has sent to. Not the kernel's routers.
    pub(crate) fn full_cone(self) -> Router {
        self.translator().full_cone();
        self
    }

    /// Forwards a port by hand, as people do in their router's web page.
    pub(crate) fn forward(&self, port: u16, to: SocketAddrV4) {
        match &self.inner.machine {
            Machine::Translator(translator) => translator.forward(port, to),
            Machine::Kernel(kernel) => {
                lock(&kernel.forwards).push((port, to));
                let rule = format!("add rule inet natlab prerouting {}", forward_rule(port, to));
                kernel.space.nft(&rule).expect("a rule can be added");
            }
        }
    }

    /// Switches it off and on: what hosts have mapped and what connections it knew is forgotten; what was forwarded
    /// by hand stays. A mapping daemon comes back on another port.
    pub(crate) fn restart(&self) {
        match &self.inner.machine {
            Machine::Translator(translator) => translator.restart(),
            Machine::Kernel(kernel) => {
                kernel.stop_daemon();
                kernel.rules(self.inner.nat).expect("the rules can be written again");
                kernel.space.feed(Command::new("conntrack").arg("-F"), "").expect("conntrack can flush");
                kernel.start_daemon(self.gateway()).expect("miniupnpd starts");
            }
        }
    }

    /// Ends the mapping daemon alone; what it has mapped may stay or go, as it likes.
    pub(crate) fn kill_daemon(&self) {
        if let Some(kernel) = self.kernel() {
            kernel.stop_daemon();
        }
    }

    /// A host in the house.
    pub(crate) fn host(&self) -> Host {
        Host::new(self.inside()).expect("a host can be built")
    }

    /// A router in the house, with a house of its own behind it.
    pub(crate) fn router(&self, nat: Nat, filter: Filter) -> Router {
        // Somebody's own two routers must differ, or nothing behind the inner one could reach the outer.
        let taken = self.inner.house.address(0) == Place::HOME.0;
        let house = if taken { Place::HOME_IN_HOME } else { Place::HOME };
        Router::new(self.inside(), nat, filter, house).expect("a router can be built")
    }

    /// Its address outside.
    pub(crate) fn address(&self) -> Ipv4Addr {
        self.inner.address
    }

    /// Its address in the house.
    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.inner.house.address(Place::GATEWAY)
    }

    /// The same in IPv6, if there is any.
    pub(crate) fn gateway6(&self) -> Option<Ipv6Addr> {
        self.inner.house.address6(self.gateway()).map(|(address, _)| address)
    }

    /// Answers outside for a machine in the house, whose IPv6 address is as public as the router's.
    pub(crate) fn announce(&self, address: Ipv6Addr) -> Result<()> {
        let space = self.space().ok_or_else(|| Error::other("only the kernel's routers have IPv6"))?;
        space.ip(&format!("neigh replace proxy {address} dev wan0\n"))
    }

    /// The house's network, to slow it down or to lose frames in it.
    pub(crate) fn house(&self) -> &Segment {
        &self.inner.house
    }

    /// The namespace that it is in, if it is one of the kernel's.
    pub(crate) fn space(&self) -> Option<&Arc<Space>> {
        self.kernel().map(|kernel| &kernel.space)
    }

    /// What its mapping daemon has printed.
    pub(crate) fn daemon_log(&self) -> String {
        self.kernel().and_then(|kernel| lock(&kernel.daemon).as_ref().map(Daemon::log)).unwrap_or_default()
    }

    /// The place behind it.
    pub(crate) fn inside(&self) -> Place {
        Place { segment: self.inner.house.clone(), router: Some(self.clone()) }
    }

    fn translator(&self) -> &Translator {
        match &self.inner.machine {
            Machine::Translator(translator) => translator,
            Machine::Kernel(_) => {
                panic!("the kernel's routers cannot do that: take a `Nat` that is not the kernel's")
            }
        }
    }

    fn kernel(&self) -> Option<&Kernel> {
        match &self.inner.machine {
            Machine::Kernel(kernel) => Some(kernel),
            Machine::Translator(_) => None,
        }
    }
}

impl Place {
    /// What homes have, nearly all of them the same.
    pub(crate) const HOME: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 168, 1, 0), 24);
    /// A home that is plugged into such a one.
    pub(crate) const HOME_IN_HOME: (Ipv4Addr, u8) = (Ipv4Addr::new(192, 168, 2, 0), 24);
    /// What carriers use between themselves and homes (RFC 6598).
    pub(crate) const CARRIER: (Ipv4Addr, u8) = (Ipv4Addr::new(100, 64, 0, 0), 16);
    /// The public segment. miniupnpd maps nothing on reserved addresses, so it looks like a part of the Internet; no
    /// frame leaves the namespaces.
    pub(crate) const PUBLIC: (Ipv4Addr, u8) = (Ipv4Addr::new(11, 0, 0, 0), 16);

    /// And in IPv6, with all houses in it.
    pub(crate) const PUBLIC_SIX: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2600, 0x11, 0, 0, 0, 0, 0, 0), 32);

    /// A house's part of it, by its router's address.
    fn house_six(router: Ipv6Addr) -> (Ipv6Addr, u8) {
        let [.., number] = router.segments();
        (Ipv6Addr::new(0x2600, 0x11, number, 0, 0, 0, 0, 0), 64)
    }

    /// The number of a house's router in the house.
    const GATEWAY: u32 = 1;
    /// Of the first router that is plugged in somewhere.
    const ROUTERS: u32 = 256 + 1;

    /// An address for the next machine: after the router's in a house, from the first one on outside.
    pub(crate) fn assign(&self) -> Ipv4Addr {
        self.segment.assign(if self.router.is_some() { Place::GATEWAY + 1 } else { 1 })
    }

    /// Who takes what goes further.
    pub(crate) fn gateway(&self) -> Option<Ipv4Addr> {
        self.router.as_ref().map(Router::gateway)
    }
}

impl Kernel {
    fn new(above: &Place, address: Ipv4Addr, house: &Segment, nat: Nat, filter: Filter) -> Result<Kernel> {
        let space = Arc::new(Space::new()?);
        space.set("net/ipv4/ip_forward", "1")?;
        let wan = space.attach("wan0", &above.segment, address)?;
        let lan = space.attach("lan0", house, house.address(Place::GATEWAY))?;
        if house.address6(house.address(Place::GATEWAY)).is_some() {
            space.set("net/ipv6/conf/all/forwarding", "1")?;
            space.set("net/ipv6/conf/wan0/proxy_ndp", "1")?;
            // Or its first answer takes the better part of a second.
            space.set("net/ipv6/neigh/wan0/proxy_delay", "0")?;
        }
        if let Some(gateway) = above.gateway() {
            space.ip(&format!("route add default via {gateway}\n"))?;
        }
        let kernel = Kernel {
            daemon: Mutex::new(None),
            wished: Mutex::new(None),
            forwards: Mutex::new(Vec::new()),
            filter,
            space,
            _plugs: [wan, lan],
        };
        kernel.rules(nat)?;
        Ok(kernel)
    }

    /// All rules anew. nft wants each statement on a line of its own.
    fn rules(&self, nat: Nat) -> Result<()> {
        // What is for the router itself, and what is for a host by its own address, as in IPv6.
        let (unsolicited, untranslated) = match self.filter {
            Filter::Drop => ("iifname wan0 drop", ""),
            Filter::Reject => {
                let reject = "iifname wan0 meta l4proto tcp reject with tcp reset";
                (reject, reject)
            }
            Filter::Open => ("", "meta nfproto ipv6 accept"),
        };
        let random = if nat == Nat::Random { "random" } else { "" };
        let forwards = lock(&self.forwards);
        let forwards: Vec<_> = forwards.iter().map(|(port, to)| forward_rule(*port, *to)).collect();
        let forwards = forwards.join("\n");
        self.space.nft(&format!(
            "flush ruleset
            table inet natlab {{
                chain input {{
                    type filter hook input priority 0; policy accept;
                    ct state established,related accept
                    meta l4proto ipv6-icmp accept
                    {unsolicited}
                }}
                chain forward {{
                    type filter hook forward priority 0; policy drop;
                    ct state established,related accept
                    iifname lan0 accept
                    ct status dnat accept
                    jump miniupnpd
                    {untranslated}
                }}
                chain prerouting {{
                    type nat hook prerouting priority -100; policy accept;
                    jump prerouting_miniupnpd
                    {forwards}
                }}
                chain postrouting {{
                    type nat hook postrouting priority 100; policy accept;
                    jump postrouting_miniupnpd
                    meta nfproto ipv4 oifname wan0 masquerade {random}
                }}
                chain miniupnpd {{ }}
                chain prerouting_miniupnpd {{ }}
                chain postrouting_miniupnpd {{ }}
            }}\n"
        ))
    }

    fn start_daemon(&self, lan: Ipv4Addr) -> Result<()> {
        let Some((mapping, settings)) = lock(&self.wished).clone() else { return Ok(()) };
        let mut daemon = lock(&self.daemon);
        if daemon.is_some() {
            return Err(Error::other("it runs already"));
        }
        *daemon = Some(Daemon::start(&self.space, mapping, lan, &settings)?);
        Ok(())
    }

    fn stop_daemon(&self) {
        *lock(&self.daemon) = None;
    }
}

fn forward_rule(port: u16, to: SocketAddrV4) -> String {
    format!("iifname wan0 meta l4proto {{ tcp, udp }} th dport {port} dnat ip to {to}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
