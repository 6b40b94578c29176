//! A home router in process, on an address of loopback: UPnP (SSDP and HTTP) and NAT-PMP, with counters, a table of
//! mappings that can be looked at, and every bad habit that a real one will not show on demand.
//!
//! It brings nothing along but mio and ends, joined, when it is dropped. Ports 1900 and 5351 are fixed by the protocols,
//! so each router has an address of its own.
#![allow(dead_code)] // each program uses a part of it
#![allow(clippy::unwrap_used, clippy::disallowed_methods)] // a test that can not go on fails; it looks at a clock

mod http;
mod nat_pmp;
mod server;
mod ssdp;
mod upnp;

use std::collections::BTreeMap;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::Duration;

use mio::Waker;

/// Addresses that are tried before it is given up.
const TRIES: usize = 64;

/// What it does; all of it may be changed at any time.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(crate) ssdp: Ssdp,
    pub(crate) http: Http,
    pub(crate) framing: Framing,
    pub(crate) writing: Writing,
    pub(crate) control_url: ControlUrl,
    pub(crate) leases: Leases,
    /// So many times it says 718, whatever it is asked for.
    pub(crate) conflicts: u32,
    /// It says this UPnP error to whatever it is asked to add.
    pub(crate) refusal: Option<u16>,
    /// It says of its errors what they are, not only their numbers.
    pub(crate) is_eloquent: bool,
    /// It can be asked for one entry; otherwise only for all of them, one by one.
    pub(crate) has_specific_entry: bool,
    /// It answers what it is asked of a port that leads nowhere with an entry of this port and client, not with an error.
    pub(crate) free_entry: Option<(&'static str, &'static str)>,
    /// It forgets what it says it has deleted or added.
    pub(crate) is_forgetful: bool,
    /// Its table shows this for each client.
    pub(crate) shows_client: Option<&'static str>,
    /// It takes who asks for this client.
    pub(crate) takes_us_for: Option<Ipv4Addr>,
    /// It has services before the one that works, with these external addresses, that forward nothing.
    pub(crate) dead_services: Vec<IpAddr>,
    /// The dead ones are on devices of their own, each with its own description.
    pub(crate) has_many_devices: bool,
    /// It describes what it is asked to add by words of its own.
    pub(crate) describes_as: Option<String>,
    /// What it says its external address is, by both protocols; by NAT-PMP only IPv4.
    pub(crate) external: IpAddr,
    pub(crate) nat_pmp: NatPmp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ssdp {
    Normal,
    Silent,
    /// What is not even text, what is no answer, and what leads nowhere come first.
    GarbageFirst,
    /// A LOCATION with an IPv6 address comes first.
    Ipv6First,
    /// Its LOCATION names another host.
    Elsewhere(Ipv4Addr),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Http {
    Normal,
    /// Each answer takes so long.
    Slow(Duration),
    /// Accepts, reads, and says nothing.
    Hung,
    /// Bodies never end.
    Endless,
}

/// How the end of an answer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length,
    /// In chunks, also to who speaks HTTP/1.0.
    Chunks,
    /// By the end of the connection.
    End,
}

/// How it writes what should be XML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    Proper,
    /// `&` for itself.
    RawAmpersand,
    /// An element that is closed by another name.
    WrongEnd,
    TrailingNul,
    LeadingBlank,
    /// A letter of Latin-1, which is not said.
    Latin1,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ControlUrl {
    Rooted,
    Relative,
    Absolute,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leases {
    Any,
    /// 725 to limited ones.
    OnlyPermanent,
    /// 402 to permanent ones.
    OnlyLimited,
    /// 402 to both.
    Neither,
    /// 501 to limited ones.
    LimitedFail,
    /// Longer ones are silently cut to so many seconds.
    UpTo(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NatPmp {
    Normal,
    Silent,
    /// RFC 6886 section 3.5.
    ResultCode(u16),
    WrongVersion,
    /// Assigns the port after the one that is asked for.
    OtherPort,
    /// Answers for another internal port.
    WrongPort,
    /// Answers end after so many bytes.
    Truncated(usize),
    /// Does not hear the first datagram of each request.
    Deaf,
}

/// How often it was asked for what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) search: u32,
    pub(crate) description: u32,
    pub(crate) external_address: u32,
    pub(crate) add: u32,
    pub(crate) delete: u32,
    pub(crate) specific_entry: u32,
    pub(crate) generic_entry: u32,
    /// Of HTTP, and nothing that it knows.
    pub(crate) unknown: u32,
    pub(crate) pmp_address: u32,
    pub(crate) pmp_map: u32,
    pub(crate) pmp_unmap: u32,
    /// On the port of NAT-PMP, and nothing that it knows.
    pub(crate) pmp_unknown: u32,
}

/// An entry of its table; all are TCP's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) external: u16,
    pub(crate) internal: SocketAddrV4,
    /// In seconds; 0: permanent.
    pub(crate) lease: u32,
    pub(crate) description: String,
}

/// The router; dropped, it is no more.
#[derive(Debug)]
pub(crate) struct FakeRouter {
    ip: Ipv4Addr,
    shared: Arc<Mutex<Shared>>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What the handle and the thread share.
#[derive(Debug)]
struct Shared {
    behaviour: Behaviour,
    counts: Counts,
    table: BTreeMap<u16, Mapping>,
    wish: Wish,
}

/// What the thread is to do beside answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    None,
    Restart,
    End,
}

impl FakeRouter {
    /// A router that behaves, somewhere in 127.0.0.0/8. Fails where that is not ours as a whole, as on anything but
    /// Linux.
    pub(crate) fn start() -> io::Result<Self> {
        let mut result = Err(io::ErrorKind::AddrInUse.into());
        for _ in 0..TRIES {
            result = Self::start_at(random_address());
            if result.is_ok() {
                break;
            }
        }
        result
    }

    fn start_at(ip: Ipv4Addr) -> io::Result<Self> {
        let shared = Arc::new(Mutex::new(Shared {
            behaviour: Behaviour::default(),
            counts: Counts::default(),
            table: BTreeMap::new(),
            wish: Wish::None,
        }));
        let (server, waker) = server::Server::new(ip, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new().name("fake router".into()).spawn(move || server.run())?;
        Ok(Self { ip, shared, waker, thread: Some(thread) })
    }

    pub(crate) fn ip(&self) -> Ipv4Addr {
        self.ip
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut lock(&self.shared).behaviour);
    }

    pub(crate) fn counts(&self) -> Counts {
        lock(&self.shared).counts
    }

    /// The table, by external port.
    pub(crate) fn mappings(&self) -> Vec<Mapping> {
        lock(&self.shared).table.values().cloned().collect()
    }

    /// As if somebody else had asked for it.
    pub(crate) fn put_mapping(&self, mapping: Mapping) {
        lock(&self.shared).table.insert(mapping.external, mapping);
    }

    pub(crate) fn forget_mappings(&self) {
        lock(&self.shared).table.clear();
    }

    /// Restarts: nothing is mapped, and HTTP is at another port, the old one refuses. It is done when SSDP tells of the
    /// new one.
    pub(crate) fn restart(&self) {
        self.tell(Wish::Restart);
    }

    fn tell(&self, wish: Wish) {
        lock(&self.shared).wish = wish;
        self.waker.wake().unwrap();
    }
}

impl Drop for FakeRouter {
    fn drop(&mut self) {
        self.tell(Wish::End);
        if let Some(thread) = self.thread.take() {
            // Its panic was printed; a second one, while the test's own unwinds, would hide that.
            let _ = thread.join();
        }
    }
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            ssdp: Ssdp::Normal,
            http: Http::Normal,
            framing: Framing::Length,
            writing: Writing::Proper,
            control_url: ControlUrl::Rooted,
            leases: Leases::Any,
            conflicts: 0,
            refusal: None,
            is_eloquent: true,
            has_specific_entry: true,
            free_entry: None,
            is_forgetful: false,
            shows_client: None,
            takes_us_for: None,
            dead_services: Vec::new(),
            has_many_devices: false,
            describes_as: None,
            // What looks public, and is nobody's: a block of documentation would count as not public.
            external: Ipv4Addr::new(11, 22, 33, 44).into(),
            nat_pmp: NatPmp::Normal,
        }
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// In 127.128.0.0/9, far from what other tests use.
fn random_address() -> Ipv4Addr {
    let [a, b, c, ..] = RandomState::new().build_hasher().finish().to_be_bytes();
    Ipv4Addr::new(127, 128 | a, b, c.clamp(1, 254))
}
