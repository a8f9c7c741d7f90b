//! Stamps of a device as gateway time, on a data core.
//!
//! A [`PortClocks`] is a value: the port thread makes it from its readings of the device
//! ([`super::read_beside`]), control sends it to the cores as it sends a [`TscModel`], and a lane
//! keeps a [`StampClock`] for it. A stamp becomes cycles by the device's line and gateway time by
//! the core's own model of the TSC, so it is in the same time as the core's `now`.
//!
//! A stamp is used only where it can be true: the device's clock has a model that is young enough,
//! and the packet, which is here, did not arrive later than now or long ago. Otherwise the caller
//! takes the TSC, and says so.

use model::meta::StampSource;
use model::nic_clock::NicModel;
use model::time::Nanos;

use super::TscModel;

/// Further ahead of `now` than the error of any good model (a microsecond or two).
const AHEAD_MAX: Nanos = Nanos::from_micros(10);
/// No packet lies in a receive ring for longer while its core polls.
const AGE_MAX: Nanos = Nanos::from_millis(100);

/// What is known of the clocks of one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortClocks {
    /// The clock of arrival stamps and launch times.
    pub packet: Option<NicModel>,
    /// What an arrival is that was made of it.
    pub packet_source: StampSource,
    /// The clock of departure stamps.
    pub departure: Option<NicModel>,
}

/// The clocks of one port as a data core uses them.
#[derive(Clone, Debug)]
pub struct StampClock {
    tsc: TscModel,
    clocks: PortClocks,
    /// Until when each model is good, in gateway time.
    packet_until: Nanos,
    departure_until: Nanos,
    implausible: u64,
}

impl StampClock {
    /// No clock of a device is known yet.
    pub fn new(tsc: TscModel) -> Self {
        Self {
            tsc,
            clocks: PortClocks::default(),
            packet_until: Nanos::ZERO,
            departure_until: Nanos::ZERO,
            implausible: 0,
        }
    }

    /// What the port's clocks are from now on.
    pub fn set_clocks(&mut self, clocks: PortClocks) {
        self.clocks = clocks;
        self.set_tsc(self.tsc);
    }

    /// The model of gateway time of this core.
    pub fn set_tsc(&mut self, tsc: TscModel) {
        let until = |model: Option<NicModel>| model.map_or(Nanos::ZERO, |m| tsc.at(m.good_until()));
        self.packet_until = until(self.clocks.packet);
        self.departure_until = until(self.clocks.departure);
        self.tsc = tsc;
    }

    /// When a packet arrived that carries the stamp `raw`, and where the time comes from; `None`
    /// where the stamp cannot be used.
    #[inline]
    pub fn arrival(&mut self, raw: u64, now: Nanos) -> Option<(Nanos, StampSource)> {
        let model = self.clocks.packet.filter(|_| now <= self.packet_until)?;
        let at = self.tsc.at(model.cycles_at(raw));
        self.plausible(at, now.saturating_sub(AGE_MAX), now)
            .map(|at| (at, self.clocks.packet_source))
    }

    /// When a packet left whose departure stamp is `raw`, handed over at `t_tx` at the earliest;
    /// `None` where the stamp cannot be used.
    pub fn departure(&mut self, raw: u64, t_tx: Nanos, now: Nanos) -> Option<Nanos> {
        let model = self.clocks.departure.filter(|_| now <= self.departure_until)?;
        let at = self.tsc.at(model.cycles_at(raw));
        self.plausible(at, t_tx.saturating_sub(AHEAD_MAX), now)
    }

    /// What the port's clock reads at `at`: the launch time of a packet. `None` without a good model:
    /// launch times are then off.
    #[inline]
    pub fn launch(&self, at: Nanos, now: Nanos) -> Option<u64> {
        let model = self.clocks.packet.filter(|_| now <= self.packet_until)?;
        Some(model.raw_at(self.tsc.cycles_at(at)))
    }

    /// Whether there is a clock for launch times at `now`.
    #[inline]
    pub fn can_launch(&self, now: Nanos) -> bool {
        self.clocks.packet.is_some() && now <= self.packet_until
    }

    /// Stamps that could not be true.
    pub const fn implausible(&self) -> u64 {
        self.implausible
    }

    #[inline]
    fn plausible(&mut self, at: Nanos, from: Nanos, now: Nanos) -> Option<Nanos> {
        if at < from || at > now.saturating_add(AHEAD_MAX) {
            self.implausible += 1;
            return None;
        }
        Some(at.min(now))
    }
}

#[cfg(test)]
mod tests {
    use model::nic_clock::{NicClock, Reading};
    use model::time::Cycles;

    use super::*;

    const HZ: u64 = 2_500_000_000;
    const EPOCH: u64 = 1_700_000_000_000_000_000;
    /// Cycles of 100 ms.
    const TENTH: u64 = HZ / 10;

    /// A device of 1 ns ticks that read `EPOCH` when the TSC read 0.
    fn raw_at(time: Nanos) -> u64 {
        EPOCH + time.0
    }

    /// Its model after a second and a half of readings, and gateway time that began with the TSC.
    fn clock() -> (StampClock, PortClocks) {
        let mut nic = NicClock::new(HZ, Some(64));
        for k in 0..16 {
            let tsc = Cycles(k * TENTH);
            nic.add(Reading { raw: EPOCH + k * 100_000_000, tsc, error: Cycles(100) });
        }
        let packet = nic.model();
        assert!(packet.is_some());
        let clocks = PortClocks { packet, packet_source: StampSource::Nic, departure: packet };
        let mut clock = StampClock::new(TscModel::new(Cycles(0), Nanos(0), HZ));
        clock.set_clocks(clocks);
        (clock, clocks)
    }

    #[test]
    fn a_stamp_becomes_gateway_time() {
        let (mut clock, _) = clock();
        let now = Nanos::from_millis(1_600);
        for age in [0, 1, 50, 1_000, 99_000_000] {
            let (at, source) = clock.arrival(raw_at(Nanos(now.0 - age)), now).unwrap();
            assert!(at.0.abs_diff(now.0 - age) <= 2, "{at} at age {age}");
            assert_eq!(source, StampSource::Nic);
        }
        let sent = clock.departure(raw_at(now), now.saturating_sub(Nanos(500)), now).unwrap();
        assert!(sent.0.abs_diff(now.0) <= 2);
    }

    #[test]
    fn steering_of_gateway_time_does_not_move_the_devices_line() {
        let (mut clock, _) = clock();
        // Gateway time runs 300 ppm faster from 1.5 s on.
        let tsc = TscModel::new(Cycles(15 * TENTH), Nanos(1_500_000_000), HZ - 750_000);
        clock.set_tsc(tsc);
        let now = tsc.at(Cycles(17 * TENTH));
        let (at, _) = clock.arrival(EPOCH + 1_700_000_000, now).unwrap();
        assert!(now.signed_since(at).abs() <= 2, "{at} for {now}");
    }

    #[test]
    fn what_cannot_be_true_is_not_used() {
        let (mut clock, _) = clock();
        let now = Nanos::from_millis(1_600);
        assert!(clock.arrival(raw_at(now + Nanos(9_000)), now).is_some_and(|(at, _)| at == now));
        assert_eq!(clock.arrival(raw_at(now + Nanos(20_000)), now), None, "from the future");
        assert_eq!(clock.arrival(raw_at(now - Nanos(200_000_000)), now), None, "long ago");
        assert_eq!(clock.arrival(0, now), None, "another epoch");
        assert_eq!(clock.departure(raw_at(now - Nanos(50_000)), now, now), None, "before it left");
        assert_eq!(clock.implausible(), 4);
    }

    #[test]
    fn a_lost_or_old_model_leaves_the_tsc_alone_and_launch_off() {
        let (mut clock, clocks) = clock();
        let late = Nanos::from_millis(1_500 + 2_100);
        assert_eq!(clock.arrival(raw_at(late), late), None);
        assert_eq!((clock.launch(late, late), clock.can_launch(late)), (None, false));
        let now = Nanos::from_millis(1_600);
        assert!(clock.can_launch(now));
        clock.set_clocks(PortClocks { packet: None, ..clocks });
        assert_eq!(clock.arrival(raw_at(now), now), None);
        assert_eq!((clock.launch(now, now), clock.can_launch(now)), (None, false));
        assert!(clock.departure(raw_at(now), now, now).is_some(), "the other clock is there");
        assert_eq!(clock.implausible(), 0);
    }

    #[test]
    fn a_launch_time_is_the_devices_time_and_never_early() {
        let (clock, _) = clock();
        let now = Nanos::from_millis(1_600);
        for ahead in [0, 1, 777, 5_000, 1_000_000] {
            let at = now + Nanos(ahead);
            let raw = clock.launch(at, now).unwrap();
            assert!((raw_at(at)..=raw_at(at) + 2).contains(&raw), "{raw} for {}", raw_at(at));
        }
    }
}
