//! A releaser that is quantized: what is due leaves at the next multiple of a slot, as where a kernel
//! releases by a timer of that resolution, however exact the deadlines are.

use model::time::Nanos;

/// The slots of one releaser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Length of a slot, above 0.
    pub slot: Nanos,
}

impl Slots {
    /// The first multiple of the slot that is not before `now`.
    pub fn opens_at(self, now: Nanos) -> Nanos {
        Nanos(now.0.next_multiple_of(self.slot.0.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_releaser_opens_at_multiples_of_its_slot() {
        let slots = Slots { slot: Nanos(100) };
        assert_eq!([0, 1, 100, 101].map(|t| slots.opens_at(Nanos(t)).0), [0, 100, 100, 200]);
    }
}
