//! A server that tells whoever connects where it sees them.

use std::io::{Result, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, SocketAddrV4, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread::{self, JoinHandle};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::host::Host;

/// Listens on one port of a machine until it is dropped. Each connection gets one line, with its address.
#[derive(Debug)]
pub(crate) struct Observer {
    address: SocketAddrV4,
    stop: UnixStream,
    thread: Option<JoinHandle<()>>,
}

impl Observer {
    /// Starts on `port`; with 0 on any.
    pub(crate) fn start(host: &Host, port: u16) -> Result<Observer> {
        let listener = host.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))?;
        listener.set_nonblocking(true)?;
        let address = SocketAddrV4::new(host.address(), listener.local_addr()?.port());
        let (stop, stopped) = UnixStream::pair()?;
        let thread = thread::Builder::new()
            .name(format!("observer {address}"))
            .spawn(move || while wait(&listener, &stopped) && serve(&listener) {})?;
        Ok(Observer { address, stop, thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address.into()
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        _ = self.stop.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            _ = thread.join();
        }
    }
}

fn wait(listener: &TcpListener, stopped: &UnixStream) -> bool {
    let mut polled = [listener.as_fd(), stopped.as_fd()].map(|socket| PollFd::new(socket, PollFlags::POLLIN));
    _ = poll(&mut polled, PollTimeout::NONE);
    polled[1].any() != Some(true)
}

fn serve(listener: &TcpListener) -> bool {
    if let Ok((mut client, address)) = listener.accept() {
        // Few enough bytes for any socket's buffer. Who does not read them has lost interest.
        _ = client.write_all(format!("{address}\n").as_bytes());
    }
    true
}
