//! Slots, and the ids that name what is in them: an id names one thing for ever, a slot one after the other.

use crate::id::StreamId;

/// Things `E` in slots, of one node.
#[derive(Debug)]
pub(super) struct Table<E> {
    slots: Vec<Option<Slot<E>>>,
    /// Slots that may be used again.
    free: Vec<usize>,
    /// How many slots are taken.
    live: usize,
    /// The last number given out.
    serials: u64,
}

#[derive(Debug)]
struct Slot<E> {
    serial: u64,
    entry: E,
}

impl<E> Table<E> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), live: 0, serials: 0 }
    }

    /// Puts it into a free slot.
    pub(super) fn insert(&mut self, entry: E) -> StreamId {
        self.serials += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[slot] = Some(Slot { serial: self.serials, entry });
        self.live += 1;
        StreamId::new(slot as u32, self.serials)
    }

    /// Takes it out of its slot, which is not free before [`release`](Self::release).
    pub(super) fn remove(&mut self, slot: usize) -> Option<E> {
        let removed = self.slots.get_mut(slot)?.take()?;
        self.live -= 1;
        Some(removed.entry)
    }

    /// The slot of something that was removed may be used again.
    pub(super) fn release(&mut self, slot: usize) {
        self.free.push(slot);
    }

    #[inline]
    pub(super) fn get(&self, id: StreamId) -> Option<&E> {
        let slot = self.slots.get(id.slot())?.as_ref()?;
        (slot.serial == id.serial()).then_some(&slot.entry)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut E> {
        let slot = self.slots.get_mut(id.slot())?.as_mut()?;
        (slot.serial == id.serial()).then_some(&mut slot.entry)
    }

    /// Two different things at once.
    pub(super) fn pair_mut(&mut self, one: StreamId, other: StreamId) -> Option<[&mut E; 2]> {
        self.get(one)?;
        self.get(other)?;
        let [one, other] = self.slots.get_disjoint_mut([one.slot(), other.slot()]).ok()?;
        Some([&mut one.as_mut()?.entry, &mut other.as_mut()?.entry])
    }

    #[inline]
    pub(super) fn at(&self, slot: usize) -> Option<&E> {
        Some(&self.slots.get(slot)?.as_ref()?.entry)
    }

    #[inline]
    pub(super) fn at_mut(&mut self, slot: usize) -> Option<&mut E> {
        Some(&mut self.slots.get_mut(slot)?.as_mut()?.entry)
    }

    /// The id of what is in the slot now.
    #[inline]
    pub(super) fn id_at(&self, slot: usize) -> Option<StreamId> {
        let serial = self.slots.get(slot)?.as_ref()?.serial;
        Some(StreamId::new(slot as u32, serial))
    }

    /// All, in the order of their slots.
    pub(super) fn iter(&self) -> impl Iterator<Item = (StreamId, &E)> {
        self.slots.iter().enumerate().filter_map(|(place, slot)| {
            let slot = slot.as_ref()?;
            Some((StreamId::new(place as u32, slot.serial), &slot.entry))
        })
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }
}
