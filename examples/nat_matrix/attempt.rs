//! One attempt: two new nodes find out how they can be reached, and one connects to the other.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use crate::cells::{Cell, Layout};
use crate::gauge::Gauge;
use crate::ground::{Ground, Place};
use crate::peer::{Outcome, Peer, Settings};

/// Far more than it takes to find out about one's own reach.
const READY: Duration = Duration::from_secs(12);
/// More than a node takes to give up.
const OUTCOME: Duration = Duration::from_secs(20);
/// For one line over a connection, relayed ones included.
const LINE: Duration = Duration::from_secs(3);
/// Ports of the first end and of the second, below those that systems choose by themselves. Each attempt has others, so that
/// no router and no system remembers anything of them.
const PORTS: [u16; 2] = [20_000, 22_000];

/// What came of it.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    pub(crate) number: usize,
    pub(crate) end: End,
    /// How long this machine stood still meanwhile, or by how much the latest packet was too late, whichever is longer.
    pub(crate) stalled: Duration,
    /// What both ends have said; empty when all is well.
    pub(crate) traces: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug)]
pub(crate) enum End {
    /// And lines went both ways.
    Connected { via: String, took: Duration },
    /// The node has given up, with these reasons.
    Failed(String),
    /// Something else was wrong, before or after.
    Trouble(String),
}

impl Display for End {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            End::Connected { via, took } => write!(f, "{via} after {} ms", took.as_millis()),
            End::Failed(why) | End::Trouble(why) => f.write_str(why),
        }
    }
}

impl Attempt {
    /// There was nothing to attempt it in.
    pub(crate) fn without_network(number: usize, why: &io::Error) -> Attempt {
        let end = End::Trouble(format!("the network could not be built: {why}"));
        Attempt { number, end, stalled: Duration::ZERO, traces: Vec::new() }
    }
}

/// Makes one. Who connects, and whose signals are late, alternates with its number.
pub(crate) fn attempt(ground: &Ground, gauge: &Gauge, cell: &Cell, number: usize) -> Attempt {
    let turn = if cell.first_connects { 0 } else { number % 2 };
    let places = ground.places();
    let [first, second] = [0, 1].map(|at| {
        let port = PORTS[at] + u16::try_from(number).unwrap_or_default();
        start(ground, places[at], port)
    });
    let (mut caller, mut called, places) = match (first, second) {
        (Ok(first), Ok(second)) if turn == 0 => (first, second, places),
        (Ok(first), Ok(second)) => (second, first, [places[1], places[0]]),
        (Err(why), _) | (_, Err(why)) => return Attempt::without_network(number, &why),
    };
    let late = places[number / 2 % 2];
    let ends = [&mut caller, &mut called];
    let mut stalled = Duration::ZERO;
    let end = get_ready(ends).and_then(|ends| {
        let start = Instant::now();
        ground.lab.lateness();
        let end = climb(ground, cell, late, ends);
        stalled = gauge.stalled_since(start).max(ground.lab.lateness());
        end
    });
    let end = end.unwrap_or_else(End::Trouble);
    let mut attempt = Attempt { number, end, stalled, traces: Vec::new() };
    if cell.misses(&attempt).is_some() {
        attempt.traces = vec![("who connects", caller.trace()), ("who is called", called.trace())];
        attempt.traces.extend(ground.servers.iter().map(|server| ("a server", server.trace())));
    }
    attempt
}

fn start(ground: &Ground, place: &Place, port: u16) -> io::Result<Peer> {
    place.prepare(port);
    let settings = Settings { mapping: place.is_mappable(), ..Settings::new(port, &ground.server_addrs()) };
    Peer::start(&place.host, &settings)
}

fn climb(
    ground: &Ground,
    cell: &Cell,
    late: &Place,
    [caller, called]: [&mut Peer; 2],
) -> Result<End, String> {
    let before = ground.through_the_router();
    ground.delay_signals(late, cell.skew);
    let outcome = caller.connect(called.unl()).map_err(|why| why.to_string());
    let outcome = outcome.and_then(|()| caller.outcome(OUTCOME));
    ground.delay_signals(late, Duration::ZERO);
    let (via, took) = match outcome? {
        Outcome::Connected { via, took, .. } => (via, took),
        Outcome::Failed(why) => return Ok(End::Failed(why)),
    };
    exchange([caller, called]).map_err(|why| format!("{via}, but {why}"))?;
    let through = ground.through_the_router() - before;
    if !matches!(cell.layout, Layout::Apart(..)) && through > 0 {
        return Err(format!("{via}, but {through} SYNs went to the router's outer address"));
    }
    Ok(End::Connected { via, took })
}

fn get_ready(mut peers: [&mut Peer; 2]) -> Result<[&mut Peer; 2], String> {
    thread::scope(|scope| {
        let waits = peers.each_mut().map(|peer| scope.spawn(|| peer.ready(READY)));
        waits.into_iter().try_for_each(|wait| wait.join().map_err(|_| "a panic")?)
    })?;
    Ok(peers)
}

fn exchange([caller, called]: [&mut Peer; 2]) -> Result<(), String> {
    let failed = |why: io::Error| why.to_string();
    caller.say("from who connects").map_err(failed)?;
    called.hear("from who connects", LINE).map_err(|_| "no line came through")?;
    called.say("from who is called").map_err(failed)?;
    caller.hear("from who is called", LINE).map_err(|_| "no line came back")?;
    Ok(())
}
