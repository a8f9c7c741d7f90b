//! How one input becomes another.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{Rng, SeedableRng};

/// No input grows beyond this.
const BYTES_MAX: usize = 16_384;
/// Changes to one input at a time, at most.
const CHANGES_MAX: usize = 6;

/// Values at the edges of what fields hold.
const EDGES: [u64; 12] =
    [0, 1, 2, 7, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX];

/// Draws and changes; a function of its seed.
pub(crate) struct Mutator(Pcg64Mcg);

impl Mutator {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Pcg64Mcg::seed_from_u64(seed))
    }

    /// Below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.0.next_u64()) * bound as u128) >> 64) as usize
    }

    /// Changes `input` in a few places; parts may come out of `other`.
    pub(crate) fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(CHANGES_MAX) {
            self.change_once(input, other);
        }
        input.truncate(BYTES_MAX);
    }

    fn change_once(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let len = input.len();
        if len == 0 {
            input.extend_from_slice(other);
            return;
        }
        let at = self.below(len);
        match self.below(8) {
            0 => input[at] ^= 1 << self.below(8),
            1 => input[at] = self.below(256) as u8,
            2 => self.write_number(input, at),
            3 => input.truncate(at),
            4 => {
                let until = at + 1 + self.below((len - at).min(64));
                input.drain(at..until.min(len));
            }
            5 => {
                let until = (at + 1 + self.below(64)).min(len);
                let twice = input[at..until].to_vec();
                let to = self.below(len + 1);
                input.splice(to..to, twice);
            }
            6 if !other.is_empty() => {
                let from = self.below(other.len());
                let until = (from + 1 + self.below(64)).min(other.len());
                let to = (at + until - from).min(len);
                input.splice(at..to, other[from..until].iter().copied());
            }
            _ => {
                let byte = self.below(256) as u8;
                input.insert(at, byte);
            }
        }
    }

    /// A number at an edge, or near to what stands there, in either byte order.
    fn write_number(&mut self, input: &mut [u8], at: usize) {
        let bytes = [1, 2, 4, 8][self.below(4)].min(input.len() - at);
        let big = self.below(2) == 0;
        let field = &mut input[at..at + bytes];
        let mut value = EDGES[self.below(EDGES.len())];
        if self.below(2) == 0 {
            let stands = field.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
            value = stands.wrapping_add(self.below(9) as u64).wrapping_sub(4);
        }
        for (n, byte) in field.iter_mut().enumerate() {
            let place = if big { bytes - 1 - n } else { n };
            *byte = (value >> (8 * place)) as u8;
        }
    }
}
