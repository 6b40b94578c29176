//! Which rendezvous servers a node talks to: those of its own choice, and foreign ones, which are there only because a UNL
//! names them, and only for as long as a call needs them.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::address::HostPort;
use crate::id::ServerId;
use crate::time::Instant;
use crate::unl::Unl;

/// Signals that are looked at in a second, from one server: each costs a check of its signature, some 60
/// microseconds; as many as all the calls that may be under way can bring at once.
const SIGNALS_A_SECOND: u32 = 200;

/// The servers, with what the holder keeps of each: those of the configuration in their order, and behind them the foreign
/// ones, of which there are `max_foreign`.
#[derive(Debug)]
pub(crate) struct ServerList<T> {
    all: BTreeMap<ServerId, Server<T>>,
    /// The number of the next one.
    next: u64,
    max_foreign: usize,
}

/// What there is of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// It is on the list.
    Known(ServerId),
    /// It is not, but there is room for it.
    New(HostPort),
    /// No room, or no name of a server.
    Refused,
}

#[derive(Debug)]
struct Server<T> {
    name: Arc<str>,
    is_foreign: bool,
    stay: Stay,
    /// In which second it was heard last, and how many signals came in it.
    signals: (u64, u32),
    kept: T,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Stays,
    /// It is being said goodbye to.
    Leaves,
    HasLeft,
}

impl<T> ServerList<T> {
    pub(crate) const fn new(max_foreign: usize) -> Self {
        Self { all: BTreeMap::new(), next: 0, max_foreign }
    }

    /// One of the configuration's; they come before all others.
    pub(crate) fn insert_own(&mut self, name: &str, kept: T) -> ServerId {
        self.insert(name, false, kept)
    }

    /// One that a UNL names, for whose name there is room.
    pub(crate) fn insert_foreign(&mut self, name: &str, kept: T) -> ServerId {
        self.insert(name, true, kept)
    }

    /// The server of this name. Who is being left is not met again under the same id.
    pub(crate) fn named(&self, name: &str) -> Named {
        let is_it = |server: &Server<T>| Unl::names_server(name, &server.name) && server.stay == Stay::Stays;
        if let Some((&id, _)) = self.all.iter().find(|(_, server)| is_it(server)) {
            return Named::Known(id);
        }
        let foreign = self.all.values().filter(|server| server.is_foreign).count();
        match HostPort::parse(name) {
            Ok(target) if foreign < self.max_foreign => Named::New(target),
            _ => Named::Refused,
        }
    }

    pub(crate) fn get(&self, id: ServerId) -> Option<&T> {
        self.all.get(&id).map(|server| &server.kept)
    }

    pub(crate) fn get_mut(&mut self, id: ServerId) -> Option<&mut T> {
        self.all.get_mut(&id).map(|server| &mut server.kept)
    }

    pub(crate) fn ids(&self) -> Vec<ServerId> {
        self.all.keys().copied().collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (ServerId, &T)> {
        self.all.iter().map(|(&id, server)| (id, &server.kept))
    }

    /// Those of our own choice, by their names.
    pub(crate) fn own(&self) -> impl Iterator<Item = (ServerId, &Arc<str>, &T)> {
        let own = self.all.iter().filter(|(_, server)| !server.is_foreign);
        own.map(|(&id, server)| (id, &server.name, &server.kept))
    }

    /// Whether it is on the list, and of our own choice.
    pub(crate) fn is_own(&self, id: ServerId) -> bool {
        self.all.get(&id).is_some_and(|server| !server.is_foreign)
    }

    /// Its place in the configuration, if it is of our own choice.
    pub(crate) fn place_of(&self, id: ServerId) -> Option<usize> {
        self.is_own(id).then(|| usize::try_from(id.0).ok()).flatten()
    }

    pub(crate) fn name_of(&self, id: ServerId) -> Arc<str> {
        self.all.get(&id).map_or_else(|| Arc::from(""), |server| Arc::clone(&server.name))
    }

    /// Whether one more signal from there is looked at: a server that floods makes us no work.
    pub(crate) fn take_signal(&mut self, id: ServerId, now: Instant) -> bool {
        let Some(server) = self.all.get_mut(&id) else { return false };
        let second = now.since_origin().as_secs();
        if server.signals.0 != second {
            server.signals = (second, 0);
        }
        server.signals.1 = server.signals.1.saturating_add(1);
        server.signals.1 <= SIGNALS_A_SECOND
    }

    /// The foreign servers that are not needed any more. They are to be said goodbye to; `handle_left` follows.
    pub(crate) fn release(&mut self, is_needed: impl Fn(ServerId) -> bool) -> Vec<ServerId> {
        let over = |id: ServerId, server: &Server<T>| {
            server.is_foreign && server.stay == Stay::Stays && !is_needed(id)
        };
        let released: Vec<ServerId> =
            self.all.iter().filter(|&(&id, server)| over(id, server)).map(|(&id, _)| id).collect();
        for id in &released {
            if let Some(server) = self.all.get_mut(id) {
                server.stay = Stay::Leaves;
            }
        }
        released
    }

    /// It was said goodbye to. A foreign one is forgotten.
    pub(crate) fn handle_left(&mut self, id: ServerId) {
        let Some(server) = self.all.get_mut(&id) else { return };
        server.stay = Stay::HasLeft;
        if server.is_foreign {
            self.all.remove(&id);
        }
    }

    /// Whether all of our own choice were said goodbye to.
    pub(crate) fn have_left(&self) -> bool {
        self.all.values().all(|server| server.stay == Stay::HasLeft || server.is_foreign)
    }

    fn insert(&mut self, name: &str, is_foreign: bool, kept: T) -> ServerId {
        let id = ServerId(self.next);
        self.next += 1;
        self.all
            .insert(id, Server { name: name.into(), is_foreign, stay: Stay::Stays, signals: (0, 0), kept });
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &str = "own.example:1";

    /// One of our own, and room for two others.
    fn list() -> ServerList<char> {
        let mut list = ServerList::new(2);
        list.insert_own(OWN, 'o');
        list
    }

    /// The id of the server of this name, which is put on the list if there is room.
    fn meet(list: &mut ServerList<char>, name: &str) -> Option<ServerId> {
        match list.named(name) {
            Named::Known(id) => Some(id),
            Named::New(_) => Some(list.insert_foreign(name, 'f')),
            Named::Refused => None,
        }
    }

    #[test]
    fn a_name_is_one_server_and_there_is_room_for_so_many_foreign_ones() {
        let mut list = list();
        assert_eq!(meet(&mut list, OWN), Some(ServerId(0)));
        let [first, again, second, third] =
            ["a.example:1", "a.example:1", "b.example:1", "c.example:1"].map(|name| meet(&mut list, name));
        assert_eq!((first, again, second, third), (Some(ServerId(1)), first, Some(ServerId(2)), None));
        assert_eq!(
            (list.is_own(ServerId(0)), list.is_own(ServerId(1)), list.is_own(ServerId(9))),
            (true, false, false)
        );
        assert_eq!((list.place_of(ServerId(0)), list.place_of(ServerId(1))), (Some(0), None));
        assert_eq!(list.own().map(|(id, ..)| id).collect::<Vec<_>>(), [ServerId(0)]);
    }

    #[test]
    fn what_is_no_name_of_a_server_is_refused() {
        assert_eq!(list().named("no port"), Named::Refused);
        assert_eq!(list().named("a.example:1"), Named::New(HostPort::parse("a.example:1").unwrap()));
    }

    #[test]
    fn a_foreign_server_is_released_once_when_nothing_needs_it_and_its_id_is_never_anothers() {
        let mut list = list();
        let [first, second] =
            ["a.example:1", "b.example:1"].map(|name| meet(&mut list, name).expect("there is room"));
        assert_eq!(list.release(|_| true), []);
        assert_eq!(list.release(|id| id == second), [first]);
        assert_eq!(list.release(|id| id == second), [], "it is on its way");
        assert_eq!(
            list.named("a.example:1"),
            Named::Refused,
            "not the one that is being left, and it still counts"
        );
        list.handle_left(first);
        assert_eq!(list.get(first), None);
        assert_eq!(meet(&mut list, "a.example:1"), Some(ServerId(3)));
    }

    #[test]
    fn the_node_may_go_when_its_own_servers_were_left() {
        let mut list = list();
        meet(&mut list, "a.example:1");
        assert!(!list.have_left());
        list.handle_left(ServerId(0));
        assert!(list.have_left() && list.get(ServerId(0)).is_some(), "one of our own stays on the list");
    }

    #[test]
    fn a_server_that_floods_is_not_listened_to_for_the_rest_of_the_second() {
        let at = |millis: u64| Instant::from_nanos(millis * 1_000_000);
        let mut list = list();
        for _ in 0..SIGNALS_A_SECOND {
            assert!(list.take_signal(ServerId(0), at(1000)));
        }
        assert!(!list.take_signal(ServerId(0), at(1999)));
        assert!(list.take_signal(ServerId(0), at(2000)));
        assert!(!list.take_signal(ServerId(7), at(2000)), "there is none");
    }
}
