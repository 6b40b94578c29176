//! p2poll, as its README shows it.

use super::{Contestant, Host, Stop};
use crate::Result;
use crate::meter::{Laps, Meter};
use ::p2poll::{Config, Event, Net, SendError};
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::time::Duration;

pub struct P2poll;

/// The same where a program only looks at lines, or sends many at once.
pub struct InBulk;

impl Contestant for InBulk {
    fn name(&self) -> &'static str {
        "p2poll, in bulk"
    }

    fn takes_part(&self, measurement: &str) -> bool {
        ["receiving", "sending"].contains(&measurement)
    }

    fn receive(&self, announce: &Sender<SocketAddr>, meter: &mut Meter<'_>) -> Result<()> {
        let mut net = listening()?;
        announce.send(address(&net))?;
        loop {
            for con in net.connections() {
                con.for_each_line(|line| meter.line(line.as_bytes()));
            }
            if closed(&net) {
                return Ok(());
            }
            net.poll(None)?;
        }
    }

    fn send(&self, to: SocketAddr, line: &str, stop: &Stop<'_>) -> Result<()> {
        let mut net = dialling(to, config()?)?;
        let lines = [line; Stop::ASK_EVERY];
        loop {
            for con in net.connections() {
                while stop.wants_more() {
                    match con.send_lines(&lines) {
                        Ok(()) => {}
                        Err(SendError::Full) => break,
                        Err(error) => return Err(error.into()),
                    }
                }
                if !stop.wants_more() {
                    con.close();
                }
            }
            if closed(&net) {
                return Ok(());
            }
            net.poll(None)?;
        }
    }

    fn echo(&self, announce: &Sender<SocketAddr>) -> Result<()> {
        P2poll.echo(announce)
    }

    fn ask(&self, to: SocketAddr, line: &str, laps: &mut Laps) -> Result<()> {
        P2poll.ask(to, line, laps)
    }

    fn host(&self) -> Result<Box<dyn Host>> {
        P2poll.host()
    }
}

impl Contestant for P2poll {
    fn name(&self) -> &'static str {
        "p2poll"
    }

    fn receive(&self, announce: &Sender<SocketAddr>, meter: &mut Meter<'_>) -> Result<()> {
        let mut net = listening()?;
        announce.send(address(&net))?;
        loop {
            for con in net.connections() {
                for line in con.replies() {
                    meter.line(line.as_bytes());
                }
            }
            if closed(&net) {
                return Ok(());
            }
            net.poll(None)?;
        }
    }

    fn send(&self, to: SocketAddr, line: &str, stop: &Stop<'_>) -> Result<()> {
        let mut net = dialling(to, config()?)?;
        loop {
            for con in net.connections() {
                'full: while stop.wants_more() {
                    for _ in 0..Stop::ASK_EVERY {
                        match con.send_line(line) {
                            Ok(_) => {}
                            Err(SendError::Full) => break 'full,
                            Err(error) => return Err(error.into()),
                        }
                    }
                }
                if !stop.wants_more() {
                    con.close();
                }
            }
            if closed(&net) {
                return Ok(());
            }
            net.poll(None)?;
        }
    }

    fn echo(&self, announce: &Sender<SocketAddr>) -> Result<()> {
        let mut net = listening()?;
        announce.send(address(&net))?;
        loop {
            for con in net.connections() {
                for line in con.replies() {
                    con.send_line(&*line)?;
                }
            }
            if closed(&net) {
                return Ok(());
            }
            net.poll(None)?;
        }
    }

    fn ask(&self, to: SocketAddr, line: &str, laps: &mut Laps) -> Result<()> {
        let mut net = dialling(to, config()?)?;
        for con in net.connections() {
            laps.asked();
            con.send_line(line)?;
        }
        loop {
            for con in net.connections() {
                for _ in con.replies() {
                    if !laps.answered() {
                        con.close();
                        continue;
                    }
                    laps.asked();
                    con.send_line(line)?;
                }
            }
            if closed(&net) {
                return Ok(());
            }
            net.poll(None)?;
        }
    }

    fn host(&self) -> Result<Box<dyn Host>> {
        Ok(Box::new(Idle { net: listening()? }))
    }
}

fn config() -> Result<Config> {
    let config = Config::new().port(0).bind("127.0.0.1".parse()?);
    Ok(config.max_inbound(20_000).max_inbound_per_address(20_000))
}

fn listening() -> Result<Net> {
    Ok(config()?.start()?)
}

fn address(net: &Net) -> SocketAddr {
    net.local_addr().expect("a net that listens has an address")
}

/// Connects and waits until the connection is there.
fn dialling(to: SocketAddr, config: Config) -> Result<Net> {
    let mut net = config.start()?;
    net.connect_addr(to)?;
    while net.connections().count() == 0 {
        for event in net.events() {
            if let Event::Failed { why, .. } = event {
                return Err(format!("could not connect to {to}: {why}").into());
            }
        }
        net.poll(None)?;
    }
    Ok(net)
}

fn closed(net: &Net) -> bool {
    net.events().any(|event| matches!(event, Event::Closed { .. }))
}

struct Idle {
    net: Net,
}

impl Host for Idle {
    fn address(&self) -> SocketAddr {
        address(&self.net)
    }

    fn serve(&mut self, wait: Duration) -> Result<usize> {
        self.net.poll(Some(wait))?;
        self.net.events().for_each(drop);
        Ok(self.net.connections().count())
    }

    fn tick(&mut self) -> Result<bool> {
        for con in self.net.ready() {
            con.replies().for_each(drop);
        }
        self.net.poll(Some(Duration::ZERO))?;
        Ok(true)
    }

    fn hear(&mut self, wait: Duration) -> Result<Option<usize>> {
        self.net.poll(Some(wait))?;
        Ok(Some(self.net.ready().map(|con| con.replies().count()).sum()))
    }

    fn walk(&mut self) -> Option<usize> {
        let mut count = 0;
        for con in self.net.connections() {
            std::hint::black_box(con);
            count += 1;
        }
        Some(count)
    }

    fn walk_lines(&mut self) -> Option<usize> {
        let mut count = 0;
        for con in self.net.connections() {
            std::hint::black_box(con.replies().next());
            count += 1;
        }
        Some(count)
    }
}
