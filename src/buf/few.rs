//! A queue of which nearly always no more than one thing waits: that one stands in its owner, and
//! no memory of the queue's own is touched for it.
//!
//! In, out:  things, oldest first.
//! Bounds:   its user's; beyond the first thing it grows like any queue, and keeps that memory.
//! Not here: what waits.

use std::collections::VecDeque;

/// A queue whose first thing stands in it.
#[derive(Debug)]
pub struct Few<T> {
    /// `None`: nothing waits at all.
    first: Option<T>,
    rest: VecDeque<T>,
}

impl<T> Default for Few<T> {
    fn default() -> Few<T> {
        Few { first: None, rest: VecDeque::new() }
    }
}

impl<T> Few<T> {
    /// How many wait.
    pub fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// The oldest.
    pub fn front(&self) -> Option<&T> {
        self.first.as_ref()
    }

    /// The newest.
    pub fn back_mut(&mut self) -> Option<&mut T> {
        match self.rest.back_mut() {
            None => self.first.as_mut(),
            newest => newest,
        }
    }

    /// Puts one behind the others.
    pub fn push_back(&mut self, thing: T) {
        match self.first {
            None => self.first = Some(thing),
            Some(_) => self.rest.push_back(thing),
        }
    }

    /// Takes the oldest.
    pub fn pop_front(&mut self) -> Option<T> {
        let oldest = self.first.take();
        if !self.rest.is_empty() {
            self.first = self.rest.pop_front();
        }
        oldest
    }

    /// Takes the oldest if it is one of those.
    pub fn pop_front_if(&mut self, is_one: impl FnOnce(&mut T) -> bool) -> Option<T> {
        if is_one(self.first.as_mut()?) { self.pop_front() } else { None }
    }

    /// Throws all away.
    pub fn clear(&mut self) {
        self.first = None;
        self.rest.clear();
    }

    /// Has all of them changed at once.
    pub fn change<R>(&mut self, change: impl FnOnce(&mut VecDeque<T>) -> R) -> R {
        if let Some(first) = self.first.take() {
            self.rest.push_front(first);
        }
        let told = change(&mut self.rest);
        self.first = self.rest.pop_front();
        told
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_queue_whatever_is_done_with_it() {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut few, mut queue) = (Few::default(), VecDeque::new());
        for number in 0..20_000_u32 {
            match random.u8(..10) {
                0..4 => {
                    few.push_back(number);
                    queue.push_back(number);
                }
                4..6 => assert_eq!(few.pop_front(), queue.pop_front()),
                6 => {
                    let is_even = |it: &mut u32| it.is_multiple_of(2);
                    assert_eq!(few.pop_front_if(is_even), queue.pop_front_if(is_even));
                }
                7 => {
                    let all = |all: &mut VecDeque<u32>| all.retain(|it| !it.is_multiple_of(3));
                    few.change(all);
                    all(&mut queue);
                }
                8 => assert_eq!(few.back_mut(), queue.back_mut()),
                _ if random.u8(..) == 0 => {
                    few.clear();
                    queue.clear();
                }
                _ => {}
            }
            assert_eq!((few.len(), few.front()), (queue.len(), queue.front()));
            assert_eq!(few.is_empty(), queue.is_empty());
        }
    }

    #[test]
    fn one_after_the_other_needs_no_memory() {
        let mut few = Few::default();
        for number in 0..100 {
            few.push_back(number);
            assert_eq!(few.pop_front(), Some(number));
        }
        assert_eq!(few.rest.capacity(), 0);
    }
}
