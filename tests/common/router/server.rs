//! The router's thread: its sockets, polled.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token, Waker};

use super::http::Request;
use super::{Http, Shared, Wish, lock, nat_pmp, ssdp, upnp};

const WAKER: Token = Token(0);
const SSDP: Token = Token(1);
const NAT_PMP: Token = Token(2);
const HTTP: Token = Token(3);
const CLIENTS: usize = 4;

/// What an endless body is made of.
const ENDLESS: [u8; 4096] = [b'x'; 4096];

#[derive(Debug)]
pub(super) struct Server {
    ip: Ipv4Addr,
    shared: Arc<Mutex<Shared>>,
    poll: Poll,
    ssdp: UdpSocket,
    nat_pmp: UdpSocket,
    /// Whom NAT-PMP has heard.
    heard: BTreeSet<SocketAddr>,
    http: TcpListener,
    clients: Vec<Option<Client>>,
}

#[derive(Debug)]
struct Client {
    stream: TcpStream,
    request: Request,
    state: State,
}

#[derive(Debug)]
enum State {
    Reading,
    /// The answer waits until then; `None`: for ever.
    Waiting(Vec<u8>, Option<Instant>),
    Writing(Vec<u8>),
    /// And after that without end.
    WritingForEver(Vec<u8>),
}

impl Server {
    pub(super) fn new(ip: Ipv4Addr, shared: Arc<Mutex<Shared>>) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let at = |port| SocketAddr::from((ip, port));
        let mut ssdp = UdpSocket::bind(at(1900))?;
        let mut nat_pmp = UdpSocket::bind(at(5351))?;
        let mut http = TcpListener::bind(at(0))?;
        poll.registry().register(&mut ssdp, SSDP, Interest::READABLE)?;
        poll.registry().register(&mut nat_pmp, NAT_PMP, Interest::READABLE)?;
        poll.registry().register(&mut http, HTTP, Interest::READABLE)?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let (heard, clients) = (BTreeSet::new(), Vec::new());
        Ok((Self { ip, shared, poll, ssdp, nat_pmp, heard, http, clients }, waker))
    }

    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(64);
        loop {
            match self.poll.poll(&mut events, self.wait()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => {
                    panic!("the router's poll: {error}")
                }
                _ => {}
            }
            let wish = std::mem::replace(&mut lock(&self.shared).wish, Wish::None);
            match wish {
                Wish::End => return,
                Wish::Restart => self.restart(),
                Wish::None => {}
            }
            self.serve_ssdp();
            self.serve_nat_pmp();
            self.accept();
            for place in 0..self.clients.len() {
                if !self.serve(place) {
                    self.clients[place] = None;
                }
            }
        }
    }

    /// How long nothing is due.
    fn wait(&self) -> Option<Duration> {
        let now = Instant::now();
        let due = |client: &Client| match client.state {
            State::Waiting(_, until) => until,
            State::Reading | State::Writing(_) | State::WritingForEver(_) => None,
        };
        self.clients.iter().flatten().filter_map(due).min().map(|at| at.saturating_duration_since(now))
    }

    fn restart(&mut self) {
        lock(&self.shared).table.clear();
        self.clients.clear();
        let old = self.http.local_addr().unwrap();
        let mut http = TcpListener::bind(SocketAddr::from((self.ip, 0))).unwrap();
        assert_ne!(http.local_addr().unwrap(), old, "the old listener still holds its port");
        self.poll.registry().register(&mut http, HTTP, Interest::READABLE).unwrap();
        self.http = http;
    }

    fn serve_ssdp(&mut self) {
        let at = self.http.local_addr().unwrap();
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.ssdp.recv_from(&mut buffer) {
            for answer in ssdp::answers(&buffer[..len], at, &mut lock(&self.shared)) {
                // As with every datagram, nobody notices when it is lost.
                let _ = self.ssdp.send_to(&answer, from);
            }
        }
    }

    fn serve_nat_pmp(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.nat_pmp.recv_from(&mut buffer) {
            let IpAddr::V4(ip) = from.ip() else { continue };
            let is_first = self.heard.insert(from);
            if let Some(answer) = nat_pmp::answer(&buffer[..len], ip, is_first, &mut lock(&self.shared)) {
                let _ = self.nat_pmp.send_to(&answer, from);
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((mut stream, _)) = self.http.accept() {
            let place = self.clients.iter().position(Option::is_none).unwrap_or_else(|| {
                self.clients.push(None);
                self.clients.len() - 1
            });
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(CLIENTS + place), interest).unwrap();
            self.clients[place] = Some(Client { stream, request: Request::default(), state: State::Reading });
        }
    }

    /// Goes on with a client. Returns whether it stays.
    fn serve(&mut self, place: usize) -> bool {
        let Some(client) = &mut self.clients[place] else { return true };
        match client.advance(&self.shared) {
            Ok(stays) => stays,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    }
}

impl Client {
    /// As far as it goes: until it is finished, or until it would block.
    fn advance(&mut self, shared: &Mutex<Shared>) -> io::Result<bool> {
        loop {
            match &mut self.state {
                State::Reading => {
                    let mut buffer = [0; 4096];
                    let len = self.stream.read(&mut buffer)?;
                    if len == 0 {
                        return Ok(false);
                    }
                    if self.request.take(&buffer[..len]) {
                        self.state = answered(&self.request, self.stream.local_addr()?, &mut lock(shared));
                    }
                }
                State::Waiting(answer, Some(until)) if *until <= Instant::now() => {
                    self.state = State::Writing(std::mem::take(answer));
                }
                State::Waiting(..) => {
                    // Only the end of the client is of interest.
                    let mut buffer = [0; 256];
                    if self.stream.read(&mut buffer)? == 0 {
                        return Ok(false);
                    }
                }
                State::Writing(answer) if answer.is_empty() => return Ok(false),
                State::Writing(answer) => {
                    let len = self.stream.write(answer)?;
                    answer.drain(..len);
                }
                State::WritingForEver(answer) => {
                    if answer.is_empty() {
                        answer.extend(ENDLESS);
                    }
                    let len = self.stream.write(answer)?;
                    answer.drain(..len);
                }
            }
        }
    }
}

/// What becomes of a complete request.
fn answered(request: &Request, at: SocketAddr, shared: &mut Shared) -> State {
    let behaviour = shared.behaviour.http;
    let answer = upnp::respond(request, at, shared);
    match behaviour {
        Http::Normal => State::Writing(answer),
        Http::Slow(delay) => State::Waiting(answer, Some(Instant::now() + delay)),
        Http::Hung => State::Waiting(answer, None),
        Http::Endless => State::WritingForEver(b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\n\r\n".to_vec()),
    }
}
