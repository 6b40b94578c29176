//! A rendezvous server that runs as long as a test needs it: p2poll's, or pyp2p's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use p2poll::RendezvousConfig;

use crate::Street;
use crate::driver::{Driver, Python};

/// A server at the first house of a street. It ends with this value, also when the test panics.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    keeper: Keeper,
}

#[derive(Debug)]
enum Keeper {
    /// Only kept, for its end is the server's.
    Ours {
        _host: Host,
    },
    Theirs(Driver),
}

impl Server {
    /// p2poll's, hosted by a thread.
    pub(crate) fn ours(street: Street) -> Server {
        let (host, address) = Host::new(home(street));
        Server { address, keeper: Keeper::Ours { _host: host } }
    }

    /// pyp2p's, in a process.
    pub(crate) fn theirs(python: &Python, street: Street) -> Server {
        let (driver, address) = python.server(home(street));
        Server { address, keeper: Keeper::Theirs(driver) }
    }

    /// Lets pyp2p's server run until somebody at `ip` has said `last`, and returns everything that was said
    /// from there.
    pub(crate) fn heard_from(&mut self, ip: Ipv4Addr, last: &str) -> Vec<String> {
        let Keeper::Theirs(driver) = &mut self.keeper else {
            panic!("only pyp2p's server reports what it hears")
        };
        driver.lines_from("heard", ip, last)
    }
}

fn home(street: Street) -> Ipv4Addr {
    street.house(1)
}

/// A program with a loop for nothing but the server.
#[derive(Debug)]
struct Host {
    leave: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    fn new(ip: Ipv4Addr) -> (Host, SocketAddr) {
        let mut server = RendezvousConfig::new().listen(format!("{ip}:0")).start().expect("a server");
        let address = server.local_addrs()[0];
        let leave = Arc::new(AtomicBool::new(false));
        let told = leave.clone();
        let thread = thread::spawn(move || {
            while !told.load(Ordering::Relaxed) {
                // Only how soon it notices that it is to leave.
                server.poll(Some(Duration::from_millis(20))).expect("a poller");
            }
        });
        (Host { leave, thread: Some(thread) }, address)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.leave.store(true, Ordering::Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        // A panic of the server is a failure of the test, unless that is failing already.
        assert!(thread::panicking() || matches!(ended, Some(Ok(()))), "the server panicked");
    }
}
