//! A set of classes, a bit for each.

/// See the module. Words, not one wide number: a shift by a class number is then one instruction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ClassSet([u64; 2]);

impl ClassSet {
    #[inline]
    pub const fn is_empty(self) -> bool {
        self.0[0] | self.0[1] == 0
    }

    /// Adds a class. Returns whether it was not in the set.
    #[inline]
    pub const fn insert(&mut self, class: usize) -> bool {
        let (word, bit) = (&mut self.0[class / 64 % 2], 1 << (class % 64));
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes a class out, if it is in the set.
    pub const fn remove(&mut self, class: usize) {
        self.0[class / 64 % 2] &= !(1 << (class % 64));
    }

    /// Takes the first class out.
    pub const fn pop(&mut self) -> Option<usize> {
        let word = if self.0[0] != 0 { 0 } else { 1 };
        let bits = self.0[word];
        if bits == 0 {
            return None;
        }
        self.0[word] = bits & (bits - 1);
        Some(word * 64 + bits.trailing_zeros() as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_goes_in_once_and_comes_out_in_order() {
        let mut set = ClassSet::default();
        for class in [127, 0, 64, 63] {
            assert!(set.insert(class) && !set.insert(class) && !set.is_empty());
        }
        set.insert(70);
        set.remove(70);
        set.remove(5);
        let out: Vec<_> = std::iter::from_fn(|| set.pop()).collect();
        assert_eq!(out, [0, 63, 64, 127]);
        assert!(set.is_empty());
    }
}
