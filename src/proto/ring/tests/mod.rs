//! One machine, and what others say to it.

mod directed;
mod hostile;

use std::sync::Arc;
use std::time::Duration;

use super::{Action, Event, Fingers, Ring, Settings};
use crate::random::Random;
use crate::time::Instant;
use crate::wire::ring::{Life, List, Member, Message, Number, Place};

const SECOND: Duration = Duration::from_secs(1);

/// The member at a place of which only the first byte counts.
fn at(number: u8) -> Member {
    let mut bytes = [0; 20];
    bytes[0] = number;
    Member { place: Place::from_bytes(bytes), life: Life(1) }
}

/// A machine in the middle of a ring.
struct Bench {
    ring: Ring,
    now: Instant,
}

impl Bench {
    /// At 100, between those.
    fn new(settings: Settings, predecessor: u8, list: &[u8]) -> Self {
        let mut seed = [0; 32];
        seed[0] = 1;
        let me = at(100);
        let mut ring = Ring::new(me.place.node(), Arc::new(settings), Random::from_seed(seed));
        let members: Vec<Member> = list.iter().copied().map(at).collect();
        let list = List::new(me.place, &members, false).expect("in order");
        ring.place_ideally(me.life, (Some(at(predecessor)), list), &[], Instant::ZERO);
        Self { ring, now: Instant::ZERO }
    }

    fn hear(&mut self, from: Member, message: Message) {
        self.ring.handle_message(from, self.ring.me().life, message, self.now);
    }

    /// What it says until then, to whom.
    fn run_for(&mut self, time: Duration) -> Vec<(Member, Message)> {
        let (end, mut said) = (self.now + time, self.said());
        while let Some(at) = self.ring.poll_timeout().filter(|&at| at <= end) {
            self.now = self.now.max(at);
            self.ring.handle_timeout(self.now);
            said.extend(self.said());
        }
        self.now = end;
        said
    }

    fn said(&mut self) -> Vec<(Member, Message)> {
        let actions = std::iter::from_fn(|| self.ring.poll_action());
        actions
            .filter_map(|action| match action {
                Action::Send { to, message } => Some((to, message)),
                Action::Tell(_) => None,
            })
            .collect()
    }

    /// Runs until it asks that one for its neighbours, with this number.
    fn until_asked(&mut self, who: u8) -> Number {
        for _ in 0..1000 {
            for (to, message) in self.said() {
                if let Message::Ask { number, .. } = message
                    && to.place == at(who).place
                {
                    return number;
                }
            }
            self.now = self.ring.poll_timeout().expect("it has periods").max(self.now);
            self.ring.handle_timeout(self.now);
        }
        panic!("it never asks {who}");
    }
}
