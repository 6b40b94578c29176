//! Sockets that listen.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mio::net::{TcpListener, TcpStream};
use socket2::{Domain, Protocol, Socket, Type};

/// The queue of connections that the operating system completes before we accept them: a burst between two ticks of a
/// slow program. Systems cap it at their own limit (Linux: net.core.somaxconn).
const BACKLOG: i32 = 1024;

/// What `accept` gave.
#[derive(Debug)]
pub(crate) enum Accept {
    Stream(TcpStream, SocketAddr),
    /// This one was lost; there may be another.
    Again,
    /// None waits.
    Empty,
    /// Out of file descriptors: the one that waited longest was refused.
    Refused(Option<SocketAddr>),
    /// Out of file descriptors, and nothing could be done about it.
    Exhausted,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    At(SocketAddr),
    /// At all addresses, of both families where IPv6 is there.
    All(u16),
    /// At all addresses of IPv6: somebody else has the port for IPv4.
    AllIpv6(u16),
}

impl Entrance {
    /// At this address, or at all.
    pub(crate) fn new(ip: Option<IpAddr>, port: u16) -> Self {
        ip.map_or(Self::All(port), |ip| Self::At(SocketAddr::new(ip, port)))
    }

    /// Several at once: `[::]` takes IPv4, too, but for a port that is wanted at an IPv4 address as well.
    pub(crate) fn together(addrs: &[SocketAddr]) -> Vec<Self> {
        let is_for_ipv4 = |port: u16| addrs.iter().any(|addr| addr.is_ipv4() && addr.port() == port);
        let entrance = |addr: &SocketAddr| match addr.port() {
            _ if addr.is_ipv4() || !addr.ip().is_unspecified() => Self::At(*addr),
            port if port != 0 && is_for_ipv4(port) => Self::AllIpv6(port),
            port => Self::All(port),
        };
        addrs.iter().map(entrance).collect()
    }

    /// As it is told of in errors.
    pub(crate) fn addr(self) -> SocketAddr {
        match self {
            Self::At(addr) => addr,
            Self::All(port) | Self::AllIpv6(port) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        }
    }
}

/// A listening socket, and a file descriptor in reserve, to be able to refuse when there are no more.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) local: SocketAddr,
    reserve: Option<Socket>,
}

impl Listener {
    pub(crate) fn open(entrance: Entrance) -> io::Result<Self> {
        match entrance {
            Entrance::At(addr) => Self::bind(addr, false),
            Entrance::All(port) => Self::bind_any(port),
            Entrance::AllIpv6(_) => Self::bind(entrance.addr(), true),
        }
    }

    /// Listens at an address, without port reuse: "port in use" is an error instead of two programs that silently
    /// share connections. An unspecified IPv6 address takes IPv4 too where the system can, unless that is not wanted.
    fn bind(addr: SocketAddr, only_v6: bool) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Off Windows it only means that connections in TIME_WAIT do not keep the port (RFC 9293 section 3.6.1); there
        // it would let two programs share it.
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() && addr.ip().is_unspecified() {
            socket.set_only_v6(only_v6)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into());
        let local = socket.local_addr()?;
        Ok(Self { socket, local, reserve: spare() })
    }

    /// Listens at all addresses: of both families where IPv6 is there.
    fn bind_any(port: u16) -> io::Result<Self> {
        let both = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        Self::bind(both, false).or_else(|error| match error.kind() {
            // Without IPv6 there is no such socket or no such address; a port in use is in use on IPv4 too.
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            _ => Self::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)), false),
        })
    }

    pub(crate) fn accept(&mut self) -> Accept {
        match self.socket.accept() {
            Ok((stream, peer)) => Accept::Stream(stream, peer),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Accept::Empty,
            Err(error) if is_exhaustion(&error) => self.refuse(),
            // The peer went away before its turn, and the like (accept(2), "Error handling").
            Err(_) => Accept::Again,
        }
    }

    /// Closes the reserve to have a descriptor for the one that waits, and hangs up on it: left alone it would wait for
    /// ever, and an edge-triggered poller would not tell of it again.
    fn refuse(&mut self) -> Accept {
        if self.reserve.take().is_none() {
            self.reserve = spare();
            return Accept::Exhausted;
        }
        let refused = self.socket.accept();
        let outcome = match refused {
            Ok((stream, peer)) => {
                // Gone before its descriptor is needed for the next reserve.
                drop(stream);
                Accept::Refused(Some(peer))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Accept::Empty,
            Err(error) if is_exhaustion(&error) => Accept::Exhausted,
            Err(_) => Accept::Refused(None),
        };
        self.reserve = spare();
        outcome
    }
}

fn spare() -> Option<Socket> {
    Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).ok()
}

/// Too many open files, in this process or all, or no memory for one more.
pub(super) fn is_exhaustion(error: &io::Error) -> bool {
    #[cfg(unix)]
    let known = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    #[cfg(not(unix))]
    let known = [10024, 10055]; // WSAEMFILE, WSAENOBUFS
    error.raw_os_error().is_some_and(|code| known.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn all_of_ipv6_makes_room_for_ipv4_at_the_same_port() {
        let together = |texts: &[&str]| Entrance::together(&addrs(texts));
        assert_eq!(together(&["[::]:80"]), [Entrance::All(80)]);
        let four = Entrance::At(addrs(&["0.0.0.0:80"])[0]);
        assert_eq!(together(&["0.0.0.0:80", "[::]:80"]), [four, Entrance::AllIpv6(80)]);
        assert_eq!(together(&["[::]:80", "0.0.0.0:80"]), [Entrance::AllIpv6(80), four]);
        assert_eq!(together(&["[::]:81", "0.0.0.0:80"]), [Entrance::All(81), four]);
        // Any free ports are two ports.
        assert_eq!(together(&["[::]:0", "0.0.0.0:0"])[0], Entrance::All(0));
    }
}
