//! The connections that the application sees: their names, and the streams that each reads from and writes to.
//!
//! A connection mostly has one stream. One whose link migrates to a better path writes to the new stream at once, and goes on
//! reading the old one until that has brought everything.

use std::net::SocketAddr;

use super::ends::EndsTag;
use crate::event::Via;
use crate::id::{ConId, StreamId};
use crate::proto::stream::Counters;
use crate::time::Instant;

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) reading: StreamId,
    pub(super) writing: StreamId,
    pub(super) via: Via,
    /// The peer's end; for outbound connections the address that was dialled.
    pub(super) peer: SocketAddr,
    pub(super) ends: EndsTag,
    pub(super) slot: Slot,
    /// Nothing has come yet: its first line may be a hello.
    pub(super) fresh: bool,
    /// The application closed it.
    pub(super) closed_by_us: bool,
    pub(super) opened: Instant,
    /// Most connections have never left a stream.
    left: Option<Box<Left>>,
}

/// Streams that a connection has left.
#[derive(Debug, Default)]
struct Left {
    /// One that has brought everything, as long as something is still on its way out there.
    flushing: Option<StreamId>,
    /// What went through those that are over.
    counters: Counters,
}

/// Whose slot a connection takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Slot {
    /// One of those that others may take.
    Inbound,
    /// One of the p2p network's.
    Outbound,
    /// The application asked for it.
    None,
}

/// The connections of a node, by id.
#[derive(Debug)]
pub(super) struct Connections {
    net: u32,
    places: Vec<Option<Place>>,
    free: Vec<u32>,
    /// The last number given out.
    serials: u64,
    /// All, in the order in which they came, and some that have ended since the last walk.
    shown: Vec<ConId>,
    has_stale: bool,
}

#[derive(Debug)]
struct Place {
    serial: u64,
    connection: Connection,
}

impl Connection {
    pub(super) fn new(
        stream: StreamId,
        via: Via,
        peer: SocketAddr,
        ends: EndsTag,
        slot: Slot,
        opened: Instant,
    ) -> Self {
        Self {
            reading: stream,
            writing: stream,
            via,
            peer,
            ends,
            slot,
            fresh: false,
            closed_by_us: false,
            opened,
            left: None,
        }
    }

    /// The stream of the path that it leaves, as long as that still brings something.
    pub(super) fn draining(&self) -> Option<StreamId> {
        (self.reading != self.writing).then_some(self.reading)
    }

    /// Streams that it has left, and that are still needed.
    pub(super) fn old_paths(&self) -> impl Iterator<Item = StreamId> + use<> {
        self.draining().into_iter().chain(self.flushing())
    }

    /// An old one that has brought everything, as long as something is still on its way out there.
    pub(super) fn flushing(&self) -> Option<StreamId> {
        self.left.as_ref().and_then(|left| left.flushing)
    }

    pub(super) fn set_flushing(&mut self, stream: StreamId) {
        self.left.get_or_insert_default().flushing = Some(stream);
    }

    /// What was flushed is over. Returns whether that was it.
    pub(super) fn end_flushing(&mut self, stream: StreamId) -> bool {
        self.left.as_mut().is_some_and(|left| left.flushing.take_if(|old| *old == stream).is_some())
    }

    /// What went through streams that it has left, and that are over.
    pub(super) fn earlier(&self) -> Counters {
        self.left.as_ref().map(|left| left.counters).unwrap_or_default()
    }

    pub(super) fn add_earlier(&mut self, counters: Counters) {
        let left = self.left.get_or_insert_default();
        left.counters = left.counters + counters;
    }

    pub(super) fn streams(&self) -> impl Iterator<Item = StreamId> + use<> {
        self.old_paths().chain([self.writing])
    }
}

impl Connections {
    pub(super) fn new(net: u32) -> Self {
        Self { net, places: Vec::new(), free: Vec::new(), serials: 0, shown: Vec::new(), has_stale: false }
    }

    /// Names a connection, and shows it from the next walk on.
    pub(super) fn insert(&mut self, connection: Connection) -> ConId {
        self.serials += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.places[slot as usize] = Some(Place { serial: self.serials, connection });
        let id = ConId::new(self.net, slot, self.serials);
        self.shown.push(id);
        id
    }

    /// The id names nothing from now on.
    pub(super) fn remove(&mut self, id: ConId) -> Option<Connection> {
        self.get(id)?;
        let place = self.places.get_mut(id.slot())?.take()?;
        self.free.push(id.slot() as u32);
        self.has_stale = true;
        Some(place.connection)
    }

    #[inline]
    pub(super) fn get(&self, id: ConId) -> Option<&Connection> {
        let place = self.places.get(id.slot())?.as_ref()?;
        (place.serial == id.number() && self.net == id.net()).then_some(&place.connection)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: ConId) -> Option<&mut Connection> {
        let place = self.places.get_mut(id.slot())?.as_mut()?;
        (place.serial == id.number() && self.net == id.net()).then_some(&mut place.connection)
    }

    /// In the order in which they came.
    pub(super) fn ids(&self) -> impl Iterator<Item = ConId> + '_ {
        self.shown.iter().copied().filter(|&id| self.get(id).is_some())
    }

    /// Forgets those that have ended, before a walk begins.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.has_stale) {
            let mut shown = std::mem::take(&mut self.shown);
            shown.retain(|&id| self.get(id).is_some());
            self.shown = shown;
        }
    }

    /// Places in the list of connections, some of which may be empty.
    pub(super) fn places(&self) -> usize {
        self.shown.len()
    }

    pub(super) fn at(&self, place: usize) -> Option<(ConId, &Connection)> {
        let id = self.shown.get(place).copied()?;
        Some((id, self.get(id)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ends::{AllEnds, Ends};
    use super::*;

    fn connection(number: u16) -> Connection {
        let end = SocketAddr::from(([127, 0, 0, 1], number));
        let stream = StreamId::new(number.into(), number.into());
        let ends = AllEnds::default().tag(Ends { dialler: end, dialled: end });
        Connection::new(stream, Via::Direct, end, ends, Slot::None, Instant::ZERO)
    }

    /// Most connections do nothing, and there may be 10,000.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn an_idle_connection_is_small() {
        use crate::proto::stream::LineStream;

        assert!(size_of::<Option<Place>>() <= 104);
        assert!(size_of::<LineStream>() <= 192);
        assert!(size_of::<super::super::Role>() <= 32);
    }

    #[test]
    fn an_id_names_one_connection_for_ever() {
        let mut all = Connections::new(7);
        let first = all.insert(connection(1));
        assert!(all.remove(first).is_some() && all.remove(first).is_none());
        let second = all.insert(connection(2));
        assert_eq!((first.slot(), first.number(), second.number()), (second.slot(), 1, 2));
        assert!(all.get(first).is_none());
        assert_eq!(all.get(second).map(|connection| connection.peer.port()), Some(2));
        assert!(all.get(ConId::new(8, second.slot() as u32, second.number())).is_none(), "another net's");
    }

    #[test]
    fn those_that_ended_are_passed_over_and_then_forgotten() {
        let mut all = Connections::new(1);
        let ids = [1, 2, 3].map(|number| all.insert(connection(number)));
        all.remove(ids[1]);
        assert_eq!(all.ids().collect::<Vec<_>>(), [ids[0], ids[2]]);
        assert_eq!((all.places(), all.at(1).is_none()), (3, true));
        all.settle();
        assert_eq!(all.places(), 2);
    }
}
