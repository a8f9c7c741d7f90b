//! Who was governed by a profile while orders were sent, and who was compared with them.

use model::draw::mix;

use super::orders::{Child, Parent};
use super::{Parameters, SECOND};
use crate::outcome::Design;

/// Of a canary, one in so many groups is governed, and as many are compared.
const GROUPS: u64 = 10;
/// Length of the blocks of a switchback.
const BLOCK_NS: i64 = 30 * SECOND;

/// What a child was part of.
#[derive(Clone, Copy, Debug)]
pub struct Trial {
    /// Mode of its gateway.
    pub mode: &'static str,
    /// In a trial: whether it was governed.
    pub governed: Option<bool>,
    /// It was not governed, and stands for those that are not.
    pub is_compared: bool,
}

impl Default for Trial {
    fn default() -> Self {
        Self { mode: "shadow", governed: None, is_compared: false }
    }
}

/// Draws who is governed. A group is what a symbol sends through a gateway on a day.
pub fn draw(parameters: &Parameters, parents: &[Parent], children: &mut [Child]) {
    for child in children {
        let parent = &parents[child.parent];
        let drawn = |what: u64| mix(parameters.seed ^ mix((parent.place as u64) << 32 | what));
        child.trial = match parameters.design {
            None | Some(Design::Observational) => Trial::default(),
            Some(Design::Canary) => match drawn(parent.symbol as u64) % GROUPS {
                0 => part("canary", true),
                1 => part("canary", false),
                _ => Trial { mode: "canary", ..Trial::default() },
            },
            Some(Design::Switchback) => {
                let block = child.decision / BLOCK_NS;
                part("switchback", drawn(1 << 16 | block as u64).is_multiple_of(2))
            }
            Some(Design::BeforeAfter) if parent.day < parameters.days.div_ceil(2) => {
                Trial { is_compared: true, ..Trial::default() }
            }
            Some(Design::BeforeAfter) => Trial { mode: "active", ..Trial::default() },
        };
    }
}

const fn part(mode: &'static str, governed: bool) -> Trial {
    Trial { mode, governed: Some(governed), is_compared: !governed }
}
