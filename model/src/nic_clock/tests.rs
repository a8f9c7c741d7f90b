//! A device that is known exactly, read through brackets of random width.

use super::{NicClock, NicModel, Outcome, Reading};
use crate::time::Cycles;

const TSC_HZ: u64 = 2_500_000_000;
const MS: u64 = TSC_HZ / 1_000;

/// splitmix64; every test prints its seed by failing with it.
struct Draw(u64);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
}

/// A device whose rate can change; its counter is exact at every TSC from the last change on.
struct Device {
    hz: f64,
    ppm: f64,
    /// Ticks and TSC of the last change.
    ticks: f64,
    tsc: u64,
    epoch: u64,
    bits: u32,
}

impl Device {
    fn new(hz: f64, epoch: u64, bits: u32) -> Self {
        Self { hz, ppm: 0.0, ticks: 0.0, tsc: 0, epoch, bits }
    }

    fn ticks_at(&self, tsc: u64) -> f64 {
        let s = (tsc as f64 - self.tsc as f64) / TSC_HZ as f64;
        self.ticks + s * self.hz * (1.0 + self.ppm * 1e-6)
    }

    fn raw_at(&self, tsc: u64) -> u64 {
        let raw = self.epoch.wrapping_add(self.ticks_at(tsc).floor() as i64 as u64);
        if self.bits == 64 { raw } else { raw & ((1 << self.bits) - 1) }
    }

    fn set_ppm(&mut self, tsc: u64, ppm: f64) {
        (self.ticks, self.tsc, self.ppm) = (self.ticks_at(tsc), tsc, ppm);
    }

    /// Sets the clock by `s` seconds.
    fn step(&mut self, s: f64) {
        // Of the epoch: `ticks` stays small enough for an f64 to hold its fractions.
        self.epoch = self.epoch.wrapping_add((s * self.hz).round() as i64 as u64);
    }

    /// A reading in a bracket of `width` cycles around `tsc`, taken anywhere inside.
    fn read(&self, tsc: u64, width: u64, draw: &mut Draw) -> Reading {
        let at = tsc - width / 2 + draw.below(width + 1);
        Reading { raw: self.raw_at(at), tsc: Cycles(tsc), error: Cycles(width.div_ceil(2)) }
    }
}

fn off(model: &NicModel, device: &Device, tsc: u64) -> u64 {
    model.cycles_at(device.raw_at(tsc)).0.abs_diff(tsc)
}

/// Reads every 100 ms from `from` on, `n` times; the stated error must hold up to the next reading.
fn run(
    clock: &mut NicClock,
    device: &Device,
    from: u64,
    n: u64,
    width: u64,
    draw: &mut Draw,
) -> Vec<Outcome> {
    (0..n)
        .map(|k| {
            let tsc = from + k * 100 * MS;
            let outcome = clock.add(device.read(tsc, width.max(1), draw));
            if let Some(model) = clock.model() {
                for t in [tsc, tsc + MS, tsc + 50 * MS, tsc + 100 * MS] {
                    let (off, bound) = (off(&model, device, t), model.error_at(Cycles(t)).0);
                    assert!(off <= bound, "reading {k}: {off} cycles off, stated {bound}");
                }
            }
            outcome
        })
        .collect()
}

#[test]
fn the_unit_is_learnt_and_the_error_holds() {
    for (hz, epoch) in [(1e9, 1_700_000_000_000_000_000), (1e6, 0), (625e6, 77), (1.0078125e9, 9)] {
        let (device, mut draw) = (Device::new(hz, epoch, 64), Draw(1));
        let mut clock = NicClock::new(TSC_HZ, None);
        let outcomes = run(&mut clock, &device, 10 * MS, 30, 2_500, &mut draw);
        assert_eq!(outcomes[..3], [Outcome::Learning, Outcome::Learning, Outcome::Tracking]);
        assert!(outcomes[3..].iter().all(|&o| o == Outcome::Tracking), "{hz}: {outcomes:?}");
        let quality = clock.quality().unwrap();
        assert!((quality.ticks_per_s / hz - 1.0).abs() < 2e-6, "{quality:?}");
        // Half a bracket, a tick, and what 100 ms of extrapolation add: below 2 us plus the unit.
        assert!(quality.error.0 < 5_000 + 2 * (TSC_HZ as f64 / hz) as u64, "{hz}: {quality:?}");
    }
}

#[test]
fn two_readings_are_no_model() {
    let (device, mut draw) = (Device::new(1e9, 0, 64), Draw(2));
    let mut clock = NicClock::new(TSC_HZ, Some(64));
    run(&mut clock, &device, MS, 2, 100, &mut draw);
    assert_eq!((clock.model(), clock.quality()), (None, None));
}

#[test]
fn drift_is_followed_within_the_stated_error() {
    let mut device = Device::new(1e9, 5, 64);
    let (mut clock, mut draw) = (NicClock::new(TSC_HZ, None), Draw(3));
    let mut tsc = MS;
    // A quiet second and a half first: the rate that drift is counted from.
    for k in 0..600_u32 {
        let reading = device.read(tsc, 1_000, &mut draw);
        let outcome = clock.add(reading);
        assert!(k < 3 || outcome == Outcome::Tracking, "{k}: {outcome:?}");
        if let Some(model) = clock.model().filter(|_| k > 32) {
            for t in [tsc, tsc + 99 * MS] {
                let (off, bound) = (off(&model, &device, t), model.error_at(Cycles(t)).0);
                assert!(off <= bound, "{k}: {off} cycles off, stated {bound}");
            }
        }
        tsc += 100 * MS;
        // 40 ppm in a minute, in steps of 0.08 ppm.
        if (20..520).contains(&k) {
            device.set_ppm(tsc, f64::from(k - 19) * 0.08);
        }
    }
    let quality = clock.quality().unwrap();
    assert!((quality.drift_ppb - 40_000.0).abs() < 1_500.0, "{quality:?}");
    assert_eq!(clock.steps(), 0);
}

#[test]
fn a_step_withdraws_the_model_at_once_and_is_learnt_again() {
    for step_s in [1e-3, -1e-3, 37.0, -37.0, -1.7e9, 60e-6] {
        let mut device = Device::new(1e9, 1_700_000_000_000_000_000, 64);
        let (mut clock, mut draw) = (NicClock::new(TSC_HZ, Some(64)), Draw(4));
        run(&mut clock, &device, MS, 20, 1_000, &mut draw);
        device.step(step_s);
        let after = run(&mut clock, &device, MS + 2_000 * MS, 5, 1_000, &mut draw);
        use Outcome::{Learning, Stepped, Tracking};
        assert_eq!(after, [Stepped, Learning, Tracking, Tracking, Tracking], "{step_s}");
        assert_eq!(clock.steps(), 1);
    }
}

#[test]
fn while_a_step_is_learnt_there_is_no_model() {
    let mut device = Device::new(1e9, 0, 64);
    let (mut clock, mut draw) = (NicClock::new(TSC_HZ, None), Draw(5));
    run(&mut clock, &device, MS, 16, 1_000, &mut draw);
    assert!(clock.model().is_some());
    device.step(0.5);
    for k in 16..18 {
        clock.add(device.read(MS + k * 100 * MS, 1_000, &mut draw));
        assert!(clock.model().is_none() && clock.quality().is_none());
    }
}

#[test]
fn a_clock_that_stands_still_is_a_step() {
    let mut device = Device::new(1e9, 0, 64);
    let (mut clock, mut draw) = (NicClock::new(TSC_HZ, None), Draw(6));
    run(&mut clock, &device, MS, 5, 1_000, &mut draw);
    device.set_ppm(MS + 400 * MS, -1e6);
    let after = run(&mut clock, &device, MS + 500 * MS, 3, 1_000, &mut draw);
    assert!(after.iter().all(|&o| o == Outcome::Stepped), "{after:?}");
    assert!(clock.model().is_none());
}

#[test]
fn a_wrap_is_no_step_whatever_the_width() {
    for bits in [32, 33, 40, 48, 56, 63, 64] {
        for known in [Some(bits), None] {
            let last = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            // The counter wraps after about a second and a half.
            let device = Device::new(1e9, last - 1_500_000_000, bits);
            let (mut clock, mut draw) = (NicClock::new(TSC_HZ, known), Draw(u64::from(bits)));
            let outcomes = run(&mut clock, &device, MS, 12, 1_000, &mut draw);
            assert!(outcomes[2..].iter().all(|&o| o == Outcome::Tracking), "{bits}: {outcomes:?}");
            // From one reading to the next, with the wrap in between: unwrapped where the width is
            // known, beyond plausibility and so refused by the user where it is not.
            let crossing = MS + 1_500 * MS;
            for k in 12..20 {
                clock.add(device.read(MS + k * 100 * MS, 1_000, &mut draw));
            }
            let model = clock.model().unwrap();
            assert_eq!((clock.wraps(), clock.steps(), model.bits()), (1, 0, bits), "{known:?}");
            for t in [crossing - 10 * MS, crossing, crossing + 10 * MS, MS + 1_900 * MS] {
                let bound = model.error_at(Cycles(t)).0;
                assert!(off(&model, &device, t) <= bound, "{bits} bits, {known:?}");
            }
        }
    }
}

#[test]
fn a_silence_of_several_rounds_of_the_counter_is_no_step() {
    let device = Device::new(1e9, 0, 32);
    let (mut clock, mut draw) = (NicClock::new(TSC_HZ, Some(32)), Draw(7));
    run(&mut clock, &device, MS, 16, 1_000, &mut draw);
    let model = clock.model().unwrap();
    // 32 bits of nanoseconds go round in 4.3 s.
    let late = MS + 15_000 * MS;
    assert!(!model.is_good_at(Cycles(late)));
    assert_eq!(clock.add(device.read(late, 1_000, &mut draw)), Outcome::Tracking);
    assert!(clock.model().unwrap().is_good_at(Cycles(late)));
    assert_eq!(clock.steps(), 0);
}

#[test]
fn the_tightest_readings_make_the_line() {
    let device = Device::new(1e9, 3, 64);
    let (mut clock, mut draw) = (NicClock::new(TSC_HZ, None), Draw(8));
    for k in 0..64_u64 {
        // Every fourth reading is good to 200 ns, the others to 20 us.
        let width = if k % 4 == 0 { 1_000 } else { 100_000 };
        let tsc = MS + k * 100 * MS;
        clock.add(device.read(tsc, width, &mut draw));
        if let Some(model) = clock.model().filter(|_| k >= 16) {
            let bound = model.error_at(Cycles(tsc)).0;
            assert!(off(&model, &device, tsc) <= bound);
            assert!(bound < 3_000, "{k}: {bound} cycles although good readings are there");
        }
    }
    assert_eq!((clock.steps(), clock.refused()), (0, 0));
}

#[test]
fn a_bracket_that_says_nothing_is_refused() {
    let device = Device::new(1e9, 3, 64);
    let (mut clock, mut draw) = (NicClock::new(TSC_HZ, None), Draw(9));
    run(&mut clock, &device, MS, 4, 1_000, &mut draw);
    let model = clock.model();
    let wide = device.read(MS + 400 * MS, MS, &mut draw);
    assert_eq!(clock.add(wide), Outcome::Refused);
    let again = Reading { error: Cycles(10), tsc: Cycles(5), ..wide };
    assert_eq!(clock.add(again), Outcome::Refused, "older than the last");
    assert_eq!((clock.model(), clock.refused()), (model, 2));
}

#[test]
fn a_device_that_falls_silent_takes_its_model_along() {
    let device = Device::new(1e9, 3, 64);
    let (mut clock, mut draw) = (NicClock::new(TSC_HZ, None), Draw(10));
    run(&mut clock, &device, MS, 10, 1_000, &mut draw);
    clock.lost();
    assert!(clock.model().is_none());
    let after = run(&mut clock, &device, MS + 5_000 * MS, 3, 1_000, &mut draw);
    assert_eq!(after, [Outcome::Learning, Outcome::Learning, Outcome::Tracking]);
}

#[test]
fn a_launch_time_and_a_stamp_are_inverse() {
    let mut draw = Draw(11);
    for (hz, bits) in [(1e9, 64), (625e6, 40), (1e6, 32)] {
        let device = Device::new(hz, (1 << 32) - 5_000, bits);
        let mut clock = NicClock::new(TSC_HZ, Some(bits));
        run(&mut clock, &device, MS, 16, 1_000, &mut draw);
        let model = clock.model().unwrap();
        let tick = (TSC_HZ as f64 / hz).ceil() as u64;
        for _ in 0..10_000 {
            let tsc = 1_000 * MS + draw.below(1_000 * MS);
            let back = model.cycles_at(model.raw_at(Cycles(tsc))).0;
            // Rounded up to the next tick; a cycle for the rounding of the line itself.
            assert!(back + 1 >= tsc && back <= tsc + tick, "{back} for {tsc}");
        }
    }
}
