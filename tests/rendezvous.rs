//! The rendezvous server as a stranger meets it: over sockets, by hand.

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use p2poll::{Rendezvous, RendezvousConfig};

/// Turns of the server's loop before a test gives up.
const TURNS: usize = 5000;

fn server() -> Rendezvous {
    RendezvousConfig::new().listen("127.0.0.1:0").start().expect("port 0 is free")
}

fn stranger(server: &Rendezvous) -> TcpStream {
    let stream = TcpStream::connect(server.local_addrs()[0]).expect("the server listens");
    stream.set_nonblocking(true).expect("every socket can");
    stream
}

/// Serves until `done` says so.
fn serve(server: &mut Rendezvous, mut done: impl FnMut(&Rendezvous) -> bool) {
    for _ in 0..TURNS {
        server.poll(Some(Duration::from_millis(1))).expect("polling works");
        if done(server) {
            return;
        }
    }
    panic!("it did not happen in {TURNS} turns");
}

fn read_into(stream: &mut TcpStream, text: &mut Vec<u8>) {
    let mut buffer = [0; 1 << 16];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(len) => text.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("{error}"),
        }
    }
}

/// A client that asks and asks and never reads fills its own queue; then its questions wait, unread, and the server
/// neither spins nor grows. When it reads at last, it gets every answer.
#[test]
fn a_client_that_does_not_read_answers_waits_and_loses_none() {
    let mut server = server();
    let mut stranger = stranger(&server);
    let question = b"BOOTSTRAP 10\r\n".repeat(1000);
    let (mut asked, mut stuck) = (0, 0);
    serve(&mut server, |_| {
        match stranger.write(&question[asked % 14..]) {
            Ok(len) => (asked, stuck) = (asked + len, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => stuck += 1,
            Err(error) => panic!("{error}"),
        }
        stuck > 20
    });
    // Nothing moves any more: the server may sleep.
    assert_ne!(server.next_wakeup(), Some(Duration::ZERO));
    let questions = asked / 14;
    let mut answers = Vec::new();
    serve(&mut server, |_| {
        read_into(&mut stranger, &mut answers);
        answers.len() >= questions * 13
    });
    assert_eq!(answers, b"NODES EMPTY\r\n".repeat(questions));
}

/// What comes together with the end of the stream is served all the same: pyp2p's client hangs up right after its line.
#[test]
fn a_line_that_comes_with_the_end_is_served() {
    let mut server = server();
    let mut stranger = stranger(&server);
    stranger.write_all(b"PASSIVE READY 5003 10\r\n").expect("there is room");
    drop(stranger);
    serve(&mut server, |server| server.stats().nodes == 1 && server.stats().clients == 0);
}

/// A line without an end is no reason to grow: the client is disconnected.
#[test]
fn a_line_without_an_end_ends_the_connection() {
    let mut server = server();
    let mut stranger = stranger(&server);
    stranger.write_all(&[b'x'; 20_000]).expect("there is room");
    let mut answers = Vec::new();
    serve(&mut server, |server| server.stats().clients == 0);
    read_into(&mut stranger, &mut answers);
    assert_eq!(answers, b"");
}

/// Who asks for much, reads nothing and goes away is gone for the server as well, at once: what is still queued for it
/// has nobody to read it.
#[test]
fn clients_that_leave_without_reading_are_let_go() {
    let config = RendezvousConfig::new().listen("127.0.0.1:0").max_nodes_per_address(100);
    let mut server = config.start().expect("port 0 is free");
    // Many nodes make long answers.
    for port in 60_000..60_100 {
        let mut node = stranger(&server);
        node.write_all(format!("PASSIVE READY {port} 10\r\n").as_bytes()).expect("there is room");
        drop(node);
        serve(&mut server, |server| server.stats().clients == 0 && server.stats().nodes > port - 60_000);
    }
    let questions = b"BOOTSTRAP 100\r\n".repeat(13_000);
    for by_reset in [true, false] {
        for _ in 0..5 {
            let mut stranger = stranger(&server);
            let (mut asked, mut stuck) = (0, 0);
            serve(&mut server, |_| {
                match stranger.write(&questions[asked..]) {
                    Ok(len) => (asked, stuck) = (asked + len, stuck + usize::from(len == 0)),
                    Err(error) if error.kind() == ErrorKind::WouldBlock => stuck += 1,
                    Err(error) => panic!("{error}"),
                }
                stuck > 5
            });
            assert_eq!(server.stats().clients, 1);
            if by_reset {
                socket2::SockRef::from(&stranger).set_linger(Some(Duration::ZERO)).expect("every socket can");
            }
            drop(stranger);
            serve(&mut server, |server| server.stats().clients == 0);
        }
    }
}

/// One more than there is room for is turned away at once, and takes no place.
#[test]
fn a_client_too_many_is_turned_away() {
    const ROOM: usize = 3;
    let config = RendezvousConfig::new().listen("127.0.0.1:0").max_clients(ROOM);
    let mut server = config.start().expect("port 0 is free");
    let mut inside: Vec<TcpStream> = (0..ROOM).map(|_| stranger(&server)).collect();
    serve(&mut server, |server| server.stats().clients == ROOM);
    for _ in 0..5 {
        let mut outside = stranger(&server);
        serve(&mut server, |server| {
            assert_eq!(server.stats().clients, ROOM);
            match outside.read(&mut [0]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => false,
                Err(error) if error.kind() == ErrorKind::ConnectionReset => true,
                Ok(0) => true,
                other => panic!("{other:?}"),
            }
        });
    }
    for stranger in &mut inside {
        let mut answer = Vec::new();
        stranger.write_all(b"BOOTSTRAP 1\r\n").expect("there is room");
        serve(&mut server, |_| {
            read_into(stranger, &mut answer);
            answer.len() >= 13
        });
        assert_eq!(answer, b"NODES EMPTY\r\n");
    }
    // A place that becomes free is one for the next.
    inside.pop();
    serve(&mut server, |server| server.stats().clients == ROOM - 1);
    inside.push(stranger(&server));
    serve(&mut server, |server| server.stats().clients == ROOM);
}

const NONCE: &str = "0123456789abcdef0123456789abcdef";
const PROBE_TIME: Duration = Duration::from_millis(200);

/// A server that answers probes soon.
fn prober(listen: &[&str]) -> Rendezvous {
    let config = RendezvousConfig::new().probe_time(PROBE_TIME);
    listen.iter().fold(config, |config, at| config.listen(*at)).start().expect("port 0 is free")
}

fn listener() -> (TcpListener, u16) {
    let listener = common::listener();
    listener.set_nonblocking(true).expect("every socket can");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, port)
}

fn next_line(server: &mut Rendezvous, stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    serve(server, |_| {
        read_into(stream, &mut text);
        text.ends_with(b"\n")
    });
    String::from_utf8(text).expect("text")
}

fn accept(server: &mut Rendezvous, listener: &TcpListener) -> TcpStream {
    let mut accepted = None;
    serve(server, |_| {
        accepted = listener.accept().ok();
        accepted.is_some()
    });
    let (stream, _) = accepted.expect("somebody came");
    stream.set_nonblocking(true).expect("every socket can");
    stream
}

/// Asks for a probe of the port, and says in what time which answer came.
fn probe(
    server: &mut Rendezvous,
    asker: &mut TcpStream,
    port: u16,
    act: impl FnOnce(&mut Rendezvous),
) -> (Duration, String) {
    let begin: Instant = common::now();
    asker.write_all(format!("PROBE {port} {NONCE}\r\n").as_bytes()).expect("there is room");
    act(server);
    let answer = next_line(server, asker);
    (begin.elapsed(), answer)
}

/// The whole of it, by hand and without `HELLO`: the server says its one line, gets the nonce, goes away, and tells.
#[test]
fn a_port_that_answers_the_probe_can_be_reached() {
    let mut server = prober(&["127.0.0.1:0"]);
    let mut asker = stranger(&server);
    let (listener, port) = listener();
    let (took, answer) = probe(&mut server, &mut asker, port, |server| {
        let mut probed = accept(server, &listener);
        assert_eq!(next_line(server, &mut probed), "~probe\r\n");
        assert_eq!(server.stats().clients, 1, "a probe is no client");
        // A question on the probe's connection is none.
        probed.write_all(format!("~probe {NONCE}\r\nWHOAMI\r\n").as_bytes()).expect("there is room");
        serve(server, |_| match probed.read(&mut [0; 64]) {
            Ok(0) => true,
            Ok(len) => panic!("{len} bytes more"),
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        });
    });
    assert_eq!(answer, format!("PROBED {port} YES\r\n"));
    assert!(took >= PROBE_TIME, "{took:?}");
}

/// A closed port, one that says nothing, one where something else talks, one that talks without end, one that hangs up
/// and one that knows a wrong nonce: the asker can not tell which it was, neither by the answer nor by the clock.
#[test]
fn who_does_not_prove_the_nonce_is_not_told_from_nobody() {
    let mut server = prober(&["127.0.0.1:0"]);
    let mut asker = stranger(&server);
    let (listener, port) = listener();
    let wrong = format!("~probe {}\r\n", NONCE.replace('0', "1"));
    let endless = vec![b'x'; 100_000];
    let services: [Option<&[u8]>; 6] = [
        None,
        Some(b""),
        Some(b"220 mail.example.org ESMTP\r\n"),
        Some(b"~probe\r\n"),
        Some(wrong.as_bytes()),
        Some(&endless),
    ];
    let mut times = Vec::new();
    for service in services {
        let (took, answer) = probe(&mut server, &mut asker, port, |server| {
            let mut probed = accept(server, &listener);
            // None: it hangs up. What is not taken of an endless line is not read either.
            if let Some(service) = service {
                let _ = probed.write(service);
                let mut heard = Vec::new();
                serve(server, |_| match probed.read(&mut [0; 64]) {
                    Ok(0) => true,
                    Ok(len) => {
                        heard.extend([0].repeat(len));
                        service.is_empty()
                    }
                    Err(error) => error.kind() != ErrorKind::WouldBlock,
                });
                assert!(heard.len() <= 8, "more than the prompt was said");
            }
        });
        assert_eq!(answer, format!("PROBED {port} NO\r\n"));
        times.push(took);
    }
    drop(listener);
    let (took, answer) = probe(&mut server, &mut asker, port, |_| {});
    assert_eq!(answer, format!("PROBED {port} NO\r\n"));
    times.push(took);
    // A turn of the loop here, and a busy machine, are all that makes a difference.
    assert!(times.iter().all(|&time| time >= PROBE_TIME), "{times:?}");
    assert_eq!(server.stats().clients, 1);
}

/// Who asks and goes away is told nothing, and leaves nothing behind.
#[test]
fn a_probe_goes_with_its_asker() {
    let mut server = prober(&["127.0.0.1:0"]);
    let mut asker = stranger(&server);
    let (listener, port) = listener();
    asker.write_all(format!("PROBE {port} {NONCE}\r\n").as_bytes()).expect("there is room");
    let mut probed = accept(&mut server, &listener);
    assert_eq!(next_line(&mut server, &mut probed), "~probe\r\n");
    drop(asker);
    serve(&mut server, |_| match probed.read(&mut [0; 64]) {
        Ok(len) => len == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    });
    serve(&mut server, |server| server.stats().clients == 0);
}

/// A server that listens at several places tells of the others.
#[test]
fn a_server_tells_where_else_it_listens() {
    let mut server = prober(&["127.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0", "0.0.0.0:0"]);
    let ports: Vec<u16> = server.local_addrs().iter().map(|addr| addr.port()).collect();
    let mut asker = stranger(&server);
    asker.write_all(b"OBSERVERS\r\n").expect("there is room");
    let expected = format!("OBSERVERS :{} 127.0.0.2:{} :{}\r\n", ports[1], ports[2], ports[3]);
    assert_eq!(next_line(&mut server, &mut asker), expected);
    let mut alone = prober(&["127.0.0.1:0"]);
    let mut asker = stranger(&alone);
    asker.write_all(b"OBSERVERS\r\n").expect("there is room");
    assert_eq!(next_line(&mut alone, &mut asker), "OBSERVERS NONE\r\n");
}

/// A page in a browser can have it say lines of ours to a server, in the body of a request or elsewhere. What `curl -H
/// 'Content-Type: text/plain' --data-binary $'x\nPASSIVE READY 22 10\n' http://SERVER` says registers nothing.
#[test]
fn what_begins_like_another_protocol_is_hung_up_on_and_its_lines_are_not_read() {
    let http = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: curl/8.5.0\r\nAccept: */*\r\nContent-Type: text/plain\r\n\
        Content-Length: 22\r\n\r\nx\nPASSIVE READY 22 10\n";
    let tls = b"\x16\x03\x01\x00\xff\x01\nPASSIVE READY 22 10\n";
    let ssh = b"SSH-2.0-x\r\nPASSIVE READY 22 10\n";
    for text in [&http[..], tls, ssh] {
        for piece in [text.len(), 1] {
            let mut server = server();
            let mut stranger = stranger(&server);
            let mut rest = text.chunks(piece);
            let mut answer = [0; 10];
            let mut over = false;
            serve(&mut server, |server| {
                assert_eq!(server.stats().nodes, 0);
                if let Some(piece) = rest.next() {
                    over |= stranger.write_all(piece).is_err();
                }
                over |= !matches!(stranger.read(&mut answer), Err(error) if error.kind() == ErrorKind::WouldBlock);
                over && server.stats().clients == 0
            });
            assert_eq!(answer, [0; 10], "nor is it answered");
        }
    }
}
/// All addresses of both families, each given by itself, at one port.
#[test]
fn a_server_listens_at_all_addresses_of_both_families_given_one_by_one() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return; // without IPv6 there is one family
    }
    let order = [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"]];
    for order in order {
        // A port that was free a moment ago: both are to have the same, which port 0 does not give.
        let mut server = (0..20)
            .find_map(|_| {
                let port = std::net::TcpListener::bind("0.0.0.0:0").ok()?.local_addr().ok()?.port();
                let config = order
                    .iter()
                    .fold(RendezvousConfig::new(), |config, ip| config.listen(format!("{ip}:{port}")));
                config.start().ok()
            })
            .expect("they go together");
        let port = server.local_addrs()[0].port();
        assert_eq!(server.local_addrs().len(), 2);
        for ip in ["127.0.0.1", "::1"] {
            let mut client = std::net::TcpStream::connect((ip, port)).expect("it listens there");
            client.set_nonblocking(true).expect("it can");
            client.write_all(b"BOOTSTRAP 1\r\n").expect("there is room");
            assert_eq!(next_line(&mut server, &mut client), "NODES EMPTY\r\n");
        }
    }
}

#[test]
fn a_server_names_the_interface_that_is_not_there() {
    let error = RendezvousConfig::new().listen("[fe80::1%no-such-interface]:0").start().map(drop);
    assert!(error.expect_err("there is none").to_string().contains("no interface of that name"));
}

/// One server at two ports is two places from which a node is seen, and each names the other.
#[test]
fn a_second_port_is_taken_where_one_is_given() {
    let mut server =
        RendezvousConfig::new().listen("127.0.0.1:0").second_port(true).start().expect("port 0 is free");
    let addrs = server.local_addrs().to_vec();
    assert_eq!((addrs.len(), addrs[0].ip()), (2, addrs[1].ip()));
    assert!((addrs[0].port() + 1..=addrs[0].port() + 10).contains(&addrs[1].port()), "{addrs:?}");
    for (at, other) in [(0, 1), (1, 0)] {
        let mut stranger = TcpStream::connect(addrs[at]).expect("the server listens");
        stranger.set_nonblocking(true).expect("every socket can");
        stranger.write_all(b"OBSERVERS\r\n").expect("there is room");
        let mut answer = Vec::new();
        serve(&mut server, |_| {
            read_into(&mut stranger, &mut answer);
            answer.ends_with(b"\n")
        });
        assert_eq!(String::from_utf8_lossy(&answer), format!("OBSERVERS :{}\r\n", addrs[other].port()));
    }
    let two = RendezvousConfig::new().listen("127.0.0.1:0").listen("127.0.0.1:0").second_port(true);
    assert_eq!(two.start().expect("port 0 is free").local_addrs().len(), 2, "two are enough");
}

/// Prometheus is told the figures at a listener of their own, and nowhere else.
#[test]
fn figures_are_told_by_http() {
    let config = RendezvousConfig::new().listen("127.0.0.1:0").metrics(([127, 0, 0, 1], 0));
    let mut server = config.start().expect("port 0 is free");
    let at = server.metrics_addr().expect("it was asked for");
    assert!(!server.local_addrs().contains(&at));
    let mut client = stranger(&server);
    client.write_all(b"PASSIVE READY 7 1\r\n").expect("there is room");
    serve(&mut server, |server| server.stats().nodes == 1);
    let mut get = |request: &[u8]| {
        let mut stream = TcpStream::connect(at).expect("it listens");
        stream.set_nonblocking(true).expect("every socket can");
        stream.write_all(request).expect("there is room");
        let mut answer = String::new();
        serve(&mut server, |_| match stream.read_to_string(&mut answer) {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        });
        answer
    };
    let answer = get(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\np2poll_clients 1\n") && answer.contains("\np2poll_nodes 1\n"), "{answer}");
    assert!(get(b"POST / HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(get(b"PASSIVE READY 8 1\r\n").starts_with("HTTP/1.1 400 "));
    // Who asks for them is no client, and a request of ours is none there.
    assert_eq!((server.stats().clients, server.stats().nodes, server.stats().accepted), (1, 1, 1));
    // Those who never ask do not keep others from it for long, nor grow.
    let idle: Vec<_> = (0..20).map(|_| TcpStream::connect(at).expect("it listens")).collect();
    serve(&mut server, |_| true);
    assert_eq!(server.stats().clients, 1);
    drop(idle);
}
