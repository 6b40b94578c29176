//! Two nodes that are relayed by a third one, on loopback.

// Tests are on the application's side of the loop: they wait for connections, and keep deadlines.
#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use p2poll::{Config, Connect, Event, Net, RelayOffer, Rendezvous, RendezvousConfig, Rung, Rungs, Via};

const TICK: Duration = Duration::from_millis(2);

/// More than anything here takes, on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

struct Town {
    server: Rendezvous,
    nets: [Net; 3],
    events: [Vec<Event>; 3],
    lines: [Vec<String>; 3],
}

impl Town {
    fn turn(&mut self) {
        self.server.poll(Some(TICK)).unwrap();
        for (n, net) in self.nets.iter_mut().enumerate() {
            net.poll(Some(TICK)).unwrap();
            for con in net.connections() {
                self.lines[n].extend(con.replies().map(|line| line.to_string()));
            }
            self.events[n].extend(net.events());
        }
    }

    #[track_caller]
    fn until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "waited in vain: {:#?}", self.events);
            self.turn();
        }
    }
}

fn start(config: Config) -> Net {
    config.bind(Ipv4Addr::LOCALHOST.into()).start().unwrap()
}

#[test]
fn by_way_of_a_node_that_relays_for_others() {
    _ = env_logger::builder().is_test(true).try_init();
    let server = RendezvousConfig::new().listen("127.0.0.1:0").relay(false).start().unwrap();
    let relay =
        start(Config::new().relay_for_others(RelayOffer::new().bytes(8 << 20).rate(0)).max_inbound(0));
    relay.filter_inbound(|_| panic!("the application is not asked about those that are relayed"));
    let config = Config::new().direct().rendezvous(server.local_addrs()[0].to_string());
    let bob = start(config.clone().relay_through(relay.local_addr().unwrap().to_string()));
    let nets = [start(config), bob, relay];
    let mut town = Town { server, nets, events: Default::default(), lines: Default::default() };
    town.until(|town| town.nets[1].unl().unwrap().servers().len() > 0);
    let to = Connect::to(&town.nets[1].unl().unwrap()).only(Rungs::NONE.with(Rung::Relay));
    town.nets[0].connect(to).unwrap();
    town.until(|town| town.nets[0].len() == 1 && town.nets[1].len() == 1);
    let relay_addr = town.nets[2].local_addr().unwrap();
    for n in [0, 1] {
        let con = town.nets[n].connections().next().unwrap();
        assert_eq!((con.via(), con.peer_addr()), (Some(Via::Relayed), Some(relay_addr)));
        assert_eq!(con.relay().unwrap().bytes, Some(8 << 20));
    }
    // More than fits into any queue, both ways at once.
    let line = "x".repeat(10_000);
    for _ in 0..100 {
        for n in [0, 1] {
            assert_eq!(town.nets[n].broadcast(&line, None), 1);
        }
        town.turn();
    }
    town.until(|town| town.lines[0].len() == 100 && town.lines[1].len() == 100);
    assert!(town.lines[..2].iter().flatten().all(|got| *got == line));
    assert!(
        town.nets[2].is_empty()
            && town.events[2].iter().all(|event| !matches!(event, Event::Connected { .. }))
    );
    // Past the limit both are told why.
    let line = "y".repeat(1 << 20);
    town.until(|town| {
        town.nets[0].broadcast(&line, None);
        town.nets[0].is_empty() && town.nets[1].is_empty()
    });
    let reason = |event: &Event| matches!(event, Event::Closed { why: p2poll::CloseReason::RelayBytes, .. });
    town.until(|town| town.events[..2].iter().all(|events| events.iter().any(reason)));
}
