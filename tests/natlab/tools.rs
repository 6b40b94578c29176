//! What the tests see a network with.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::lab::{Host, Need};

/// A test.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) needs: &'static [Need],
    pub(crate) run: fn(),
}

/// More than anything here takes, on a machine that has much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// After so long without an answer there is none: far more than any round trip here.
pub(crate) const SILENCE: Duration = Duration::from_millis(900);

/// What comes of connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Connected,
    Refused,
    Silent,
}

/// Connects from a local port (0: any), which others may be using too.
pub(crate) fn connect(host: &Host, port: u16, to: SocketAddr, limit: Duration) -> std::io::Result<TcpStream> {
    host.inside(|| {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(true)?;
        let any = if to.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        socket.bind(&SocketAddr::new(any, port).into())?;
        socket.connect_timeout(&to.into(), limit)?;
        let stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    })
}

/// What comes of connecting from anywhere.
pub(crate) fn probe(host: &Host, to: impl Into<SocketAddr>) -> Answer {
    match connect(host, 0, to.into(), SILENCE) {
        Ok(_) => Answer::Connected,
        Err(why) if why.kind() == ErrorKind::ConnectionRefused => Answer::Refused,
        Err(why) if why.kind() == ErrorKind::TimedOut => Answer::Silent,
        Err(why) => panic!("connecting: {why}"),
    }
}

/// How an observer sees a local port, and the connection, which keeps the mapping.
pub(crate) fn observe(host: &Host, port: u16, observer: SocketAddr) -> (SocketAddrV4, TcpStream) {
    let stream = connect(host, port, observer, PATIENCE).expect("observers can be reached");
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).expect("observers answer");
    (line.trim().parse().expect("observers answer with an address"), stream)
}

/// Listens on a machine, on any port.
pub(crate) fn listen(host: &Host) -> (TcpListener, SocketAddrV4) {
    let listener = host.inside(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))).expect("a port is free");
    // Linux applies it to accepting too, so that a test that fails ends.
    socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, SocketAddrV4::new(host.address(), port))
}

/// Runs a program on a machine to its end: whether it succeeded, and what it printed.
pub(crate) fn run(host: &Host, program: &str, arguments: &[&str]) -> (bool, String) {
    let mut command = host.command(program);
    let output = finish(command.args(arguments));
    (output.0, output.1)
}

/// Runs a command to its end, or kills it when that takes too long.
pub(crate) fn finish(command: &mut Command) -> (bool, String) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a program can be started");
    let (Some(mut out), Some(mut err)) = (child.stdout.take(), child.stderr.take()) else {
        panic!("there are pipes");
    };
    let text = thread::scope(|scope| {
        let errors = scope.spawn(move || {
            let mut text = String::new();
            _ = err.read_to_string(&mut text);
            text
        });
        let reader = scope.spawn(move || {
            let mut text = String::new();
            _ = out.read_to_string(&mut text);
            text
        });
        if !eventually(|| child.try_wait().is_ok_and(|ended| ended.is_some())) {
            _ = child.kill();
        }
        let mut text = reader.join().expect("it reads");
        text.push_str(&errors.join().expect("it reads"));
        text
    });
    (child.wait().expect("it has ended").success(), text)
}

/// Waits for something that only looking can tell: whether it came.
pub(crate) fn eventually(mut happened: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        if Instant::now() > deadline {
            return false;
        }
        thread::park_timeout(Duration::from_millis(2));
    }
    true
}
