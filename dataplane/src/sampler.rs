//! Which packets leave a full sample: one in each so many, at a place that a seed draws, so that a
//! run with the same seed keeps the same rows.
//!
//! Every packet is kept with the same probability, and the place within a stretch does not follow
//! the traffic's period. Until a packet is kept, one is only counted down.

/// See the module.
#[derive(Clone, Debug)]
pub struct Sampler {
    seed: u64,
    one_in: u32,
    /// Packets before the next one that is kept.
    skip: u32,
    /// Packets of this stretch behind the one that is kept.
    rest: u32,
    stretch: u64,
    rows: u64,
}

impl Sampler {
    /// Keeps one packet of each `one_in`, all when it is 1.
    pub const fn new(seed: u64, one_in: u32) -> Self {
        let one_in = if one_in == 0 { 1 } else { one_in };
        let mut sampler = Self { seed, one_in, skip: 0, rest: 0, stretch: 0, rows: 0 };
        sampler.begin_stretch();
        sampler
    }

    /// Whether the next packet is kept.
    #[inline]
    pub const fn takes(&mut self) -> bool {
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        self.begin_stretch();
        true
    }

    /// Draws the place in the next stretch of `one_in` packets.
    const fn begin_stretch(&mut self) {
        self.stretch += 1;
        // splitmix64 of the stretch's number: uniform.
        let mut z = self.seed ^ self.stretch.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let place = (((z ^ (z >> 31)) as u32 as u64 * self.one_in as u64) >> 32) as u32;
        self.skip = self.rest + place;
        self.rest = self.one_in - 1 - place;
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
    fn keeps_one_of_each_stretch_and_the_same_rows_for_the_same_seed() {
        let picks = |seed| {
            let mut sampler = Sampler::new(seed, 64);
            (0..64_000u32).filter(|_| sampler.takes()).collect::<Vec<_>>()
        };
        let kept = picks(7);
        assert!(kept.iter().enumerate().all(|(i, &packet)| packet / 64 == i as u32));
        assert_eq!(kept.len(), 1_000);
        assert_eq!(kept, picks(7));
        assert_ne!(kept, picks(8));
        // Every place is as likely as any other: 1,000 draws, 15.6 for each of 64.
        let mut places = [0; 64];
        kept.iter().for_each(|packet| places[*packet as usize % 64] += 1);
        assert!(places.iter().all(|n| (2..40).contains(n)), "{places:?}");
    }

    #[test]
    fn keeps_every_packet_when_asked_to() {
        let mut all = Sampler::new(7, 1);
        assert!((0..100).all(|_| all.takes()));
    }
}
