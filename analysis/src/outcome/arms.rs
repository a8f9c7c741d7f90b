//! Who is compared with whom.

use serde::Serialize;

use crate::join::{Labels, Units};
use crate::kpi::Contrast;

/// How it came about that some units were in one arm and some in the other, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Design {
    /// Ordering groups were drawn: those that were compared against those that were governed.
    Canary,
    /// Blocks of time were drawn.
    Switchback,
    /// Governed from a moment on: before against after.
    BeforeAfter,
    /// Nothing was drawn: distorted against clean, matched.
    Observational,
}

impl Design {
    /// All, the strongest first.
    pub const ALL: [Self; 4] =
        [Self::Canary, Self::Switchback, Self::BeforeAfter, Self::Observational];

    /// As it stands in JSON and in commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Switchback => "switchback",
            Self::BeforeAfter => "before-after",
            Self::Observational => "observational",
        }
    }
}

/// The arm of each unit: true = the distortion was at work, `None` = in neither. The contrast is what a
/// window or a regime says in [`Design::Observational`]; where something was drawn, who was not governed is
/// compared with who was.
pub fn arms(units: &Units, contrast: Contrast, design: Design) -> Vec<Option<bool>> {
    let mode = |i: usize| units.mode.name(i);
    let drawn = |i: usize| units.canary[i].map(|governed| governed == 0.0);
    let arm: Box<dyn Fn(usize) -> Option<bool>> = match design {
        Design::Canary => Box::new(move |i| drawn(i).filter(|_| mode(i) == "canary")),
        Design::Switchback => Box::new(move |i| drawn(i).filter(|_| mode(i) == "switchback")),
        Design::BeforeAfter => Box::new(move |i| match mode(i) {
            "observe" | "shadow" => Some(true),
            "active" => Some(false),
            _ => None,
        }),
        // Where a regime is answered, its cost is not its own any more. A child without a row has no mode; it
        // is in the arms, so that they can be asked for their unmatched shares.
        Design::Observational => {
            let of_contrast = contrasted(units, contrast);
            Box::new(move |i| {
                of_contrast[i].filter(|_| matches!(mode(i), "observe" | "shadow" | ""))
            })
        }
    };
    (0..units.len()).map(arm).collect()
}

/// The arm that each unit's window and regime put it in.
pub fn contrasted(units: &Units, contrast: Contrast) -> Vec<Option<bool>> {
    let states = |labels: &Labels, clean: &str, distorted: &[&str]| -> Vec<Option<bool>> {
        let arm = |row: usize| match labels.name(row) {
            state if state == clean => Some(false),
            state if distorted.contains(&state) => Some(true),
            _ => None,
        };
        (0..units.len()).map(arm).collect()
    };
    match contrast {
        Contrast::SlowAndBursty => {
            let slow = thirds(units.feature("d2w"));
            let bursty = thirds(units.feature("bi"));
            let both = |(a, b): (Option<bool>, Option<bool>)| a.filter(|_| a == b);
            slow.into_iter().zip(bursty).map(both).collect()
        }
        Contrast::Segmentation => {
            states(units.states_of("segmentation"), "WIRE_CLEAN", &["BURSTING", "DEPHASED"])
        }
        Contrast::ByteQueue => states(
            units.states_of("byte_queue"),
            "BQL_STABLE",
            &["BQL_SWING", "BQL_STALLING", "BQL_SAFE_CONTAIN"],
        ),
        Contrast::Drain => states(units.states_of("drain"), "SMOOTH_DRAIN", &["COMPRESSED_DRAIN"]),
        Contrast::Delivery => thirds(units.feature("bdc")),
    }
}

/// Top third true, bottom third false, the middle and what is not known in neither.
pub fn thirds(values: &[Option<f64>]) -> Vec<Option<bool>> {
    let mut known: Vec<f64> = values.iter().flatten().copied().collect();
    known.sort_by(f64::total_cmp);
    let (Some(low), Some(high)) = (known.get(known.len() / 3), known.get(known.len() * 2 / 3))
    else {
        return vec![None; values.len()];
    };
    // Where many are equal, the thirds must not overlap.
    let third = |value: f64| {
        if value >= *high && value > *low {
            Some(true)
        } else if value < *low || (value <= *low && low < high) {
            Some(false)
        } else {
            None
        }
    };
    values.iter().map(|value| value.and_then(third)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirds_leave_out_the_middle_and_what_is_not_known() {
        let values = [Some(1.0), Some(9.0), None, Some(5.0), Some(6.0), Some(2.0), Some(8.0)];
        let arms = thirds(&values);
        assert_eq!(arms[0], Some(false));
        assert_eq!(arms[1], Some(true));
        assert_eq!(arms[2], None);
        assert_eq!(arms[4], None);
        assert_eq!(thirds(&[None, None]), [None, None]);
        assert_eq!(thirds(&[Some(3.0); 4]), [None; 4]);
    }
}
