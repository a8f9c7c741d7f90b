//! Gateway time for control: it keeps the model true and hands better ones to the cores.

use control::controller::Clock;
use dataplane::clock::{Calibrator, Clock as TscClock, PortClocks, TscModel};
use dataplane::port::clocks::ClockFigures;
use dataplane::port::dpdk::LaunchState;
use dataplane::port::thread::PortHandle;
use model::time::Nanos;
use serde_json::{Value, json};

/// How often CLOCK_TAI is looked at.
const REFRESH_EVERY: Nanos = Nanos::from_secs(1);
/// Over how long a difference is closed.
const SLEW: Nanos = Nanos::from_secs(1);

/// See the module.
pub struct LiveClock {
    calibrator: Calibrator,
    clock: TscClock,
    next_refresh: Nanos,
    /// Every port, and what the cores were last told of its device's clocks.
    ports: Vec<(PortHandle, PortClocks)>,
}

impl LiveClock {
    /// From a fresh calibration.
    pub fn new(calibrator: Calibrator, model: TscModel, ports: &[PortHandle]) -> Self {
        let clock = TscClock::new(model);
        let next_refresh = clock.now().saturating_add(REFRESH_EVERY);
        let ports = ports.iter().map(|port| (port.clone(), PortClocks::default())).collect();
        Self { calibrator, clock, next_refresh, ports }
    }
}

impl Clock for LiveClock {
    fn now(&mut self) -> Nanos {
        self.clock.now()
    }

    fn refresh(&mut self) -> Option<TscModel> {
        let now = self.clock.now();
        if now < self.next_refresh {
            return None;
        }
        self.next_refresh = now.saturating_add(REFRESH_EVERY);
        let refresh = self.calibrator.refresh(SLEW);
        if refresh.stepped {
            tracing::warn!(
                offset_ns = refresh.offset_ns,
                "the system clock was stepped; gateway time does not follow"
            );
        }
        self.clock.set_model(refresh.model);
        Some(refresh.model)
    }

    fn port_clocks(&mut self) -> Vec<(u8, PortClocks)> {
        let mut changed = Vec::new();
        for (index, (port, told)) in (0_u8..).zip(&mut self.ports) {
            let clocks = port.clocks().clocks;
            // A port without a clock has nothing to tell, ever.
            if clocks != *told && (clocks.packet, clocks.departure) != (told.packet, told.departure)
            {
                *told = clocks;
                changed.push((index, clocks));
            }
        }
        changed
    }

    fn utc(&self, now: Nanos) -> Nanos {
        let ahead_s = u64::try_from(self.calibrator.quality().tai_offset_s).unwrap_or(0);
        now.saturating_sub(Nanos::from_secs(ahead_s))
    }

    fn describe(&self) -> Value {
        let quality = self.calibrator.quality();
        json!({
            "source": "tsc",
            "tsc_hz": quality.tsc_hz,
            "invariant_tsc": quality.invariant_tsc,
            "error_ns": quality.error.0,
            "rate_error_ppb": quality.rate_error_ppb,
            "tai_offset_s": quality.tai_offset_s,
            "steps": quality.steps,
            "ports": self.ports.iter().filter_map(|(port, _)| describe_port(port)).collect::<Vec<_>>(),
        })
    }
}

/// What a port's device does with time; nothing of one that does and was asked for nothing.
fn describe_port(port: &PortHandle) -> Option<Value> {
    let (facts, report) = (port.facts(), port.clocks());
    let is_plain = facts.launch_time == LaunchState::Off
        && report.packet.is_none()
        && report.departure.is_none();
    (!is_plain).then(|| {
        json!({
            "port": facts.name,
            "launch_time": facts.launch_time.name(),
            "timesync": facts.timesync,
            "packet_clock": report.packet.map(describe_clock),
            "departure_clock": report.departure.map(describe_clock),
        })
    })
}

fn describe_clock(clock: ClockFigures) -> Value {
    json!({
        "source": clock.source.name(),
        "ticks_per_s": clock.quality.map(|q| q.ticks_per_s),
        "drift_ppb": clock.quality.map(|q| q.drift_ppb),
        "error_cycles": clock.quality.map(|q| q.error.0),
        "steps": clock.steps,
        "wraps": clock.wraps,
        "refused": clock.refused,
        "silent": clock.silent,
    })
}
