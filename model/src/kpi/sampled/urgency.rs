//! Whether what is urgent stands behind: bytes not sent by urgency, weighted by time.
//!
//! By Little's law the mean of what waits is the sum of bytes x wait over the time, so rows that
//! stand for several packets serve as well as all of them.

/// Urgencies: 0 to 255.
const URGENCIES: usize = 256;

/// Byte-nanoseconds of waiting by urgency.
#[derive(Clone, Debug, Default)]
pub struct Urgencies {
    waited: Option<Box<[u128; URGENCIES]>>,
    /// Bit `u`: a packet of urgency `u` was seen.
    seen: [u64; URGENCIES / 64],
    rows: u64,
}

/// `not_sent_urgency_divergence`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Divergence {
    /// Bytes not sent, weighted by urgency.
    pub weighted: f64,
    /// That over the mean of the urgencies that were seen; `None` when nothing waited.
    pub ratio: Option<f64>,
}

impl Urgencies {
    /// `bytes` of `urgency` waited for `wait_ns`; the row stands for `weight` packets.
    pub fn record(&mut self, urgency: u8, bytes: u32, wait_ns: u64, weight: u32) {
        let waited = self.waited.get_or_insert_with(|| Box::new([0; URGENCIES]));
        waited[usize::from(urgency)] +=
            u128::from(bytes) * u128::from(wait_ns) * u128::from(weight);
        self.seen[usize::from(urgency / 64)] |= 1 << (urgency % 64);
        self.rows += 1;
    }

    /// Adds what `other` holds.
    pub fn merge(&mut self, other: &Self) {
        let Some(theirs) = &other.waited else { return };
        let mine = self.waited.get_or_insert_with(|| Box::new([0; URGENCIES]));
        mine.iter_mut().zip(theirs.iter()).for_each(|(mine, theirs)| *mine += theirs);
        self.seen.iter_mut().zip(other.seen).for_each(|(mine, theirs)| *mine |= theirs);
        self.rows += other.rows;
    }

    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        if let Some(waited) = &mut self.waited {
            waited.fill(0);
        }
        (self.seen, self.rows) = ([0; URGENCIES / 64], 0);
    }

    /// Rows behind it.
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The figures over `span_ns`; `None` when no packet was urgent at all, or no time passed.
    pub fn divergence(&self, span_ns: u64) -> Option<Divergence> {
        let waited = self.waited.as_ref()?;
        let is_seen = |u: &usize| self.seen[u / 64] >> (u % 64) & 1 != 0;
        let (mut weighted, mut plain, mut urgency, mut kinds) = (0, 0, 0, 0_u64);
        for u in (0..URGENCIES).filter(is_seen) {
            weighted += u as u128 * waited[u];
            plain += waited[u];
            urgency += u as u64;
            kinds += 1;
        }
        if urgency == 0 || span_ns == 0 {
            return None;
        }
        let weighted = weighted as f64 / urgency as f64;
        let mean = plain as f64 / kinds as f64;
        let ratio = (mean > 0.0).then(|| weighted / mean);
        Some(Divergence { weighted: weighted / span_ns as f64, ratio })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In 1,000 ns 100 bytes of urgency 200 waited 300 ns and 50 bytes of urgency 50 waited 400 ns: means
    /// 30 and 20 bytes. (200 x 30 + 50 x 20) / 250 = 28; the plain mean is 25: ratio 1.12.
    #[test]
    fn urgent_bytes_weigh_more() {
        let mut urgencies = Urgencies::default();
        urgencies.record(200, 100, 300, 1);
        urgencies.record(50, 50, 200, 2);
        let found = urgencies.divergence(1_000).unwrap();
        assert_eq!(found, Divergence { weighted: 28.0, ratio: Some(28.0 / 25.0) });
        assert_eq!(urgencies.divergence(0), None);
    }

    #[test]
    fn without_urgency_there_is_no_divergence() {
        let mut urgencies = Urgencies::default();
        assert_eq!(urgencies.divergence(1_000), None);
        urgencies.record(0, 100, 300, 1);
        assert_eq!(urgencies.divergence(1_000), None, "the sum of urgencies is 0");
        urgencies.record(7, 84, 0, 1);
        let found = urgencies.divergence(1_000).unwrap();
        assert_eq!(found, Divergence { weighted: 0.0, ratio: Some(0.0) });
        urgencies.clear();
        urgencies.record(7, 84, 0, 1);
        assert_eq!(urgencies.divergence(9).unwrap().ratio, None, "nothing waited");
    }
}
