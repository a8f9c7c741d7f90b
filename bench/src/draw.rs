//! Numbers that look random, cheap enough to be drawn inside what is measured.

/// xorshift64*: three shifts and a multiplication.
#[derive(Clone, Debug)]
pub struct Draw(u64);

impl Draw {
    /// Starts from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    /// 64 bits.
    #[inline]
    pub fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// 0 to `n` - 1, for `n` below 2^32.
    #[inline]
    pub fn below(&mut self, n: u64) -> u64 {
        ((self.bits() >> 32) * n) >> 32
    }
}
