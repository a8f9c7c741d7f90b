//! Gateway time for control: it keeps the model true and hands better ones to the cores.

use control::controller::Clock;
use dataplane::clock::{Calibrator, Clock as TscClock, TscModel};
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
}

impl LiveClock {
    /// From a fresh calibration.
    pub fn new(calibrator: Calibrator, model: TscModel) -> Self {
        let clock = TscClock::new(model);
        let next_refresh = clock.now().saturating_add(REFRESH_EVERY);
        Self { calibrator, clock, next_refresh }
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
        })
    }
}
