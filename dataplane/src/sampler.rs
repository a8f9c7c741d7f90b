//! Which packets leave a full sample: one in so many, by a seeded hash of their number, so that a
//! run with the same seed keeps the same rows.

/// See the module.
#[derive(Clone, Debug)]
pub struct Sampler {
    seed: u64,
    one_in: u32,
    packets: u64,
    rows: u64,
}

impl Sampler {
    /// Keeps one packet in `one_in`, all when it is 1.
    pub const fn new(seed: u64, one_in: u32) -> Self {
        Self { seed, one_in: if one_in == 0 { 1 } else { one_in }, packets: 0, rows: 0 }
    }

    /// Whether the next packet is kept.
    #[inline]
    pub fn takes(&mut self) -> bool {
        self.packets += 1;
        if self.one_in == 1 {
            return true;
        }
        // splitmix64 of the packet's number: uniform, and independent of the traffic's period.
        let mut z = self.seed ^ self.packets.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (((z ^ (z >> 31)) as u32 as u64) * u64::from(self.one_in)) >> 32 == 0
    }

    /// How many packets a row stands for.
    pub const fn weight(&self) -> u32 {
        self.one_in
    }

    /// The number of the next row.
    pub fn next_row(&mut self) -> u64 {
        let row = self.rows;
        self.rows += 1;
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_its_share_and_the_same_rows_for_the_same_seed() {
        let picks = |seed| {
            let mut sampler = Sampler::new(seed, 64);
            (0..64_000u32).filter(|_| sampler.takes()).collect::<Vec<_>>()
        };
        let kept = picks(7);
        assert!((800..1_200).contains(&kept.len()), "{}", kept.len());
        assert_eq!(kept, picks(7));
        assert_ne!(kept, picks(8));
        let mut all = Sampler::new(7, 1);
        assert!((0..100).all(|_| all.takes()));
    }
}
