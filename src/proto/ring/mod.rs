//! The ring: Chord's machine, in the version that was proved to be correct.
//!
//! It decides everything and does nothing by itself: messages, links' ends and the time come in, [`Action`]s come out. Who a
//! message is from has been proven by whoever hands it in. Sources, and where what they say is kept:
//!
//! - Zave, "Reasoning about identifier spaces: how to make Chord correct" (IEEE TSE 43(12), 2017; arXiv 1610.01140): each
//!   operation that changes a list or a predecessor is one step in [`neighbours`], in the order that [`repair`] gives them, with
//!   whom [`keeper`] asks; [`joiner`] and [`host`] are the two sides of a join.
//! - Stoica et al., "Chord: a scalable peer-to-peer lookup service for internet applications" (SIGCOMM 2001; ACM/IEEE
//!   ToN 11(1), 2003): [`wire::ring`](crate::wire::ring), [`fingers`], [`route`].
//! - Freedman et al., "Non-transitive connectivity and DHTs" (WORLDS 2005): nobody is taken into a list before he was contacted,
//!   and what goes around a broken way is in [`transits`].
//! - Rhea et al., "Handling churn in a DHT" (USENIX ATC 2004): repair in periods, waits by round trips ([`contacts`]).
//! - Verdi-Chord (github.com/DistributedComponents/verdi-chord), for what becomes of atomic steps when messages are under way.

mod comeback;
mod contacts;
mod event;
mod experiment;
mod fingers;
mod hands;
mod host;
#[cfg(any(test, fuzzing))]
pub(crate) mod hostile;
mod joiner;
mod keeper;
mod look_ups;
mod merger;
mod neighbours;
mod outbox;
mod questions;
mod remembered;
mod repair;
mod round_trips;
mod route;
#[cfg(test)]
mod search;
mod settings;
mod size;
mod suspects;
mod tender;
#[cfg(test)]
mod tests;
mod transits;
#[cfg(test)]
mod variant;
mod verify;
mod walk;

use std::sync::Arc;

use crate::identity::NodeId;
use crate::random::Random;
use crate::time::{Instant, soonest};

pub(crate) use event::Event;
#[cfg_attr(
    not(test),
    allow(unused_imports, reason = "no node is in a ring yet, which would ask for it")
)]
pub(crate) use event::LookUpFault;
pub(crate) use fingers::Fingers;
pub(crate) use look_ups::{Full, How};
pub(crate) use neighbours::Neighbours;
pub(crate) use outbox::Action;
pub(crate) use settings::Settings;
pub(crate) use size::Size;
#[cfg(test)]
pub(crate) use variant::Variant;

use crate::wire::ring::{Found, Life, Member, Message, Number, Place, QueryId, Want};
use comeback::Comeback;
use contacts::Contacts;
use hands::Hands;
use host::{Host, Reply};
use joiner::{Joiner, Joining};
use keeper::{Keeper, Kept};
use look_ups::{LookUps, Whose};
use merger::Merger;
use outbox::Outbox;
use questions::Lane;
use tender::{Tended, Tender};
use transits::Standpoint;

/// One node's part of the ring.
#[derive(Debug)]
pub(crate) struct Ring {
    state: State,
    random: Random,
}

/// All of it but the generator.
#[derive(Clone, Debug)]
struct State {
    me: Member,
    settings: Arc<Settings>,
    standing: Standing,
    keeper: Keeper,
    fingers: Fingers,
    tender: Tender,
    merger: Merger,
    contacts: Contacts,
    look_ups: LookUps,
    host: Host,
    joiner: Option<Box<Joiner>>,
    comeback: Option<Box<Comeback>>,
    arrival: Option<Arrival>,
    out: Outbox,
    /// When there is something to do next.
    timeout: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// In no ring.
    Outside,
    /// On the way in.
    Joining,
    Member,
    /// I was one, have no successor any more, and look for a way back.
    Lost,
    /// I was one.
    Left,
}

/// A joiner's first steps as a member.
#[derive(Clone, Copy, Debug)]
struct Arrival {
    /// Who let me in, and waits to hear that I am at home.
    host: Member,
    /// My first round has ended: my successor knows me.
    is_at_home: bool,
    /// Somebody has notified me: my predecessor knows me.
    is_noticed: bool,
    /// My predecessor has been told.
    is_known: bool,
}

/// What has become of the link to a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    /// It is gone, or could not be made.
    Down,
}

impl Ring {
    /// In no ring yet.
    pub(crate) fn new(node: NodeId, settings: Arc<Settings>, mut random: Random) -> Self {
        let me = Member { place: Place::of_node(node), life: Life::ANY };
        let neighbours = Neighbours::alone(me.place, settings.longest_list());
        let state = State {
            me,
            standing: Standing::Outside,
            keeper: Keeper::new(neighbours, random.next_u64() as Number),
            fingers: Fingers::new(me.place),
            tender: Tender::new(random.next_u64() as Number),
            merger: Merger::default(),
            contacts: Contacts::new(settings.clone()),
            look_ups: LookUps::new(random.next_u64() as Number),
            host: Host::default(),
            joiner: None,
            comeback: None,
            arrival: None,
            out: Outbox::new(me.place),
            timeout: None,
            settings,
        };
        Self { state, random }
    }

    /// Begins a ring, of which I am the only member.
    pub(crate) fn create(&mut self, now: Instant) {
        self.begin_life();
        let neighbours = Neighbours::alone(self.state.me.place, self.state.settings.longest_list());
        self.enter(neighbours, now);
        self.settle();
    }

    /// Joins the ring that those are in, the first of them that leads there. An empty list, or oneself alone, begins a new one.
    pub(crate) fn join(&mut self, seeds: &[NodeId], now: Instant) {
        let seeds: Vec<Place> = seeds.iter().copied().map(Place::of_node).collect();
        self.join_through(seeds, now);
    }

    /// Leaves: for the others a death that they hear of at once, and nothing else. (Zave: whatever else a leave does to lists
    /// breaks their order.)
    pub(crate) fn leave(&mut self, now: Instant) {
        let state = &mut self.state;
        if state.standing == Standing::Member {
            let neighbours = &state.keeper.neighbours;
            let first = neighbours.successor();
            let both =
                [neighbours.predecessor(), first.filter(|first| neighbours.predecessor() != Some(*first))];
            both.into_iter().flatten().for_each(|to| state.out.send(to, Message::Leave));
        }
        state.standing = Standing::Left;
        (state.joiner, state.comeback) = (None, None);
        self.state.look_ups.give_up();
        self.state.out.tell(Event::Left);
        self.run(now);
    }

    /// Looks for the owner of a place. It ends in one [`Event::LookedUp`] with this number.
    pub(crate) fn look_up(&mut self, key: Place, how: How, now: Instant) -> Result<QueryId, Full> {
        if self.state.look_ups.len() >= self.state.settings.max_look_ups {
            return Err(Full);
        }
        let (mut parts, mut hands) = self.split(now);
        let (look_ups, standpoint) = parts.looking();
        let query = look_ups.look_up(key, how, standpoint, &mut hands);
        self.run(now);
        Ok(query)
    }

    /// A message of `from`, whose id has been proven, and whose life is what it says. `to` is the life of mine that it is for.
    pub(crate) fn handle_message(&mut self, from: Member, to: Life, message: Message, now: Instant) {
        if from.place != self.state.me.place {
            self.dispatch(from, to, message, now);
            self.run(now);
        }
    }

    /// The link to that node has changed.
    pub(crate) fn handle_link(&mut self, node: NodeId, state: LinkState, now: Instant) {
        let LinkState::Down = state;
        let node = Place::of_node(node);
        let (mut parts, mut hands) = self.split(now);
        let (look_ups, standpoint) = parts.looking();
        look_ups.handle_down(node, standpoint, &mut hands);
        let (mut kept, mut tended) = (Kept::On, Tended::On);
        if parts.standing == Standing::Member {
            kept = parts.keeper.handle_down(node, &mut hands);
            tended = parts.tender.handle_down(node, parts.fingers, &mut hands);
        }
        let joining = parts.joiner.map(|joiner| joiner.handle_down(node, &mut hands));
        if let Some(comeback) = parts.comeback {
            comeback.handle_down(node, &mut hands);
        }
        self.handle_tended(tended, now);
        self.handle_joining(joining, now);
        self.handle_kept(kept, now);
        self.run(now);
    }
}

// What is seen from outside.
impl Ring {
    pub(crate) fn me(&self) -> Member {
        self.state.me
    }

    pub(crate) fn standing(&self) -> Standing {
        self.state.standing
    }

    pub(crate) fn is_member(&self) -> bool {
        self.state.standing == Standing::Member
    }

    /// The successor list and the predecessor. They mean something while I am a member.
    pub(crate) fn neighbours(&self) -> &Neighbours {
        &self.state.keeper.neighbours
    }

    pub(crate) fn fingers(&self) -> &Fingers {
        &self.state.fingers
    }

    /// How many members there are, as far as I can tell.
    pub(crate) fn size(&self) -> Size {
        size::estimate(self.state.me.place, self.neighbours().list())
    }

    /// What is to be done, the oldest first.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.state.out.take()
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.state.timeout
    }
}

/// The parts that act, each by itself.
struct Parts<'a> {
    me: Member,
    standing: Standing,
    keeper: &'a mut Keeper,
    fingers: &'a mut Fingers,
    tender: &'a mut Tender,
    merger: &'a mut Merger,
    look_ups: &'a mut LookUps,
    host: &'a mut Host,
    joiner: Option<&'a mut Joiner>,
    comeback: Option<&'a mut Comeback>,
}

impl Parts<'_> {
    /// The look-ups, and what they are shown.
    fn looking(&mut self) -> (&mut LookUps, Standpoint<'_>) {
        let Self { me, keeper, fingers, look_ups, .. } = self;
        (look_ups, Standpoint { me: *me, neighbours: &keeper.neighbours, fingers })
    }
}

// How they act together.
impl Ring {
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.state.timeout.is_none_or(|timeout| timeout > now) {
            return;
        }
        let (mut parts, mut hands) = self.split(now);
        let (look_ups, standpoint) = parts.looking();
        look_ups.handle_timeout(standpoint, &mut hands);
        let (mut kept, mut tended, mut through) = (Kept::On, Tended::On, None);
        if parts.standing == Standing::Member {
            kept = parts.keeper.handle_timeout(&mut hands);
            let list = parts.keeper.neighbours.list();
            tended = parts.tender.handle_timeout(list, parts.fingers, &mut hands);
            let is_known = |place| parts.fingers.has(place) || parts.keeper.neighbours.has(place);
            through = parts.merger.handle_timeout(is_known, &mut hands);
        }
        let joining = parts.joiner.map(|joiner| joiner.handle_timeout(&mut hands));
        if let Some(comeback) = parts.comeback {
            comeback.handle_timeout(&mut hands);
        }
        self.handle_joining(joining, now);
        self.handle_kept(kept, now);
        self.handle_tended(tended, now);
        if let Some(through) = through {
            let me = self.state.me.place;
            self.look_for(me, Want::Predecessor, Whose::Merger, Some(through), now);
        }
        self.run(now);
    }

    fn handle_tended(&mut self, tended: Tended, now: Instant) {
        if let Tended::LookUp(bit) = tended {
            let key = self.state.me.place.plus_power(bit);
            self.look_for(key, Want::Owner, Whose::Finger(bit), None, now);
        }
    }

    fn split(&mut self, now: Instant) -> (Parts<'_>, Hands<'_>) {
        let State {
            me,
            standing,
            settings,
            keeper,
            fingers,
            tender,
            merger,
            contacts,
            look_ups,
            host,
            joiner,
            comeback,
            out,
            ..
        } = &mut self.state;
        let (joiner, comeback) = (joiner.as_deref_mut(), comeback.as_deref_mut());
        let (me, standing) = (*me, *standing);
        let parts = Parts { me, standing, keeper, fingers, tender, merger, look_ups, host, joiner, comeback };
        (parts, Hands { settings, contacts, random: &mut self.random, out, now })
    }

    /// Whose business a message is.
    fn dispatch(&mut self, from: Member, to: Life, message: Message, now: Instant) {
        let is_for_me = to == Life::ANY || to == self.state.me.life;
        if let Some(number) = message.asks()
            && !(is_for_me && self.is_member())
        {
            let is_lost = is_for_me && self.state.standing == Standing::Lost;
            let answer = match message {
                Message::Ask { insists, .. } if is_lost => comeback::answer(number, insists),
                Message::Probe { .. } if is_lost => Message::Alive { number, predecessor: None },
                _ => Message::Gone { number },
            };
            return self.state.out.send(from, answer);
        }
        if !is_for_me {
            return;
        }
        if self.state.contacts.suspects.clear(from.place) {
            self.meet_again(from, now);
        }
        match message {
            Message::Answer { number, .. } if Lane::of(number) == Lane::LookUps => {
                self.handle_look_up(from, message, now);
            }
            Message::Answer { number, .. } | Message::Gone { number }
                if Lane::of(number) == Lane::Comeback =>
            {
                self.handle_comeback(from, &message, now);
            }
            Message::Point { .. }
            | Message::Pointed { .. }
            | Message::Find { .. }
            | Message::Ack { .. }
            | Message::Found { .. }
            | Message::NotFound { .. }
            | Message::Unsure { .. }
            | Message::Direct { .. } => self.handle_look_up(from, message, now),
            Message::Join { .. } | Message::Settled => self.handle_as_host(from, message, now),
            Message::Welcome { .. } | Message::Elsewhere { .. } => self.handle_as_joiner(from, message, now),
            Message::Gone { number } | Message::Busy { number } => match Lane::of(number) {
                Lane::Transits | Lane::LookUps => self.handle_look_up(from, message, now),
                Lane::Joiner => self.handle_as_joiner(from, message, now),
                Lane::Tender => self.handle_as_tender(from, message, now),
                Lane::Keeper | Lane::Comeback => self.handle_as_member(from, message, now),
            },
            Message::Alive { number, .. } if Lane::of(number) == Lane::Tender => {
                self.handle_as_tender(from, message, now);
            }
            Message::AskFingers { .. } | Message::Fingers { .. } => self.handle_as_tender(from, message, now),
            _ => self.handle_as_member(from, message, now),
        }
    }

    /// One that was taken for dead speaks. If it should be my successor it is asked now, as in the second step.
    fn meet_again(&mut self, from: Member, now: Instant) {
        let (parts, mut hands) = self.split(now);
        if parts.standing == Standing::Member && from.life != Life::ANY {
            let kept = parts.keeper.meet(from, &mut hands);
            self.handle_kept(kept, now);
        }
    }

    fn handle_look_up(&mut self, from: Member, message: Message, now: Instant) {
        let (mut parts, mut hands) = self.split(now);
        let (look_ups, standpoint) = parts.looking();
        look_ups.handle_message(from, message, standpoint, &mut hands);
    }

    fn handle_as_member(&mut self, from: Member, message: Message, now: Instant) {
        let (parts, mut hands) = self.split(now);
        if parts.standing != Standing::Member {
            return;
        }
        let keeper = parts.keeper;
        let is_notice = message == Message::Notify;
        let kept = match message {
            Message::Ask { number, insists } => {
                hands.out.send(from, keeper.answer(number, insists));
                Kept::On
            }
            Message::Probe { number } => {
                let predecessor = keeper.neighbours.predecessor();
                hands.out.send(from, Message::Alive { number, predecessor });
                Kept::On
            }
            Message::Answer { number, predecessor, list } => {
                keeper.handle_answer(number, from, predecessor, &list, &mut hands)
            }
            Message::Alive { number, .. } => keeper.handle_alive(number, from, &mut hands),
            Message::Busy { number } => keeper.handle_busy(number, from, &mut hands),
            Message::Gone { number } => {
                keeper.handle_gone(number, from.place, &mut hands).unwrap_or(Kept::On)
            }
            Message::Notify => keeper.handle_notify(from, &mut hands),
            Message::Kick => keeper.kick(&mut hands),
            Message::Leave => keeper.handle_left(from, &mut hands),
            Message::Meet => keeper.meet(from, &mut hands),
            _ => Kept::On,
        };
        if is_notice && let Some(arrival) = &mut self.state.arrival {
            arrival.is_noticed = true;
        }
        self.handle_kept(kept, now);
        self.handle_arrival(now);
    }

    fn handle_as_tender(&mut self, from: Member, message: Message, now: Instant) {
        let (parts, mut hands) = self.split(now);
        if parts.standing != Standing::Member {
            return;
        }
        let (tender, fingers) = (parts.tender, parts.fingers);
        let mut tended = Tended::On;
        match message {
            Message::Alive { number, predecessor } => {
                tended = tender.handle_alive((number, from), predecessor, fingers, &mut hands);
            }
            Message::Gone { number } => tended = tender.handle_gone(number, from.place, fingers, &mut hands),
            Message::AskFingers { number } => {
                hands.out.send(from, Message::Fingers { number, members: fingers.hints() });
            }
            Message::Fingers { number, members } => tender.handle_hints(number, from, &members, &mut hands),
            _ => {}
        }
        self.handle_tended(tended, now);
    }

    fn handle_as_host(&mut self, from: Member, message: Message, now: Instant) {
        let (parts, mut hands) = self.split(now);
        let (me, neighbours) = (parts.me, &mut parts.keeper.neighbours);
        match message {
            Message::Join { number, without } => {
                let answer = match parts.host.reply(me, neighbours, from, without, now) {
                    Reply::Welcome { predecessor, list } => Message::Welcome { number, predecessor, list },
                    Reply::Elsewhere(through) => Message::Elsewhere { number, through },
                    Reply::Busy { look } => {
                        if look {
                            parts.keeper.kick(&mut hands);
                        }
                        Message::Busy { number }
                    }
                };
                hands.out.send(from, answer);
            }
            _ => {
                if parts.host.settled(from) {
                    neighbours.let_in(from);
                }
            }
        }
    }

    fn handle_as_joiner(&mut self, from: Member, message: Message, now: Instant) {
        let me = self.state.me.place;
        let (parts, mut hands) = self.split(now);
        let Some(joiner) = parts.joiner else { return };
        let joining = match message {
            Message::Welcome { number, predecessor, list } => {
                joiner.handle_welcome(number, from, predecessor, list, me, &mut hands)
            }
            Message::Elsewhere { number, through } => {
                joiner.handle_elsewhere(number, from, through, me, &mut hands)
            }
            Message::Busy { number } => joiner.handle_busy(number, from, &mut hands),
            Message::Gone { number } => joiner.handle_gone(number, from.place, &mut hands),
            _ => Joining::On,
        };
        self.handle_joining(Some(joining), now);
    }
}

// Coming and going.
impl Ring {
    fn begin_life(&mut self) {
        // Never that of "any".
        self.state.me.life = Life(self.random.next_u64().max(1));
    }

    fn join_through(&mut self, mut seeds: Vec<Place>, now: Instant) {
        seeds.retain(|&seed| seed != self.state.me.place);
        if seeds.is_empty() {
            return self.create(now);
        }
        self.begin_life();
        self.state.standing = Standing::Joining;
        let first_number = self.random.next_u64() as Number;
        self.state.joiner = Some(Box::new(Joiner::new(seeds, first_number, now)));
        self.settle();
    }

    fn handle_joining(&mut self, joining: Option<Joining>, now: Instant) {
        match joining {
            Some(Joining::Look(seed)) => {
                let me = self.state.me.place;
                let seed = Joiner::seed(seed);
                self.look_for(me, Want::Predecessor, Whose::Joiner, Some(seed), now);
            }
            Some(Joining::In { host, predecessor, list }) => {
                let (me, longest) = (self.state.me.place, self.state.settings.longest_list());
                self.state.joiner = None;
                self.state.arrival =
                    Some(Arrival { host, is_at_home: false, is_noticed: false, is_known: false });
                self.enter(Neighbours::joined(me, longest, &list, predecessor), now);
            }
            Some(Joining::On) | None => {}
        }
    }

    /// A member from here on.
    fn enter(&mut self, neighbours: Neighbours, now: Instant) {
        #[cfg(test)]
        let neighbours = neighbours.broken(self.state.settings.variant).broken_at_join();
        self.state.standing = Standing::Member;
        self.state.host = Host::default();
        self.state.out.tell(Event::Joined { me: self.state.me });
        self.state.fingers = Fingers::new(self.state.me.place);
        let (parts, mut hands) = self.split(now);
        parts.tender.begin(hands.period(hands.settings.finger_every));
        parts.merger.begin(hands.period(hands.settings.merge_every));
        let kept = parts.keeper.install(neighbours, &mut hands);
        self.handle_kept(kept, now);
    }

    fn handle_kept(&mut self, kept: Kept, now: Instant) {
        match kept {
            Kept::On => {}
            Kept::Round => {
                if let Some(arrival) = &mut self.state.arrival {
                    arrival.is_at_home = true;
                }
                self.handle_arrival(now);
            }
            Kept::Lost => self.lose(now),
        }
    }

    /// What a joiner does after its first round.
    fn handle_arrival(&mut self, now: Instant) {
        let Some(mut arrival) = self.state.arrival.filter(|arrival| arrival.is_at_home) else { return };
        if !std::mem::replace(&mut arrival.is_known, true) {
            self.kick_predecessor();
            let (parts, mut hands) = self.split(now);
            if let Some(successor) = parts.keeper.neighbours.successor() {
                parts.tender.ask_for_hints(successor, &mut hands);
            }
        }
        // My predecessor has notified me: it knows me, and the next one can come in.
        if arrival.is_noticed {
            self.state.out.send(arrival.host, Message::Settled);
        }
        self.state.arrival = Some(arrival).filter(|arrival| !arrival.is_noticed);
    }

    /// The join kick: my successor knows me now, and my predecessor hears of me by asking it. Without it that takes up to a
    /// period, in which look-ups for what is mine end at my successor.
    fn kick_predecessor(&mut self) {
        let State { settings, keeper, out, .. } = &mut self.state;
        if let Some(predecessor) = keeper.neighbours.predecessor()
            && settings.kick
        {
            out.send(predecessor, Message::Kick);
        }
    }

    /// I am no member any more, and look for a way back.
    fn lose(&mut self, now: Instant) {
        self.state.look_ups.give_up();
        self.state.standing = Standing::Lost;
        self.state.out.tell(Event::Lost);
        let State { me, keeper, fingers, contacts, .. } = &self.state;
        let predecessor = keeper.neighbours.predecessor();
        let known = fingers.members().iter().chain(contacts.remembered.members()).copied().chain(predecessor);
        let (place, known) = (me.place, known.collect());
        let first_number = self.random.next_u64() as Number;
        self.state.comeback = Some(Box::new(Comeback::new(place, known, first_number, now)));
    }

    fn handle_comeback(&mut self, from: Member, message: &Message, now: Instant) {
        let (parts, mut hands) = self.split(now);
        let Some(comeback) = parts.comeback else { return };
        match message {
            Message::Answer { number, list, .. } if comeback.handle_answer(*number, from, list, now) => {}
            Message::Gone { number } => return comeback.handle_gone(*number, from.place, &mut hands),
            _ => return,
        }
        let Message::Answer { list, .. } = message else { return };
        let kept = parts.keeper.come_back(from, list, &mut hands);
        parts.tender.begin(hands.period(hands.settings.finger_every));
        parts.merger.begin(hands.period(hands.settings.merge_every));
        parts.merger.look_through(from);
        self.state.comeback = None;
        self.state.standing = Standing::Member;
        self.state.out.tell(Event::Joined { me: self.state.me });
        self.handle_kept(kept, now);
        let me = self.state.me.place;
        self.look_for(me, Want::Predecessor, Whose::Merger, Some(from), now);
    }
}

// Look-ups of the machine's parts.
impl Ring {
    fn look_for(&mut self, key: Place, want: Want, whose: Whose, first: Option<Member>, now: Instant) {
        let (mut parts, mut hands) = self.split(now);
        let (look_ups, standpoint) = parts.looking();
        look_ups.start((key, want), whose, first, standpoint, &mut hands);
    }

    fn handle_ended(&mut self, ended: look_ups::Ended, now: Instant) {
        let look_ups::Ended { query, key, whose, outcome } = ended;
        match whose {
            Whose::Node => self.state.out.tell(Event::LookedUp { query, key, outcome }),
            Whose::Joiner => {
                let me = self.state.me.place;
                let (parts, mut hands) = self.split(now);
                let joining = parts.joiner.map(|joiner| joiner.handle_found(me, outcome.ok(), &mut hands));
                self.handle_joining(joining, now);
            }
            Whose::Merger => self.handle_other_ring(outcome.ok(), now),
            Whose::Finger(bit) => {
                let (parts, mut hands) = self.split(now);
                if let Ok(found) = outcome {
                    parts.tender.handle_found(parts.me.place, bit, found, parts.fingers, &mut hands);
                }
            }
        }
    }

    fn handle_other_ring(&mut self, found: Option<Found>, now: Instant) {
        let (parts, mut hands) = self.split(now);
        if parts.standing != Standing::Member {
            return;
        }
        if let Some(other) = parts.merger.handle_found(parts.me.place, found, &mut hands) {
            hands.out.tell(Event::Meeting { other });
            let kept = parts.keeper.meet(other, &mut hands);
            self.handle_kept(kept, now);
        }
    }

    /// After each thing that has happened.
    fn run(&mut self, now: Instant) {
        while let Some(ended) = self.state.look_ups.poll_ended() {
            self.handle_ended(ended, now);
        }
        self.settle();
    }

    fn settle(&mut self) {
        let State { standing, keeper, tender, merger, contacts, look_ups, joiner, comeback, .. } =
            &self.state;
        let member = match standing {
            Standing::Member => {
                [tender.poll_timeout(), contacts.suspects.poll_timeout(), Some(merger.poll_timeout())]
                    .into_iter()
                    .fold(keeper.poll_timeout(), soonest)
            }
            _ => None,
        };
        let joiner = joiner.as_ref().and_then(|joiner| joiner.poll_timeout());
        let comeback = comeback.as_ref().and_then(|comeback| comeback.poll_timeout());
        let timeouts = [member, joiner, comeback];
        self.state.timeout = timeouts.into_iter().fold(look_ups.poll_timeout(), soonest);
    }
}
