//! Slots with generations: a slot is used again, a key is not.
//!
//! Bounds:   as many slots as there were calls at once.

/// Things in numbered slots.
#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
}

#[derive(Debug)]
struct Slot<T> {
    /// How often the slot was emptied.
    generation: u64,
    thing: Option<T>,
}

impl<T> Slots<T> {
    /// None yet.
    pub(super) fn new() -> Slots<T> {
        Slots { slots: Vec::new(), free: Vec::new() }
    }

    /// Puts in what `make` makes of the slot's number and generation. Returns the number.
    pub(super) fn insert(&mut self, make: impl FnOnce(usize, u64) -> T) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, thing: None });
            self.slots.len() - 1
        });
        let generation = self.slots[slot].generation;
        self.slots[slot].thing = Some(make(slot, generation));
        slot
    }

    /// What is in the slot now.
    pub(super) fn at(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.thing.as_mut()
    }

    /// What was put into the slot in this generation, if it is still there.
    pub(super) fn of(&mut self, slot: usize, generation: u64) -> Option<&mut T> {
        self.slots.get_mut(slot).filter(|slot| slot.generation == generation)?.thing.as_mut()
    }

    /// Empties the slot.
    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let place = self.slots.get_mut(slot)?;
        let thing = place.thing.take()?;
        place.generation += 1;
        self.free.push(slot);
        Some(thing)
    }

    /// How many slots are in use.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The numbers of the slots there are, in use or not.
    pub(super) fn numbers(&self) -> std::ops::Range<usize> {
        0..self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_the_past_finds_nothing_in_a_slot_used_again() {
        let mut slots = Slots::new();
        let first = slots.insert(|slot, generation| (slot, generation));
        assert_eq!(slots.remove(first), Some((0, 0)));
        let second = slots.insert(|slot, generation| (slot, generation));
        assert_eq!((first, second), (0, 0));
        assert_eq!(slots.of(0, 0), None);
        assert_eq!(slots.of(0, 1), Some(&mut (0, 1)));
        assert_eq!((slots.len(), slots.numbers()), (1, 0..1));
    }
}
