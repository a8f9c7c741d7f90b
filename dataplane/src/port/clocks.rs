//! The clocks of an open port: read by the port thread, seen by control.
//!
//! The port thread keeps a [`Watch`] for each port and looks every 100 ms; control takes a
//! [`ClockReport`] from the port's handle whenever it likes and sends its [`PortClocks`] to the
//! cores that receive from the port or send to it.

use std::sync::Arc;

use model::meta::StampSource;
use model::nic_clock::{NicClock, Quality, Reading};

use super::board::Board;
use super::spec::{ClockSource, PortFacts};
use crate::clock::{BASELINE_MIN, Calibrator, PortClocks};

/// One clock of a device.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClockFigures {
    /// How it is read.
    pub source: ClockSource,
    /// How good its model is; `None` while there is none.
    pub quality: Option<Quality>,
    /// Times that it was stepped.
    pub steps: u64,
    /// Times that its counter wrapped.
    pub wraps: u64,
    /// Readings that said too little to be used.
    pub refused: u64,
    /// Readings that the device did not answer.
    pub silent: u64,
}

/// The clocks of a port at the last look.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ClockReport {
    /// For the cores.
    pub clocks: PortClocks,
    /// The clock of arrival stamps and launch times, where it can be read.
    pub packet: Option<ClockFigures>,
    /// The clock of departure stamps, where the port gives them.
    pub departure: Option<ClockFigures>,
}

/// One clock and what was learnt of it.
struct Watched {
    source: ClockSource,
    clock: NicClock,
    silent: u64,
}

impl Watched {
    fn look(&mut self, read: &impl Fn(ClockSource) -> Option<Reading>) {
        match read(self.source) {
            Some(reading) => {
                self.clock.add(reading);
            }
            None => {
                self.silent += 1;
                self.clock.lost();
            }
        }
    }

    fn figures(&self) -> ClockFigures {
        ClockFigures {
            source: self.source,
            quality: self.clock.quality(),
            steps: self.clock.steps(),
            wraps: self.clock.wraps(),
            refused: self.clock.refused(),
            silent: self.silent,
        }
    }
}

/// The clocks of one port on the port thread.
pub(crate) struct Watch {
    packet: Option<Watched>,
    departure: Option<Watched>,
    board: Arc<Board<ClockReport>>,
}

impl Watch {
    /// For a port that has started. Where it has a clock, takes 100 ms to learn the rate of the TSC.
    pub(crate) fn start(facts: &PortFacts) -> Self {
        let departure = facts.timesync.then_some(ClockSource::Timesync);
        let any = facts.packet_clock.or(departure).is_some();
        let tsc_hz = any
            .then(|| Calibrator::start(BASELINE_MIN).ok())
            .flatten()
            .map(|(_, model)| model.tsc_hz());
        Self::of(facts.packet_clock, departure, tsc_hz)
    }

    /// Nothing is watched where the TSC has no rate: stamps are then the TSC's, as without a clock.
    fn of(packet: Option<ClockSource>, departure: Option<ClockSource>, hz: Option<u64>) -> Self {
        let watched = |source: Option<ClockSource>| {
            let (source, hz) = source.zip(hz)?;
            // 64 bits of microseconds and of nanoseconds; what a driver's own counter has is learnt.
            let bits = (source != ClockSource::ReadClock).then_some(64);
            Some(Watched { source, clock: NicClock::new(hz, bits), silent: 0 })
        };
        Self { packet: watched(packet), departure: watched(departure), board: Arc::default() }
    }

    pub(crate) const fn board(&self) -> &Arc<Board<ClockReport>> {
        &self.board
    }

    /// Reads every clock once and reports.
    pub(crate) fn look(&mut self, read: impl Fn(ClockSource) -> Option<Reading>) {
        for watched in self.packet.iter_mut().chain(&mut self.departure) {
            watched.look(&read);
        }
        let model = |watched: &Option<Watched>| watched.as_ref().and_then(|w| w.clock.model());
        let packet_source = match self.packet.as_ref().map(|watched| watched.source) {
            Some(ClockSource::WallClock) => StampSource::Kernel,
            _ => StampSource::Nic,
        };
        self.board.put(ClockReport {
            clocks: PortClocks {
                packet: model(&self.packet),
                packet_source,
                departure: model(&self.departure),
            },
            packet: self.packet.as_ref().map(Watched::figures),
            departure: self.departure.as_ref().map(Watched::figures),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use model::time::Cycles;

    use super::*;

    const HZ: u64 = 2_500_000_000;

    /// A device that answers, or does not, with a clock that may be stepped.
    struct Device {
        tenths: Cell<u64>,
        silent: Cell<bool>,
        step: Cell<u64>,
    }

    impl Device {
        fn look(&self, watch: &mut Watch) -> ClockReport {
            let k = self.tenths.get() + 1;
            self.tenths.set(k);
            watch.look(|source| {
                let tick = if source == ClockSource::WallClock { 1_000 } else { 1 };
                let ns = k * 100_000_000 + self.step.get();
                let tsc = Cycles(k * HZ / 10);
                (!self.silent.get()).then_some(Reading { raw: ns / tick, tsc, error: Cycles(500) })
            });
            watch.board().report()
        }
    }

    fn device() -> Device {
        Device { tenths: Cell::new(0), silent: Cell::new(false), step: Cell::new(0) }
    }

    #[test]
    fn a_device_without_a_clock_has_no_figures() {
        let mut watch = Watch::of(None, None, Some(HZ));
        let report = device().look(&mut watch);
        let source = StampSource::Nic;
        let clocks = PortClocks { packet_source: source, ..PortClocks::default() };
        assert_eq!(report, ClockReport { clocks, ..ClockReport::default() });
    }

    #[test]
    fn both_clocks_are_learnt_lost_and_learnt_again() {
        let packet = Some(ClockSource::ReadClock);
        let mut watch = Watch::of(packet, Some(ClockSource::Timesync), Some(HZ));
        let device = device();
        let learnt = |report: ClockReport| {
            (report.clocks.packet.is_some(), report.clocks.departure.is_some())
        };
        let reports: Vec<_> = (0..4).map(|_| learnt(device.look(&mut watch))).collect();
        assert_eq!(reports, [(false, false), (false, false), (true, true), (true, true)]);
        device.silent.set(true);
        let report = device.look(&mut watch);
        assert_eq!(learnt(report), (false, false));
        assert_eq!(report.packet.map(|p| (p.silent, p.quality)), Some((1, None)));
        device.silent.set(false);
        let reports: Vec<_> = (0..3).map(|_| learnt(device.look(&mut watch))).collect();
        assert_eq!(reports, [(false, false), (false, false), (true, true)]);
    }

    #[test]
    fn a_step_is_told_and_the_model_is_gone_until_it_is_learnt() {
        let mut watch = Watch::of(Some(ClockSource::ReadClock), None, Some(HZ));
        let device = device();
        (0..5).for_each(|_| {
            device.look(&mut watch);
        });
        device.step.set(1_000_000_000);
        let report = device.look(&mut watch);
        assert!(report.clocks.packet.is_none());
        assert_eq!(report.packet.map(|p| p.steps), Some(1));
        device.look(&mut watch);
        assert!(device.look(&mut watch).clocks.packet.is_some());
    }

    #[test]
    fn the_kernels_clock_is_not_called_a_nics() {
        let mut watch = Watch::of(Some(ClockSource::WallClock), None, Some(HZ));
        let device = device();
        let last = (0..4).map(|_| device.look(&mut watch)).last().unwrap();
        assert_eq!(last.clocks.packet_source, StampSource::Kernel);
        let quality = last.packet.and_then(|p| p.quality).unwrap();
        assert!((quality.ticks_per_s - 1e6).abs() < 10.0, "{quality:?}");
    }
}
