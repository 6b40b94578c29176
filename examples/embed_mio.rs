//! A `Net` inside a mio loop that has other things to do: here a UDP socket that counts datagrams. Everything wakes
//! the one poller, and nothing is asked without need.
//!
//! `cargo run --example embed_mio -- --seconds 2`
//!
//! The three rules: register the `Net` as a source; wait no longer than `next_wakeup()` says; after each wait walk the
//! connections, whatever woke. The other ends of both are played by a second `Net` of the same loop. Unix only.

#[cfg(unix)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    unix::run(unix::seconds_argument()?)
}

#[cfg(not(unix))]
fn main() {
    println!("a Net is a source of mio's on unix only; elsewhere call Net::poll in a loop of yours");
}

#[cfg(unix)]
mod unix {
    use std::error::Error;
    use std::io;
    use std::time::{Duration, Instant};

    use mio::net::UdpSocket;
    use mio::{Events, Interest, Poll, Token};
    use p2poll::{Config, Net};

    const UDP: Token = Token(0);
    const NET: Token = Token(1);
    const PARTNER: Token = Token(2);

    pub(super) fn run(seconds: u64) -> Result<(), Box<dyn Error>> {
        let mut partner = Config::new().bind([127, 0, 0, 1].into()).start()?;
        let address = partner.local_addr().ok_or("the partner does not listen")?;
        let mut net = Config::new().bind([127, 0, 0, 1].into()).peer(address.to_string()).start()?;
        let mut udp = UdpSocket::bind(([127, 0, 0, 1], 0).into())?;
        let udp_address = udp.local_addr()?;

        let mut poll = Poll::new()?;
        poll.registry().register(&mut udp, UDP, Interest::READABLE)?;
        poll.registry().register(&mut net, NET, Interest::READABLE)?;
        poll.registry().register(&mut partner, PARTNER, Interest::READABLE)?;

        let mut events = Events::with_capacity(64);
        let (mut turns, mut lines, mut datagrams) = (0, 0, 0);
        let end = now() + Duration::from_secs(seconds);
        let mut next_line = now();
        while now() < end {
            // This program's own business, which has its own deadlines: a line each 100 ms.
            if now() >= next_line {
                next_line += Duration::from_millis(100);
                net.broadcast("tick", None);
            }
            // First drive what is driven, then ask how long it may be left alone.
            lines += walk(&net, None);
            let heard = walk(&partner, Some("tock"));
            for _ in 0..heard {
                udp.send_to(b"tick", udp_address)?;
            }

            let deadlines =
                [Some(next_line.saturating_duration_since(now())), net.next_wakeup(), partner.next_wakeup()];
            match poll.poll(&mut events, deadlines.into_iter().flatten().min()) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error.into()),
                _ => turns += 1,
            }
            if events.iter().any(|event| event.token() == UDP) {
                datagrams += receive(&udp)?;
            }
        }
        println!("{turns} turns of the loop, {lines} lines from the net, {datagrams} datagrams");
        if lines == 0 || datagrams == 0 { Err("somebody was never heard".into()) } else { Ok(()) }
    }

    /// Hears all lines, answers each, and says how many there were.
    fn walk(net: &Net, answer: Option<&str>) -> usize {
        let mut lines = 0;
        for con in net.connections() {
            for _line in con.replies() {
                lines += 1;
                if let Some(answer) = answer {
                    let _ = con.send_line(answer);
                }
            }
        }
        lines
    }

    fn receive(udp: &UdpSocket) -> io::Result<usize> {
        let mut datagrams = 0;
        loop {
            match udp.recv_from(&mut [0; 64]) {
                Ok(_) => datagrams += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(datagrams),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn seconds_argument() -> Result<u64, &'static str> {
        const USAGE: &str = "usage: embed_mio [--seconds N]";
        let mut arguments = std::env::args().skip(1);
        match (arguments.next().as_deref(), arguments.next(), arguments.next()) {
            (None, ..) => Ok(2),
            (Some("--seconds"), Some(seconds), None) => seconds.parse().map_err(|_| USAGE),
            _ => Err(USAGE),
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the loop is this program's, and so is its clock")]
    fn now() -> Instant {
        Instant::now()
    }
}
