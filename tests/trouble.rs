//! Bad input and trouble: each has a clear outcome, and nothing is lost.
#![allow(clippy::unwrap_used)]

mod common;

use std::cell::RefCell;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use common::*;
use p2poll::{
    CloseReason, Con, ConnectError, Event, Net, RendezvousConfig, RendezvousNews, SendError, ServerFault,
    StartError, Via,
};

/// The size of one read: what a limit may be exceeded by.
const ONE_READ: u64 = 64 << 10;

thread_local!(static LOG: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) });

/// Keeps what is logged on a test's own thread: a node logs on the thread that drives it.
fn capture_log() {
    struct Logger;

    impl log::Log for Logger {
        fn enabled(&self, _: &log::Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &log::Record<'_>) {
            LOG.with_borrow_mut(|log| log.push(format!("{} {}", record.level(), record.args())));
        }

        fn flush(&self) {}
    }

    // Another test was first.
    let _ = log::set_logger(&Logger);
    log::set_max_level(log::LevelFilter::Info);
}

/// Waits for a line of the log with all these words.
#[track_caller]
fn logged(net: &mut Net, words: &[&str]) -> String {
    until(net, |_| {
        LOG.with_borrow(|log| log.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned())
    })
}

fn con(net: &Net, id: p2poll::ConId) -> Con<'_> {
    net.con(id).expect("it is open")
}

#[test]
fn a_peer_that_stops_reading_fills_its_queue_and_nothing_else() {
    const QUEUE: usize = 64 << 10;
    let mut net = config().max_queued(QUEUE).start().unwrap();
    let (mut deaf, deaf_id) = netcat(&mut net);
    let (mut good, _) = netcat(&mut net);
    let line = |n: usize| format!("{n:>1000}");
    // Until the buffers of both sockets and the queue are full: a broadcast reaches the other one only.
    let mut sent = 0;
    let mut full_turns = 0;
    while full_turns < 20 {
        assert!(sent < 100_000, "where is it all?");
        match con(&net, deaf_id).send_line(line(sent)) {
            Ok(()) => (sent, full_turns) = (sent + 1, 0),
            Err(why) => {
                assert_eq!(why, SendError::Full);
                full_turns += 1;
                net.poll(Some(Duration::from_millis(1))).unwrap();
            }
        }
        assert!(con(&net, deaf_id).queued() <= QUEUE);
    }
    assert!(con(&net, deaf_id).queued() > QUEUE - 2000);
    for n in 0..100 {
        assert_eq!(net.broadcast(line(n), None), 1);
        net.poll(Some(Duration::ZERO)).unwrap();
        expect(&mut good, format!("{}\r\n", line(n)).as_bytes());
    }
    // It did not lose a line of those that were taken.
    deaf.set_nonblocking(true).unwrap();
    let expected: Vec<u8> = (0..sent).flat_map(|n| (line(n) + "\r\n").into_bytes()).collect();
    let mut got = Vec::new();
    until(&mut net, |_| {
        use std::io::Read as _;
        // It ends with "would block".
        let _ = deaf.read_to_end(&mut got);
        (got.len() >= expected.len()).then_some(())
    });
    assert!(got == expected);
    con(&net, deaf_id).send_line("room again").unwrap();
}

#[test]
fn a_peer_that_floods_gets_its_share_of_each_tick() {
    const SHARE: usize = 16 << 10;
    let mut net = config().read_per_tick(SHARE).start().unwrap();
    let (mut flood, flood_id) = netcat(&mut net);
    let mut quiet: Vec<_> = (0..3).map(|_| netcat(&mut net)).collect();
    let torrent = b"0123456\n".repeat(64 << 10);
    flood.set_nonblocking(true).unwrap();
    let mut answered = 0;
    for turn in 0..60 {
        // Cut anywhere: the flood goes on in the middle of a line.
        write_some(&mut flood, &torrent);
        for (raw, _) in &mut quiet {
            raw.write_all(format!("turn {turn}\n").as_bytes()).unwrap();
        }
        for con in net.connections() {
            let mut bytes = 0;
            for line in con.replies() {
                bytes += line.as_bytes().len() + 1;
                answered += usize::from(con.id() != flood_id);
            }
            assert!(bytes as u64 <= SHARE as u64 + ONE_READ, "{bytes} bytes in one tick");
        }
    }
    until(&mut net, |net| {
        write_some(&mut flood, &torrent);
        for con in net.connections().filter(|con| con.id() != flood_id) {
            answered += con.replies().count();
        }
        (answered == 3 * 60).then_some(())
    });
}

#[test]
fn a_flood_that_nobody_reads_is_not_taken_in() {
    let mut net = config().max_unread(32 << 10).start().unwrap();
    let (mut flood, id) = netcat(&mut net);
    let torrent = b"0123456\n".repeat(64 << 10);
    flood.set_nonblocking(true).unwrap();
    for _ in 0..200 {
        write_some(&mut flood, &torrent);
        net.poll(Some(Duration::ZERO)).unwrap();
        let received = con(&net, id).stats().unwrap().bytes_received;
        assert!(received <= (32 << 10) + ONE_READ, "{received} bytes");
    }
    // Nobody loses by that: it is read in full when the application turns to it.
    assert!(next_lines(&mut net, id, 20_000).iter().all(|line| line == "0123456"));
}

#[test]
fn more_than_the_slots_are_refused_until_one_is_free() {
    capture_log();
    let mut net = config().max_inbound(2).start().unwrap();
    let (first, first_id) = netcat(&mut net);
    let (_second, _) = netcat(&mut net);
    let mut third = dial(&net);
    expect_end_of(&mut net, &mut third);
    logged(&mut net, &["WARN refused 127.0.0.1: Full"]);
    assert_eq!(net.len(), 2);
    // A crowd makes no crowd of log lines.
    for _ in 0..30 {
        let mut refused = dial(&net);
        expect_end_of(&mut net, &mut refused);
    }
    assert!(LOG.with_borrow(|log| log.iter().filter(|line| line.contains("refused")).count()) <= 20);
    drop(first);
    assert_eq!(to_the_end(&mut net, first_id).1, CloseReason::Peer);
    let (mut fourth, id) = netcat(&mut net);
    fourth.write_all(b"at last\n").unwrap();
    assert_eq!(next_lines(&mut net, id, 1), ["at last"]);
}

/// Runs in a process of its own, as it takes all file descriptors.
#[cfg(target_os = "linux")]
#[test]
fn out_of_file_descriptors() {
    const NAME: &str = "P2POLL_TEST_DESCRIPTORS";
    if std::env::var_os(NAME).is_some() {
        return without_descriptors();
    }
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            "ulimit -n 64 && exec \"$0\" --exact out_of_file_descriptors --nocapture --test-threads=1",
        ])
        .arg(std::env::current_exe().unwrap())
        .env(NAME, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[cfg(target_os = "linux")]
fn without_descriptors() {
    capture_log();
    let mut net = config().start().unwrap();
    let (mut old, old_id) = netcat(&mut net);
    let mut waiting: Vec<_> = (0..3).map(|_| dial(&net)).collect();
    let mut held: Vec<std::fs::File> = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        held.push(file);
    }
    // Refused, and told.
    for raw in &mut waiting {
        expect_end_of(&mut net, raw);
    }
    logged(&mut net, &["WARN out of file descriptors: refused "]);
    // An attempt fails like any other.
    net.connect_addr(closed_port_of(&mut held)).unwrap();
    held.extend(std::fs::File::open("/dev/null"));
    event(&mut net, |event| matches!(event, Event::Failed { .. }).then_some(()));
    // Those that are connected notice nothing.
    old.write_all(b"still here\n").unwrap();
    assert_eq!(next_lines(&mut net, old_id, 1), ["still here"]);
    con(&net, old_id).send_line("so am I").unwrap();
    drop(net.connections());
    expect(&mut old, b"so am I\r\n");
    // Its loop sleeps meanwhile, also with somebody at the door.
    held.pop();
    let late = dial(&net);
    let begin = now();
    let mut polls = 0;
    while begin.elapsed() < Duration::from_millis(300) {
        net.poll(Some(Duration::from_millis(100))).unwrap();
        polls += 1;
    }
    assert!(polls < 50, "{polls} turns in 300 ms");
    // It recovers.
    drop((held, late, waiting));
    let (mut new, id) = netcat(&mut net);
    new.write_all(b"hello\n").unwrap();
    assert_eq!(next_lines(&mut net, id, 1), ["hello"]);
}

#[cfg(target_os = "linux")]
fn closed_port_of(held: &mut Vec<std::fs::File>) -> SocketAddr {
    held.pop();
    closed_port()
}

/// What is told of the only server next.
#[track_caller]
fn news(net: &mut Net) -> RendezvousNews {
    event(net, |event| match event {
        Event::Rendezvous { news, .. } => Some(news),
        _ => None,
    })
}

#[track_caller]
fn down(net: &mut Net) -> (ServerFault, Duration) {
    match news(net) {
        RendezvousNews::Down { why, retry_in } => (why, retry_in),
        news => panic!("{news:?}"),
    }
}

/// A node whose only server is the test.
fn with_server() -> (Net, TcpListener) {
    let listener = listener();
    let config = config().rendezvous(listener.local_addr().unwrap().to_string());
    (config.answer_timeout(Duration::from_millis(100)).start().unwrap(), listener)
}

#[test]
fn a_server_that_is_down_is_told_and_tried_again() {
    capture_log();
    let addr = closed_port();
    let mut net = config().rendezvous(addr.to_string()).start().unwrap();
    let (why, retry_in) = down(&mut net);
    assert_eq!(why, ServerFault::Unreachable);
    assert!(retry_in > Duration::ZERO && retry_in < PATIENCE);
    logged(&mut net, &[&addr.to_string(), "unreachable", "trying again in"]);
    let (why, later) = down(&mut net);
    assert_eq!(why, ServerFault::Unreachable);
    assert!(later > retry_in, "{later:?} after {retry_in:?}");
    // It comes up meanwhile.
    let Ok(server) = RendezvousConfig::new().listen(addr.to_string()).start() else {
        return eprintln!("somebody else has taken {addr} meanwhile");
    };
    let mut server = server;
    let up = until(&mut net, |net| {
        server.poll(Some(Duration::ZERO)).unwrap();
        net.events().find_map(|event| match event {
            Event::Rendezvous { news: RendezvousNews::Up { kind, .. }, .. } => Some(kind),
            _ => None,
        })
    });
    assert_eq!(up, p2poll::ServerKind::P2poll);
    until(&mut net, |_| {
        server.poll(Some(Duration::ZERO)).unwrap();
        (server.stats().nodes == 1).then_some(())
    });
}

#[test]
fn a_server_that_does_not_answer_is_told_and_tried_again() {
    let (mut net, listener) = with_server();
    let _first = accept_from(&mut net, &listener);
    assert_eq!(down(&mut net).0, ServerFault::Slow);
    let _second = accept_from(&mut net, &listener);
}

#[test]
fn a_server_that_talks_nonsense_is_told_and_tried_again() {
    let (mut net, listener) = with_server();
    for nonsense in [b"HTTP/1.1 400 Bad Request\r\n".repeat(20), b"NODES no:such:thing\r\n".to_vec()] {
        let mut server = accept_from(&mut net, &listener);
        server.write_all(&nonsense).unwrap();
        assert_eq!(down(&mut net).0, ServerFault::Nonsense);
    }
    // Nor is one line of it, even from a server that then hangs up.
    accept_from(&mut net, &listener).write_all(b"220 mail.example.org ESMTP\r\n").unwrap();
    assert_eq!(down(&mut net).0, ServerFault::Nonsense);
    // A line without end is no answer either, and takes no memory for ever.
    let mut server = accept_from(&mut net, &listener);
    server.set_nonblocking(true).unwrap();
    let mut end = None;
    until(&mut net, |net| {
        let written = server.write(&[b'x'; 4096]);
        end = end.or(net.events().find_map(|event| match event {
            Event::Rendezvous { news: RendezvousNews::Down { why, .. }, .. } => Some(why),
            _ => None,
        }));
        drop(written);
        end
    });
}

#[test]
fn a_server_that_hangs_up_is_told_and_tried_again() {
    let (mut net, listener) = with_server();
    drop(accept_from(&mut net, &listener));
    assert_eq!(down(&mut net).0, ServerFault::HungUp);
    drop(accept_from(&mut net, &listener));
}

#[test]
fn one_dead_server_does_not_keep_another_from_serving() {
    let mut server = RendezvousConfig::new().listen("127.0.0.1:0").start().unwrap();
    let mut net = config()
        .rendezvous(closed_port().to_string())
        .rendezvous(server.local_addrs()[0].to_string())
        .start()
        .unwrap();
    until(&mut net, |_| {
        server.poll(Some(Duration::ZERO)).unwrap();
        (server.stats().nodes == 1).then_some(())
    });
}

#[test]
fn a_port_in_use_is_an_error_that_says_what_to_do() {
    let taken = listener();
    let addr = taken.local_addr().unwrap();
    let error = config().port(addr.port()).start().unwrap_err();
    assert!(matches!(&error, StartError::Listen { addr: named, .. } if *named == addr), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&addr.to_string()) && text.contains("choose another port"), "{text}");
    // Of two nodes too, and of servers.
    let net = start();
    let addr = net.local_addr().unwrap();
    assert!(config().port(addr.port()).start().is_err());
    let text = RendezvousConfig::new().listen(addr.to_string()).start().unwrap_err().to_string();
    assert!(text.contains(&addr.to_string()) && text.contains("choose another port"), "{text}");
}

#[test]
fn an_address_of_another_machine_is_an_error_that_says_what_to_do() {
    let text = config().bind("192.0.2.1".parse().unwrap()).start().unwrap_err().to_string();
    assert!(text.contains("192.0.2.1") && text.contains("choose an address of this machine"), "{text}");
}

#[test]
fn what_is_no_address_is_an_error_that_says_what_to_do() {
    for bad in ["example.org", "example.org:", ":80", "example.org:0", "::1:80", "ex ample:80", "a:70000", ""]
    {
        for error in [config().rendezvous(bad).start(), config().peer(bad).start()] {
            let error = error.map(|_| bad).unwrap_err();
            assert!(matches!(&error, StartError::BadAddress { text, .. } if text == bad), "{bad}: {error:?}");
            let text = error.to_string();
            assert!(text.contains(&format!("{bad:?}")) && text.contains("write HOST:PORT"), "{text}");
        }
        let error = start().connect_addr(bad).unwrap_err();
        assert!(
            matches!(error, ConnectError::BadAddress(_)) && error.to_string().contains("write HOST:PORT")
        );
    }
    let text = RendezvousConfig::new().listen("localhost:80").start().unwrap_err().to_string();
    assert!(text.contains("\"localhost:80\"") && text.contains("IP:PORT"), "{text}");
}

#[test]
fn a_configuration_that_contradicts_itself_is_an_error() {
    for bad in
        [config().max_line(0), config().max_queued(0), config().max_events(0), config().max_attempts(0)]
    {
        let error = bad.start().unwrap_err();
        assert!(matches!(error, StartError::BadConfig(_)), "{error:?}");
        assert!(error.to_string().contains("at least 1"), "{error}");
    }
    // Nor may a server be asked without a pause.
    for bad in [config().bootstrap_interval(Duration::ZERO), config().advertise_interval(Duration::ZERO)] {
        let error = bad.rendezvous("127.0.0.1:1").start().unwrap_err();
        assert!(matches!(error, StartError::BadConfig(_)), "{error:?}");
        assert!(error.to_string().contains("bootstrap_interval"), "{error}");
    }
}

#[test]
fn the_ends_of_one_tick_are_told_in_the_order_in_which_they_came() {
    let mut net = start();
    let (raws, ids): (Vec<_>, Vec<_>) = (0..3).map(|_| netcat(&mut net)).unzip();
    // The operating system has nothing more to say of the beginnings: what follows is in the order of the ends.
    net.poll(Some(Duration::ZERO)).unwrap();
    net.events().for_each(drop);
    raws.into_iter().for_each(drop);
    let mut closed = Vec::new();
    until(&mut net, |net| {
        closed.extend(net.events().map(|event| match event {
            Event::Closed { con, why: CloseReason::Peer } => con,
            other => panic!("{other:?}"),
        }));
        (closed.len() >= 3).then_some(())
    });
    assert_eq!(closed, ids);
}

#[test]
fn the_filter_decides_who_comes_in() {
    let mut net = start();
    let welcome = std::net::TcpStream::connect(net.local_addr().unwrap()).unwrap();
    let welcome_addr = welcome.local_addr().unwrap();
    net.filter_inbound(move |peer| peer == welcome_addr);
    let mut stranger = dial(&net);
    expect_end_of(&mut net, &mut stranger);
    let id = shown(&mut net, welcome_addr);
    assert_eq!(net.len(), 1);
    assert_eq!(con(&net, id).stats().unwrap().via, Via::Accepted);
    // Whom we dial ourselves it is not asked about.
    netcat_listening(&mut net);
}

/// Bytes of browsers and scanners, of which the last line is one that a page chose.
const FOREIGN: [&[u8]; 4] = [
    b"POST / HTTP/1.1\r\nContent-Type: text/plain\r\n\r\nhello\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nhello\r\n",
    b"\x16\x03\x01\x02\0\nhello\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\nhello\r\n",
];

#[test]
fn what_speaks_another_protocol_is_hung_up_on_and_nothing_of_it_is_shown() {
    capture_log();
    let mut net = start();
    for (n, said) in FOREIGN.iter().enumerate() {
        let (mut raw, id) = netcat(&mut net);
        if n % 2 == 0 {
            raw.write_all(said).unwrap();
        } else {
            // However it comes.
            for byte in said.chunks(1).take(10) {
                // It may have hung up already.
                let _ = raw.write_all(byte);
                net.poll(Some(Duration::ZERO)).unwrap();
            }
            let _ = raw.write_all(&said[10..]);
        }
        let why = until(&mut net, |net| {
            assert_eq!(net.connections().flat_map(|con| con.replies()).count(), 0);
            net.events().find_map(|event| match event {
                Event::Closed { con, why } if con == id => Some(why),
                _ => None,
            })
        });
        assert_eq!(why, CloseReason::Foreign);
        expect_end_of(&mut net, &mut raw);
    }
    // One note for all of them.
    let notes = logged(&mut net, &["WARN hung up on"]);
    assert!(notes.contains("which speaks HTTP"), "{notes}");
}

#[test]
fn a_node_of_links_shows_no_connection_of_another_protocol() {
    let mut net = config().direct().start().unwrap();
    // More than it has slots.
    for said in FOREIGN.iter().cycle().take(12) {
        let mut raw = dial(&net);
        raw.write_all(said).unwrap();
        expect_end_of(&mut net, &mut raw);
        assert_eq!(net.len(), 0);
        assert!(!net.events().any(|event| matches!(event, Event::Connected { .. })));
    }
    let mut raw = dial(&net);
    raw.write_all(b"GET ready\n").unwrap();
    let id = shown(&mut net, raw.local_addr().unwrap());
    assert_eq!(next_lines(&mut net, id, 1), ["GET ready"]);
    raw.write_all(b"GET / HTTP/1.1\n").unwrap();
    assert_eq!(next_lines(&mut net, id, 1), ["GET / HTTP/1.1"], "only how it begins counts");
}

#[test]
fn a_program_may_want_other_protocols() {
    let mut net = config().foreign_protocols(true).start().unwrap();
    let (mut raw, id) = netcat(&mut net);
    raw.write_all(b"GET / HTTP/1.1\n").unwrap();
    assert_eq!(next_lines(&mut net, id, 1), ["GET / HTTP/1.1"]);
}

#[test]
fn a_ban_closes_and_refuses_until_it_ends() {
    capture_log();
    let mut net = start();
    let home = IpAddr::from(Ipv4Addr::LOCALHOST);
    let (mut raw, id) = netcat(&mut net);
    let (mut dialled, dialled_id) = netcat_listening(&mut net);
    net.ban(home, None);
    assert!(net.con(id).is_none() && net.con(dialled_id).is_none());
    expect_end_of(&mut net, &mut raw);
    expect_end_of(&mut net, &mut dialled);
    drop((raw, dialled));
    assert_eq!(net.banned(), [(home, None)]);
    let mut refused = dial(&net);
    expect_end_of(&mut net, &mut refused);
    logged(&mut net, &["WARN refused 127.0.0.1: Banned"]);
    assert!(net.unban(home) && !net.unban(home));
    assert_eq!(net.banned(), []);
    netcat(&mut net);
    // For a time.
    net.ban(home, Some(Duration::from_millis(100)));
    assert!(net.banned()[0].1.is_some_and(|left| left <= Duration::from_millis(100)));
    until(&mut net, |net| net.banned().is_empty().then_some(()));
    netcat(&mut net);
}

#[test]
fn known_peers_are_kept_between_runs() {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("known-{}", std::process::id()));
    let peer = listener();
    let addr = peer.local_addr().unwrap();

    let mut net = config().known_peers(&file).start().unwrap();
    net.connect_addr(addr).unwrap();
    shown(&mut net, addr);
    let gone = patient(peer.accept().unwrap().0);
    drop(gone);
    assert!(net.finish(PATIENCE).unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("{addr}\n"));

    // What else stands there is passed over.
    std::fs::write(&file, format!("# nonsense\n\n999.1.1.1:5\n{addr}\n\0\u{fffd}\n")).unwrap();
    let mut net = config().known_peers(&file).start().unwrap();
    shown(&mut net, addr);
    drop(net);
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_known_peers_file_that_can_not_be_had_is_told() {
    capture_log();
    let folder = env!("CARGO_TARGET_TMPDIR");
    let mut net = config().known_peers(folder).start().unwrap();
    logged(&mut net, &["WARN the known peers in", "could not be read"]);
    netcat(&mut net);
}

/// A path of this test's own.
fn scratch(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-{}", std::process::id()))
}

#[test]
fn a_file_of_somebody_else_is_not_overwritten_by_known_peers() {
    const NOTES: &str = "# my notes\nbuy milk\n";
    capture_log();
    let file = scratch("notes");
    std::fs::write(&file, NOTES).unwrap();
    let mut net = config().known_peers(&file).start().unwrap();
    logged(&mut net, &["WARN", &file.display().to_string(), "left alone"]);
    // There is a peer to be remembered.
    let (_raw, _) = netcat_listening(&mut net);
    assert!(net.finish(PATIENCE).unwrap());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), NOTES);
    std::fs::remove_file(&file).unwrap();
}

/// Names are looked up by the same worker: one that waited for a pipe would look up nothing any more.
#[cfg(unix)]
#[test]
fn what_is_no_regular_file_holds_up_nothing() {
    capture_log();
    let (pipe, folder) = (scratch("pipe"), scratch("folder"));
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::fs::create_dir(&folder).unwrap();
    for path in [&pipe, &folder] {
        let mut net = config().known_peers(path).start().unwrap();
        let listener = listener();
        net.connect_addr(format!("localhost:{}", listener.local_addr().unwrap().port())).unwrap();
        event(&mut net, |event| matches!(event, Event::Connected { .. }).then_some(()));
        logged(&mut net, &["WARN the known peers in", &path.display().to_string(), "could not be read"]);
    }
    std::fs::remove_file(&pipe).unwrap();
    std::fs::remove_dir(&folder).unwrap();
}
