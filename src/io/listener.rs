//! Sockets that listen.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

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

/// A listening socket, and a file descriptor in reserve, to be able to refuse when there are no more.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) socket: TcpListener,
    pub(crate) local: SocketAddr,
    reserve: Option<Socket>,
}

impl Listener {
    /// Listens at an address, without port reuse: "port in use" is an error instead of two programs that silently
    /// share connections. An unspecified IPv6 address takes IPv4 too where the system can.
    pub(crate) fn bind(addr: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // Off Windows it only means that connections in TIME_WAIT do not keep the port (RFC 9293 section 3.6.1); there
        // it would let two programs share it.
        #[cfg(not(windows))]
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() && addr.ip().is_unspecified() {
            socket.set_only_v6(false)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from_std(socket.into());
        let local = socket.local_addr()?;
        Ok(Self { socket, local, reserve: spare() })
    }

    /// Listens at all addresses: of both families where IPv6 is there.
    pub(crate) fn bind_any(port: u16) -> io::Result<Self> {
        let both = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        Self::bind(both).or_else(|error| match error.kind() {
            // Without IPv6 there is no such socket or no such address; a port in use is in use on IPv4 too.
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            _ => Self::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))),
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
