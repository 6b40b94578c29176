//! The loop contract: what drives a node, what never waits, and what the application may do where.
//!
//! What the borrow checker promises is tested where it can be: by examples that must not compile, in
//! `src/net/promises.rs`.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::{Cell, RefCell};
use std::io::Write as _;
use std::rc::Rc;
use std::time::Duration;

use common::*;
use p2poll::{CloseReason, Config, Event, FailReason, Net};

/// Longer than any test may take: a sleep of this length is noticed.
const LONG: Duration = Duration::from_secs(60);

/// Whether this happened without a long sleep.
#[track_caller]
fn at_once<T>(act: impl FnOnce() -> T) -> T {
    let begin = now();
    let outcome = act();
    assert!(begin.elapsed() < PATIENCE, "it slept");
    outcome
}

#[test]
fn only_the_outermost_walk_drives_the_sockets() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    for inner_is_ready in [false, true] {
        let outer = net.connections();
        raw.write_all(b"later\n").unwrap();
        let _second = dial(&net);
        for _ in 0..20 {
            let inner = if inner_is_ready { net.ready() } else { net.connections() };
            assert_eq!(inner.flat_map(|con| con.replies()).count(), 0);
        }
        let before = outer.count();
        assert_eq!(next_lines(&mut net, id, 1), ["later"]);
        until(&mut net, |net| (net.connections().count() == before + 1).then_some(()));
    }
}

#[test]
fn the_end_of_the_outermost_walk_sends() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    for con in net.connections() {
        con.send_line("from the walk").unwrap();
        drop(net.connections());
        assert!(con.queued() > 0, "the end of an inner walk is none");
    }
    assert_eq!(net.con(id).unwrap().queued(), 0);
    expect(&mut raw, b"from the walk\r\n");
    // One that is left early has ended too.
    assert!(net.ready().next().is_none());
    if let Some(con) = net.connections().next() {
        con.send_line("again").unwrap();
    }
    expect(&mut raw, b"again\r\n");
}

#[test]
fn connections_alone_drive_everything() {
    let net = start();
    let other = start();
    other.connect_addr(net.local_addr().unwrap()).unwrap();
    let begin = now();
    let mut heard = None;
    while heard.is_none() {
        assert!(begin.elapsed() < PATIENCE);
        for con in other.connections() {
            let _ = con.send_line("no poll anywhere");
        }
        heard = net.ready().flat_map(|con| con.replies()).next();
    }
    assert_eq!(heard.unwrap(), "no poll anywhere");
}

#[test]
fn a_leaked_walk_is_healed_by_poll() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    std::mem::forget(net.connections());
    raw.write_all(b"one\n").unwrap();
    assert_eq!(lines(&net, id).len(), 0, "the leaked walk is still the outermost one");
    net.poll(Some(Duration::ZERO)).unwrap();
    assert_eq!(next_lines(&mut net, id, 1), ["one"]);
    std::mem::forget(net.ready());
    net.poll(Some(Duration::ZERO)).unwrap();
    // Walks drive again, without any further poll.
    raw.write_all(b"two\n").unwrap();
    let begin = now();
    while lines(&net, id).is_empty() {
        assert!(begin.elapsed() < PATIENCE);
    }
    net.con(id).unwrap().send_line("sent").unwrap();
    drop(net.connections());
    expect(&mut raw, b"sent\r\n");
}

#[test]
fn what_comes_about_during_a_walk_is_shown_by_the_next() {
    let mut net = start();
    let (_one, _) = netcat(&mut net);
    let mut seen = 0;
    for _ in net.connections() {
        seen += 1;
        let _two = dial(&net);
        assert!(seen < 2);
    }
}

#[test]
fn ready_shows_those_with_something_to_read() {
    let mut net = start();
    let (_quiet, _) = netcat(&mut net);
    let (mut loud, id) = netcat(&mut net);
    loud.write_all(b"one\ntwo\nhal").unwrap();
    let first = until(&mut net, |net| {
        let mut ready = net.ready();
        let con = ready.next()?;
        assert!(ready.next().is_none());
        assert_eq!(con.id(), id);
        con.replies().next()
    });
    assert_eq!(first, "one");
    // What was not read is shown again; what is not whole is not.
    assert_eq!(net.ready().flat_map(|con| con.replies()).count(), 1);
    assert_eq!(net.ready().count(), 0);
}

#[test]
fn an_id_of_another_net_names_nothing() {
    let (mut one, mut two) = (start(), start());
    let (_raw, first) = netcat(&mut one);
    let (mut raw, second) = netcat(&mut two);
    assert_eq!(first.number(), second.number());
    assert_ne!(first, second);
    assert!(one.con(first).is_some() && two.con(second).is_some());
    assert!(one.con(second).is_none() && two.con(first).is_none());
    // As an exception it excepts nobody.
    assert_eq!(two.broadcast("all", first), 1);
    two.poll(Some(Duration::ZERO)).unwrap();
    expect(&mut raw, b"all\r\n");
    let attempt = one.connect_addr(closed_port()).unwrap();
    two.connect_addr(closed_port()).unwrap();
    assert!(!two.cancel(attempt) && one.cancel(attempt));
}

#[test]
fn an_id_is_never_used_again() {
    let mut net = start();
    let mut ids = Vec::new();
    for _ in 0..20 {
        let (raw, id) = netcat(&mut net);
        drop(raw);
        assert_eq!(to_the_end(&mut net, id).1, CloseReason::Peer);
        assert!(!ids.contains(&id));
        ids.push(id);
        assert!(ids.iter().all(|&id| net.con(id).is_none()));
    }
}

#[test]
fn poll_returns_at_once_while_lines_are_unread() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"one\ntwo\n").unwrap();
    at_once(|| {
        net.poll(Some(LONG)).unwrap();
        net.poll(None).unwrap();
    });
    assert_eq!(net.next_wakeup(), Some(Duration::ZERO));
    assert_eq!(net.con(id).unwrap().replies().next().unwrap(), "one");
    at_once(|| net.poll(None).unwrap());
    assert_eq!(net.con(id).unwrap().replies().next().unwrap(), "two");
    let begin = now();
    let sleep = Duration::from_millis(60);
    net.poll(Some(sleep)).unwrap();
    assert!(begin.elapsed() >= sleep, "all was read");
}

#[test]
fn poll_sleeps_although_nobody_drains_events() {
    let mut net = start();
    let _peers: Vec<_> = (0..5).map(|_| netcat(&mut net)).collect();
    assert_ne!(net.next_wakeup(), Some(Duration::ZERO));
    let (begin, sleep) = (now(), Duration::from_millis(60));
    net.poll(Some(sleep)).unwrap();
    assert!(begin.elapsed() >= sleep);
    assert_eq!(net.events().count(), 5);
}

#[test]
fn poll_without_limit_is_woken() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    std::thread::scope(|scope| {
        scope.spawn(|| raw.write_all(b"wake up\n").unwrap());
        at_once(|| {
            while lines(&net, id).is_empty() {
                net.poll(None).unwrap();
            }
        });
    });
    // So is it by a connection, by the end of one, and by the worker that looks up names.
    let second = dial(&net);
    at_once(|| net.poll(None).unwrap());
    assert!(net.events().any(|event| matches!(event, Event::Connected { .. })));
    drop(second);
    at_once(|| net.poll(None).unwrap());
    assert!(net.events().any(|event| matches!(event, Event::Closed { .. })));
    net.connect_addr(("a".repeat(64) + ":80").as_str()).unwrap(); // no label is that long
    at_once(|| net.poll(None).unwrap());
    assert!(net.events().any(|event| matches!(event, Event::Failed { .. })));
}

#[test]
fn poll_without_limit_returns_when_everything_has_stopped() {
    let mut net = start();
    let (_raw, _) = netcat(&mut net);
    net.stop();
    at_once(|| {
        while !net.events().any(|event| event == Event::Stopped) {
            net.poll(Some(LONG)).unwrap();
        }
    });
    // So it does when there is nothing to be closed.
    let mut idle = start();
    idle.stop();
    at_once(|| idle.poll(Some(LONG)).unwrap());
    assert_eq!(idle.events().last(), Some(Event::Stopped));
}

#[test]
fn finish_says_goodbye_within_its_deadline() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    net.con(id).unwrap().send_line("goodbye").unwrap();
    let addr = net.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            expect(&mut raw, b"goodbye\r\n");
            expect_end(&mut raw);
            drop(raw);
        });
        assert!(net.finish(PATIENCE).unwrap());
    });
    assert!(std::net::TcpStream::connect(addr).is_err());
    // An idle one is done at once.
    assert!(at_once(|| start().finish(LONG)).unwrap());
    // Of a peer that does not read only the deadline is left.
    let mut net = config().max_queued(32 << 20).start().unwrap();
    let (_raw, id) = netcat(&mut net);
    net.con(id).unwrap().send(vec![b'x'; 32 << 20]).unwrap();
    assert!(!net.finish(Duration::from_millis(50)).unwrap());
}

#[test]
fn dropping_a_net_sends_what_can_be_sent_and_waits_for_nothing() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    net.con(id).unwrap().send_line("goodbye").unwrap();
    drop(net);
    expect(&mut raw, b"goodbye\r\n");
    expect_end(&mut raw);
}

#[test]
fn events_that_nobody_drains_are_counted() {
    let mut net = config().max_events(4).start().unwrap();
    for _ in 0..5 {
        let (raw, id) = netcat(&mut net);
        drop(raw);
        until(&mut net, |net| net.con(id).is_none().then_some(()));
    }
    let events: Vec<_> = net.events().collect();
    assert_eq!(events[0], Event::Missed(6));
    assert_eq!(events.len(), 5);
    assert!(matches!(events[4], Event::Closed { .. }));
    assert_eq!(net.events().next(), None);
}

#[test]
fn the_next_wakeup_is_that_of_the_next_deadline() {
    let mut net = config().bootstrap(false).connect_timeout(LONG).start().unwrap();
    net.poll(Some(Duration::ZERO)).unwrap();
    let idle = net.next_wakeup();
    assert!(idle.is_none_or(|wait| wait > Duration::from_secs(1)), "{idle:?}");
    let (raw, id) = netcat(&mut net);
    net.con(id).unwrap().close();
    net.poll(Some(Duration::ZERO)).unwrap();
    // The close lingers for a moment.
    let wait = net.next_wakeup().unwrap();
    assert!(wait <= Duration::from_secs(5), "{wait:?}");
    drop(raw);
}

#[test]
fn what_one_tick_left_unread_in_the_socket_is_due_at_once() {
    let mut net = config().read_per_tick(1).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    assert_ne!(net.next_wakeup(), Some(Duration::ZERO));
    raw.write_all(&vec![b'x'; 200 << 10]).unwrap(); // no line end, and more than one read
    until(&mut net, |net| {
        let received = net.con(id)?.stats()?.bytes_received;
        assert!(received == 0 || received >= 200 << 10 || net.next_wakeup() == Some(Duration::ZERO));
        (received == 200 << 10).then_some(())
    });
}

#[cfg(unix)]
#[test]
fn a_foreign_loop_is_woken() {
    use mio::{Events, Interest, Poll, Token};
    use std::os::fd::{AsFd as _, AsRawFd as _};

    let mut net = start();
    assert_eq!(net.as_fd().as_raw_fd(), net.as_raw_fd());
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut net, Token(7), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(8);
    let mut raw = dial(&net);
    let mut heard = Vec::new();
    let begin = now();
    for n in 0..3 {
        raw.write_all(format!("line {n}\n").as_bytes()).unwrap();
        while heard.len() <= n {
            assert!(begin.elapsed() < PATIENCE);
            let wait = net.next_wakeup().unwrap_or(PATIENCE).min(PATIENCE);
            poll.poll(&mut events, Some(wait)).unwrap();
            assert!(events.iter().all(|event| event.token() == Token(7)));
            heard.extend(net.ready().flat_map(|con| con.replies()).map(|line| line.to_string()));
        }
    }
    assert_eq!(heard, ["line 0", "line 1", "line 2"]);
    poll.registry().reregister(&mut net, Token(8), Interest::READABLE).unwrap();
    raw.write_all(b"more\n").unwrap();
    poll.poll(&mut events, Some(PATIENCE)).unwrap();
    assert!(events.iter().any(|event| event.token() == Token(8)));
    poll.registry().deregister(&mut net).unwrap();
}

#[cfg(unix)]
#[test]
fn a_rendezvous_server_fits_into_a_foreign_loop_too() {
    use mio::{Events, Interest, Poll, Token};

    let mut server = p2poll::RendezvousConfig::new().listen("127.0.0.1:0").start().unwrap();
    let mut poll = Poll::new().unwrap();
    poll.registry().register(&mut server, Token(1), Interest::READABLE).unwrap();
    let mut events = Events::with_capacity(8);
    let mut raw = patient(std::net::TcpStream::connect(server.local_addrs()[0]).unwrap());
    raw.write_all(b"BOOTSTRAP 1\r\n").unwrap();
    let begin = now();
    while server.stats().clients == 0 {
        assert!(begin.elapsed() < PATIENCE);
        let wait = server.next_wakeup().unwrap_or(PATIENCE).min(PATIENCE);
        poll.poll(&mut events, Some(wait)).unwrap();
        server.poll(Some(Duration::ZERO)).unwrap();
    }
    server.poll(Some(TURN)).unwrap();
    expect(&mut raw, b"NODES EMPTY\r\n");
}

#[test]
fn a_net_can_move_to_another_thread() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    let net = std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            net.con(id).unwrap().send_line("from there").unwrap();
            net.poll(Some(Duration::ZERO)).unwrap();
            net
        });
        thread.join().unwrap()
    });
    expect(&mut raw, b"from there\r\n");
    net.con(id).unwrap().send_line("and back").unwrap();
    drop(net.connections());
    expect(&mut raw, b"and back\r\n");
}

thread_local! {
    /// Where a logger, a filter and a destructor find the `Net` of their test.
    static NET: RefCell<Option<Rc<Net>>> = const { RefCell::new(None) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Does everything that an application can do where it has a `Net`, and drops what it made.
fn use_everything() {
    let Some(net) = NET.with_borrow(Clone::clone) else { return };
    CALLS.set(CALLS.get() + 1);
    let first = net.connections().next();
    for con in net.ready().chain(net.connections()) {
        let _ = con.replies().next();
        let _ = (con.stats(), con.queued(), con.peer_addr(), con.local_addr(), format!("{con:?}"));
        let _ = con.send_line("from inside");
        let _ = con.send("raw\n");
        assert!(net.con(con.id()).is_some());
    }
    net.broadcast("to the others", first);
    let _ = net.connect_addr(closed_port()).map(|attempt| net.cancel(attempt));
    net.bootstrap();
    net.advertise();
    net.ban("192.0.2.1".parse().unwrap(), None);
    assert!(!net.banned().is_empty());
    net.unban("192.0.2.1".parse().unwrap());
    let _ = (net.local_addr(), net.len(), net.is_empty(), net.next_wakeup(), format!("{net:?}"));
    let _ = net.events().count();
    if let Some(con) = first {
        con.close();
    }
}

/// Hands the `Net` of this thread to `use_everything` and walks until it was called this often.
fn walk_with_calls(net: Net, calls: usize, mut turn: impl FnMut(&Net)) {
    let net = Rc::new(net);
    NET.set(Some(Rc::clone(&net)));
    CALLS.set(0);
    let begin = now();
    while CALLS.get() < calls {
        assert!(begin.elapsed() < PATIENCE);
        turn(&net);
        for con in net.connections() {
            let _ = con.replies().count();
        }
    }
    NET.set(None);
}

#[test]
fn a_logger_may_use_the_net() {
    struct Logger;
    thread_local!(static INSIDE: Cell<bool> = const { Cell::new(false) });

    impl log::Log for Logger {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            assert_eq!(record.target(), "p2poll");
            if !INSIDE.replace(true) {
                use_everything();
                INSIDE.set(false);
            }
        }

        fn flush(&self) {}
    }

    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    let mut raws = Vec::new();
    walk_with_calls(config().rendezvous("127.0.0.1:1").start().unwrap(), 20, |net| {
        raws.push(dial(net));
        if raws.len() > 5 {
            raws.remove(0);
        }
    });
}

#[test]
fn a_filter_may_use_the_net_and_replace_itself() {
    let net = start();
    net.filter_inbound(|_| {
        use_everything();
        true
    });
    let mut raws = Vec::new();
    walk_with_calls(net, 10, |net| raws.push(dial(net)));

    let net = start();
    net.filter_inbound(|_| {
        use_everything();
        NET.with_borrow(Clone::clone).unwrap().filter_inbound(|_| {
            use_everything();
            false
        });
        true
    });
    let mut raws = Vec::new();
    walk_with_calls(net, 5, |net| raws.push(dial(net)));
    assert!(!raws.is_empty());
}

/// A guest of the application's whose destructor uses the `Net`.
struct Dropped;

impl Drop for Dropped {
    fn drop(&mut self) {
        use_everything();
    }
}

#[test]
fn what_is_dropped_inside_may_use_the_net() {
    let net = start();
    let guest = Dropped;
    net.filter_inbound(move |_| {
        let _held = &guest;
        true
    });
    let mut raws = Vec::new();
    walk_with_calls(net, 2, |net| {
        raws.push(dial(net));
        let nested = net.connections();
        let _guest = Dropped;
        // Drops the guest of the filter before.
        let guest = Dropped;
        net.filter_inbound(move |_| std::mem::size_of_val(&guest) == 0);
        drop(nested);
    });
}

#[test]
fn an_argument_may_use_the_net() {
    struct Curious<'a>(&'a Net);

    impl AsRef<[u8]> for Curious<'_> {
        fn as_ref(&self) -> &[u8] {
            assert!(self.0.connections().next().is_some());
            b"x"
        }
    }

    impl std::fmt::Display for Curious<'_> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(f, "127.0.0.1:{}", self.0.connections().count())
        }
    }

    let mut net = start();
    let (_raw, id) = netcat(&mut net);
    net.con(id).unwrap().send_line(Curious(&net)).unwrap();
    net.con(id).unwrap().send(Curious(&net)).unwrap();
    assert_eq!(net.broadcast(Curious(&net), None), 1);
    net.connect_addr(Curious(&net)).unwrap();
}

#[test]
fn attempts_have_one_outcome_each() {
    let mut net = config().max_attempts(2).start().unwrap();
    let closed = closed_port();
    let failed = |net: &mut Net, id| {
        event(net, |event| match event {
            Event::Failed { attempt, why } if attempt == id => Some(why),
            _ => None,
        })
    };
    // Refused.
    let attempt = net.connect_addr(closed).unwrap();
    let why = failed(&mut net, attempt);
    assert_eq!(why, FailReason::Unreachable(vec![(closed, std::io::ErrorKind::ConnectionRefused)]));
    assert!(!net.cancel(attempt), "it has ended");
    // Cancelled, and too many.
    let attempt = net.connect_addr(closed).unwrap();
    let other = net.connect_addr(closed).unwrap();
    assert_eq!(net.connect_addr(closed), Err(p2poll::ConnectError::TooMany));
    assert!(net.cancel(attempt) && !net.cancel(attempt));
    assert_eq!(failed(&mut net, attempt), FailReason::Cancelled);
    failed(&mut net, other);
    // Oneself.
    let attempt = net.connect_addr(net.local_addr().unwrap()).unwrap();
    assert_eq!(failed(&mut net, attempt), FailReason::Oneself);
    // No such name: a label has at most 63 characters, so nobody is asked.
    let attempt = net.connect_addr("a".repeat(64) + ":80").unwrap();
    assert!(matches!(failed(&mut net, attempt), FailReason::NoAddress(_)));
    // By name and by address.
    for by_name in [true, false] {
        let listener = listener();
        let addr = listener.local_addr().unwrap();
        let text = if by_name { format!("localhost:{}", addr.port()) } else { addr.to_string() };
        let attempt = net.connect_addr(&text).unwrap();
        let (con, peer) = event(&mut net, |event| match event {
            Event::Connected { con, peer, attempt: Some(id), .. } if id == attempt => Some((con, peer)),
            _ => None,
        });
        assert_eq!((peer, net.con(con).unwrap().peer_addr()), (addr, Some(addr)));
    }
    net.stop();
    assert_eq!(net.connect_addr(closed), Err(p2poll::ConnectError::Stopping));
}

#[test]
fn ipv6_is_as_good() {
    let Ok(mut net) = Config::new().bind(std::net::Ipv6Addr::LOCALHOST.into()).start() else {
        return eprintln!("no IPv6 on this machine");
    };
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"six\n").unwrap();
    assert_eq!(next_lines(&mut net, id, 1), ["six"]);
}

/// Walks, and nothing else, until `done` finds what it waits for.
#[track_caller]
fn walk_until<T>(net: &Net, mut done: impl FnMut() -> Option<T>) -> T {
    let begin = now();
    loop {
        for con in net.connections() {
            let _ = con.id();
        }
        if let Some(found) = done() {
            return found;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain");
    }
}

/// A connection that has come about, and was given up before the node looked at it.
fn given_up(net: &Net) -> (std::net::TcpStream, p2poll::AttemptId) {
    let listener = listener();
    let walk = net.connections();
    let attempt = net.connect_addr(listener.local_addr().unwrap()).unwrap();
    drop(walk);
    let raw = patient(listener.accept().unwrap().0);
    assert!(net.cancel(attempt));
    (raw, attempt)
}

#[test]
fn an_attempt_given_up_between_two_walks_leaves_nothing_to_the_next() {
    // To a port at which nobody listens.
    let net = start();
    let (mut first, cancelled) = given_up(&net);
    first.write_all(b"I am the first\n").unwrap();
    let dead = closed_port();
    let second = net.connect_addr(dead).unwrap();
    let mut events = Vec::new();
    walk_until(&net, || {
        assert_eq!(net.len(), 0);
        events.extend(net.events());
        (events.len() >= 2).then_some(())
    });
    assert_eq!(events[0], Event::Failed { attempt: cancelled, why: FailReason::Cancelled });
    let why = FailReason::Unreachable(vec![(dead, std::io::ErrorKind::ConnectionRefused)]);
    assert_eq!(events[1..], [Event::Failed { attempt: second, why }]);
    expect_end(&mut first);

    // To somebody else, who is heard and spoken to.
    let net = start();
    let (mut first, _) = given_up(&net);
    first.write_all(b"I am the first\n").unwrap();
    let listener = listener();
    let addr = listener.local_addr().unwrap();
    net.connect_addr(addr).unwrap();
    drop(net.connections());
    let mut second = patient(listener.accept().unwrap().0);
    second.write_all(b"I am the second\n").unwrap();
    let heard = walk_until(&net, || {
        assert!(net.connections().all(|con| con.peer_addr() == Some(addr)));
        net.connections().flat_map(|con| con.replies()).next()
    });
    assert_eq!(heard, "I am the second");
    assert_eq!(net.broadcast("to the second", None), 1);
    drop(net.connections());
    expect(&mut second, b"to the second\r\n");
    expect_end(&mut first);
}

/// An address at which a connection neither comes about nor fails: the queue of its listener is full.
#[cfg(target_os = "linux")]
fn hanging() -> (socket2::Socket, Vec<socket2::Socket>, std::net::SocketAddr) {
    use socket2::{Domain, Socket, Type};

    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let fill = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _under_way = socket.connect(&addr);
        socket
    };
    let full = (0..4).map(|_| fill()).collect();
    (listener, full, addr.as_socket().unwrap())
}

#[cfg(target_os = "linux")]
#[test]
fn who_comes_in_while_an_attempt_is_given_up_lives() {
    let (_listener, _full, addr) = hanging();
    let mut net = start();
    let attempt = net.connect_addr(addr).unwrap();
    net.poll(Some(Duration::ZERO)).unwrap();
    let mut raw = dial(&net);
    raw.write_all(b"hello\n").unwrap();
    assert!(net.cancel(attempt));
    let (id, line) = walk_until(&net, || {
        let con = net.connections().next()?;
        Some((con.id(), con.replies().next()?))
    });
    assert_eq!(line, "hello");
    net.con(id).unwrap().send_line("welcome").unwrap();
    drop(net.connections());
    expect(&mut raw, b"welcome\r\n");
    drop(raw);
    assert_eq!(to_the_end(&mut net, id).1, CloseReason::Peer);
    assert_eq!(net.len(), 0);
}

#[test]
fn a_filter_that_panics_stays_in_force() {
    let mut net = start();
    let mut calls = 0;
    net.filter_inbound(move |_| {
        calls += 1;
        assert!(calls > 1, "the application's bug, of which it survives");
        calls > 2
    });
    let mut first = dial(&net);
    let begin = now();
    let walk = || net.connections().count();
    while std::panic::catch_unwind(std::panic::AssertUnwindSafe(walk)).is_ok() {
        assert!(begin.elapsed() < PATIENCE);
    }
    expect_end(&mut first);
    // The walk that never began is forgotten, like a leaked one; then walks drive as before, and the filter decides.
    net.poll(Some(Duration::ZERO)).unwrap();
    let refused = |raw: &mut std::net::TcpStream| {
        raw.set_nonblocking(true).unwrap();
        walk_until(&net, || match std::io::Read::read(raw, &mut [0]) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => None,
            outcome => Some(outcome.is_err() || outcome.is_ok_and(|len| len == 0)),
        })
    };
    assert!(refused(&mut dial(&net)));
    assert_eq!(net.len(), 0);
    let _third = dial(&net);
    walk_until(&net, || (net.len() == 1).then_some(()));
}

#[test]
fn poll_with_the_longest_limit_is_woken() {
    let mut net = start();
    let (mut raw, id) = netcat(&mut net);
    std::thread::scope(|scope| {
        scope.spawn(|| raw.write_all(b"wake up\n").unwrap());
        at_once(|| {
            while lines(&net, id).is_empty() {
                net.poll(Some(Duration::MAX)).unwrap();
            }
        });
    });
}
