//! A leaky bucket in exact fractions: time counts in `1/R` ns, so that `L/R` is a whole number.
//! After every charge the bucket holds what a window that ends here holds at most beyond its rate:
//! it conforms in every window while it never holds more than `B`.

use model::profile::{Bucket, Caps};

const BYTE: i128 = 8_000_000_000;
const MESSAGE: i128 = 1_000_000_000;
/// Long before any run: a bucket that nothing was ever put in.
const NEVER: i128 = -(1 << 60);

#[derive(Clone, Copy, Debug)]
pub struct Exact {
    limit: Option<Bucket>,
    unit: i128,
    /// When it will be empty, in `1/R` ns (in ns without a limit).
    empty_at: i128,
}

impl Exact {
    pub fn new(limit: Option<Bucket>, unit: i128) -> Self {
        let mut this = Self { limit, unit, empty_at: 0 };
        this.empty_at = NEVER * this.rate();
        this
    }

    pub fn messages(limit: Bucket) -> Self {
        Self::new(Some(limit), MESSAGE)
    }

    fn rate(&self) -> i128 {
        self.limit.map_or(1, |b| i128::from(b.rate_per_s))
    }

    fn burst(&self) -> i128 {
        self.limit.map_or(0, |b| {
            i128::from(b.burst) * self.unit + i128::from(b.rate_per_s) * i128::from(b.slack.0)
        })
    }

    /// The first whole ns at which `units` fit.
    pub fn fits_at(&self, units: u64) -> u64 {
        if self.limit.is_none() || units == 0 {
            return 0;
        }
        let at = self.empty_at + i128::from(units) * self.unit - self.burst();
        let (whole, part) = (at.div_euclid(self.rate()), at.rem_euclid(self.rate()));
        u64::try_from(whole + i128::from(part > 0)).unwrap_or(0)
    }

    /// Puts `units` in. Returns how many more would have fitted, in units rounded down: negative =
    /// too much. `None` without a limit.
    pub fn put(&mut self, now: u64, units: u64) -> Option<i128> {
        if self.limit.is_none() || units == 0 {
            return None;
        }
        let now = i128::from(now) * self.rate();
        self.empty_at = self.empty_at.max(now) + i128::from(units) * self.unit;
        Some((now + self.burst() - self.empty_at).div_euclid(self.unit))
    }

    /// Takes a new limit: what it holds drains to the same time, and is at most what fits.
    pub fn change(&mut self, now: u64, limit: Option<Bucket>) {
        let old = self.rate();
        self.limit = limit;
        let new = self.rate();
        let scaled = self.empty_at * new;
        self.empty_at = scaled.div_euclid(old) + i128::from(scaled.rem_euclid(old) > 0);
        if limit.is_some() {
            self.empty_at = self.empty_at.min(i128::from(now) * new + self.burst());
        }
    }

    /// Nothing that was saved up to `now` may be used any more.
    pub fn forget_savings(&mut self, now: u64) {
        if self.limit.is_some() {
            self.empty_at = self.empty_at.max(i128::from(now) * self.rate() + self.burst());
        }
    }
}

/// The two buckets of a node.
#[derive(Clone, Copy, Debug)]
pub struct Level {
    caps: Caps,
    bits: Exact,
    messages: Exact,
}

impl Level {
    pub fn new(caps: Caps) -> Self {
        let (bits, messages) = (Exact::new(caps.bits, BYTE), Exact::new(caps.messages, MESSAGE));
        Self { caps, bits, messages }
    }

    pub fn fits_at(&self, bytes: u64, messages: u64) -> u64 {
        self.bits.fits_at(bytes).max(self.messages.fits_at(messages))
    }

    /// What room is left after it, of bytes and of messages.
    pub fn put(&mut self, now: u64, bytes: u64, messages: u64) -> [Option<i128>; 2] {
        [self.bits.put(now, bytes), self.messages.put(now, messages)]
    }

    /// Nothing happens where nothing changes, not even to a debt.
    pub fn change(&mut self, now: u64, caps: Caps) {
        if caps != self.caps {
            self.caps = caps;
            self.bits.change(now, caps.bits);
            self.messages.change(now, caps.messages);
        }
    }

    pub fn forget_savings(&mut self, now: u64) {
        self.bits.forget_savings(now);
        self.messages.forget_savings(now);
    }
}
