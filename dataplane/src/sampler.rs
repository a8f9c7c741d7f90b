//! Which packets leave a full sample: one in each so many, at a place that a seed draws, so that a
//! run with the same seed keeps the same rows.
//!
//! Every packet is kept with the same probability, and the place within a stretch does not follow
//! the traffic's period. Until a packet is kept, one is only counted down.
//!
//! With a timeline every packet of an order-entry kind is kept, as long as there are not more of them
//! than a budget of rows per second. Such a row stands for its packet alone and takes no part in the
//! draw, so the weights of all rows still add up to the packets. Beyond the budget lots are drawn as
//! for all others. A profile may have packets of more kinds kept in full, within the same budget.

use model::config::{Config, Timeline};
use model::kind::Kind;
use model::meta::flags;
use model::profile::Profile;
use model::time::Nanos;

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
    /// Bit `n`: [`Kind`] `n` is kept in full.
    full_kinds: u16,
    /// The same, whatever the profile says.
    always_full: u16,
    /// Kinds of the classes of a profile.
    kinds: Vec<Kind>,
    budget: Budget,
}

/// Rows per second, as a theoretical arrival time.
#[derive(Clone, Copy, Debug, Default)]
struct Budget {
    tat: Nanos,
    row_ns: u64,
    burst_ns: u64,
}

impl Budget {
    /// `burst_rows` at once, at least 1, and no more than `rows_per_s`, above 0, after that.
    fn of(rows_per_s: u32, burst_rows: u32) -> Self {
        // Rounded up: never more rows than the ring behind it was made for.
        let row_ns = 1_000_000_000_u64.div_ceil(u64::from(rows_per_s));
        let burst_ns = row_ns * u64::from(burst_rows.saturating_sub(1));
        Self { tat: Nanos::ZERO, row_ns, burst_ns }
    }

    #[inline]
    fn takes(&mut self, now: Nanos) -> bool {
        let tat = self.tat.max(now);
        if tat.0 - now.0 > self.burst_ns {
            return false;
        }
        self.tat = tat.saturating_add(Nanos(self.row_ns));
        true
    }
}

impl Sampler {
    /// Keeps one packet of each `one_in`, all when it is 1.
    pub const fn new(seed: u64, one_in: u32) -> Self {
        let one_in = if one_in == 0 { 1 } else { one_in };
        let budget = Budget { tat: Nanos::ZERO, row_ns: 0, burst_ns: 0 };
        let mut sampler = Self {
            seed,
            one_in,
            skip: 0,
            rest: 0,
            stretch: 0,
            rows: 0,
            full_kinds: 0,
            always_full: 0,
            kinds: Vec::new(),
            budget,
        };
        sampler.begin_stretch();
        sampler
    }

    /// The same, and order-entry kinds in full: `burst_rows` at once (at least 1), and no more than
    /// `rows_per_s` after that. 0 = none.
    #[must_use]
    pub fn with_full_rows(mut self, rows_per_s: u32, burst_rows: u32) -> Self {
        if rows_per_s == 0 {
            return self;
        }
        let kinds = Kind::ALL.iter().filter(|kind| kind.is_order_entry());
        self.always_full = kinds.fold(0, |bits, &kind| bits | 1 << kind as u8);
        self.full_kinds = self.always_full;
        self.budget = Budget::of(rows_per_s, burst_rows);
        self
    }

    /// As `config` says: with a timeline order entry is kept in full, and whatever else a profile wants,
    /// within its budget. Without one a profile may have a quarter of the ring at once, and the ring in a
    /// second.
    pub fn of(config: &Config, timeline: Option<&Timeline>) -> Self {
        let sampler = Self::new(config.gateway.seed, config.control.sample_one_in);
        let mut sampler = match timeline {
            Some(timeline) => sampler.with_full_rows(timeline.rows_per_s, timeline.burst_rows()),
            None => sampler,
        };
        if sampler.always_full == 0 {
            let ring = u32::try_from(config.control.sample_ring).unwrap_or(u32::MAX);
            sampler.budget = Budget::of(ring.max(1), ring / 4);
        }
        sampler.kinds = config.nodes().map(|class| config.classes[class].kind).collect();
        sampler
    }

    /// From here on kinds of the classes of which `profile` wants every row are kept in full too.
    pub fn set_profile(&mut self, profile: &Profile) {
        let wanted = self.kinds.iter().zip(&profile.classes);
        let wanted = wanted.filter(|(_, params)| params.shaping.rows_in_full);
        self.full_kinds = wanted.fold(self.always_full, |bits, (&kind, _)| bits | 1 << kind as u8);
    }

    /// What the flags of the next packet, of kind `kind`, get: 0, or [`flags::SAMPLED`] where it is
    /// kept, with [`flags::SAMPLED_IN_FULL`] where its row stands for it alone.
    #[inline]
    pub fn takes(&mut self, kind: u8, now: Nanos) -> u8 {
        if self.keeps_kind(kind) && self.budget.takes(now) {
            return flags::SAMPLED | flags::SAMPLED_IN_FULL;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return 0;
        }
        self.begin_stretch();
        flags::SAMPLED
    }

    /// How many of the next packets leave no sample, whatever they are but for [`Sampler::keeps_kind`].
    #[inline]
    pub const fn next_none(&self) -> u32 {
        self.skip
    }

    /// Whether packets of a kind may be kept in full.
    #[inline(always)]
    pub const fn keeps_kind(&self, kind: u8) -> bool {
        self.full_kinds >> (kind & 15) & 1 != 0
    }

    /// So many packets passed of those that [`Sampler::next_none`] told, none of a kind that is kept.
    #[inline]
    pub fn pass(&mut self, packets: u32) {
        debug_assert!(packets <= self.skip);
        self.skip -= packets;
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

    /// How many packets the row of a packet with these flags stands for.
    pub const fn weight(&self, of: u8) -> u32 {
        if of & flags::SAMPLED_IN_FULL != 0 { 1 } else { self.one_in }
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

    const OTHER: u8 = Kind::Other as u8;
    const CANCEL: u8 = Kind::Cancel as u8;

    #[test]
    fn keeps_one_of_each_stretch_and_the_same_rows_for_the_same_seed() {
        let picks = |seed| {
            let mut sampler = Sampler::new(seed, 64);
            let takes = |packet: &u32| sampler.takes(CANCEL, Nanos(u64::from(*packet))) != 0;
            (0..64_000u32).filter(takes).collect::<Vec<_>>()
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
    fn a_profile_has_kinds_kept_in_full_within_the_budget() {
        let text = "[gateway]\nname = \"g\"\nclock = \"virtual\"\n[control]\nsample_one_in = 8\n\
            [[port]]\nname = \"in\"\nside = \"inside\"\ndevice = \"capture\"\n\
            [[port]]\nname = \"out\"\nside = \"venue\"\ndevice = \"capture\"\n\
            [[pair]]\ninside = \"in\"\nvenue = \"out\"\n\
            [default_class]\ninside = \"rest\"\nvenue = \"back\"\n\
            [[class]]\nname = \"cancels\"\nkind = \"cancel\"\n\
            [[class]]\nname = \"rest\"\n[[class]]\nname = \"back\"\nfrom = \"venue\"\n";
        let config = Config::from_toml("g.toml", text).expect("a config");
        let mut sampler = Sampler::of(&config, None);
        sampler.budget = Budget::of(1_000, 10);
        let mut profile = config.profiles[0].clone();
        profile.classes[0].shaping.rows_in_full = true;
        let full = |flags: u8| flags & flags::SAMPLED_IN_FULL != 0;
        assert!(!full(sampler.takes(CANCEL, Nanos(5))), "not asked for");
        sampler.set_profile(&profile);
        assert!(!full(sampler.takes(OTHER, Nanos(5))), "of another kind");
        let at_once: Vec<bool> = (0..11).map(|_| full(sampler.takes(CANCEL, Nanos(5)))).collect();
        assert_eq!(at_once.iter().filter(|kept| **kept).count(), 10, "within the budget");
        sampler.set_profile(&config.profiles[0]);
        assert!(!full(sampler.takes(CANCEL, Nanos(1 << 40))), "no longer");
    }

    #[test]
    fn keeps_every_packet_when_asked_to() {
        let mut all = Sampler::new(7, 1);
        assert!((0..100).all(|n| all.takes(OTHER, Nanos(n)) == flags::SAMPLED));
    }

    #[test]
    fn order_entry_is_kept_in_full_and_the_rest_is_drawn_as_without_it() {
        let mut plain = Sampler::new(7, 16);
        let mut full = Sampler::new(7, 16).with_full_rows(1_000_000_000, 1_000);
        for n in 0..1_600 {
            let now = Nanos(n);
            assert_eq!(full.takes(CANCEL, now), flags::SAMPLED | flags::SAMPLED_IN_FULL);
            assert_eq!(full.takes(OTHER, now), plain.takes(OTHER, now), "{n}");
        }
        let unknown = full.takes(0xff, Nanos(2_000));
        assert!(unknown & flags::SAMPLED_IN_FULL == 0);
    }

    /// 1,000 rows/s and 10 at once: 11 packets at one instant leave 10 full rows, and one more
    /// becomes possible each ms.
    #[test]
    fn beyond_the_budget_lots_are_drawn_and_the_weights_add_up() {
        let mut sampler = Sampler::new(7, 8).with_full_rows(1_000, 10);
        let full = |flags: u8| flags & flags::SAMPLED_IN_FULL != 0;
        let at_once: Vec<bool> = (0..11).map(|_| full(sampler.takes(CANCEL, Nanos(5)))).collect();
        assert_eq!(at_once, [[true; 10].as_slice(), &[false]].concat());
        let ms = Nanos::from_millis;
        assert!(!full(sampler.takes(CANCEL, Nanos(ms(1).0 + 4))));
        assert!(full(sampler.takes(CANCEL, Nanos(ms(1).0 + 5))));

        // 8,000 packets in a second, 8 each ms: at most 1,010 in full, the rest by lots of one in 8.
        let mut sampler = Sampler::new(7, 8).with_full_rows(1_000, 10);
        let (mut weight, mut in_full) = (0, 0);
        for n in 0..8_000_u64 {
            let taken = sampler.takes(CANCEL, ms(n / 8));
            weight += if taken == 0 { 0 } else { u64::from(sampler.weight(taken)) };
            in_full += u64::from(full(taken));
        }
        assert!((1_000..=1_010).contains(&in_full), "{in_full}");
        assert!(weight.abs_diff(8_000) < 8, "{weight}");
    }

    #[test]
    fn a_budget_of_nothing_is_none() {
        let mut sampler = Sampler::new(7, 1).with_full_rows(0, 0);
        assert_eq!(sampler.takes(CANCEL, Nanos(1)), flags::SAMPLED);
        assert_eq!(sampler.weight(flags::SAMPLED), 1);
    }
}
