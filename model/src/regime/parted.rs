//! The table of a canary: the classes as confirmed, and beside each allowed one its twin, as composed,
//! with a share of its own of what the class may send and hold. The two together never get more than the
//! class had.

use super::compose::compose;
use super::compose::{COMPOSED_INDEX, COMPOSED_NAME, ClassFacts, Composed, Reason, Target, Want};
use super::patch::{Largest, Patches};
use super::table::Posture;
use crate::profile::{Bucket, Canary, Caps, ClassParams, Profile};
use crate::time::Nanos;

const MILLION: u128 = 1_000_000;

/// Who is governed apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parted<'a> {
    /// The classes that have twins.
    pub twins: &'a [u8],
    /// Ids of the groups, ascending.
    pub groups: &'a [u64],
    /// What the twins get of what their classes may send and hold, ppm; above 0, at most a tenth.
    pub share_ppm: u32,
}

/// Composes what `wants` ask for, for the groups of `parted` alone; all others stay under `normal`, and
/// so does every port. `None`: some class has too short a burst or queue to be parted; see
/// [`unpartable`].
pub fn compose_apart(
    normal: &Profile,
    patches: &Patches,
    wants: &[Want],
    facts: &[ClassFacts],
    parted: &Parted<'_>,
) -> Option<Composed> {
    let Composed { profile: changed, mut reasons } = compose(normal, patches, wants, facts);
    let is_parted = |class: usize| parted.twins.iter().any(|twin| usize::from(*twin) == class);
    reasons.retain(|reason| matches!(reason.target, Target::Class(class) if is_parted(class)));
    let mut profile = normal.clone();
    let finer = weights_finer_by(normal, parted.share_ppm);
    for params in &mut profile.classes {
        params.shaping.weight = finer.weight(params.shaping.weight);
    }
    let mut canary = Canary { classes: Vec::new(), groups: parted.groups.to_vec() };
    for &twin in parted.twins {
        let class = usize::from(twin);
        let cut = Cut::new(patches, class, parted.share_ppm);
        let (ours, mut theirs) = cut.part(&normal.classes[class], &changed.classes[class])?;
        profile.classes[class] = ours;
        let whole = finer.weight(normal.classes[class].shaping.weight);
        let part = (u128::from(whole) * u128::from(parted.share_ppm) / MILLION) as u8;
        theirs.shaping.weight = part.max(1);
        profile.classes[class].shaping.weight = whole.saturating_sub(part).max(1);
        canary.classes.push(theirs);
        let target = Target::Class(class);
        let (field, set_by) = ("share", "canary".to_owned());
        reasons.push(Reason { target, field, set_by, profile: Posture::Normal.name() });
    }
    COMPOSED_NAME.clone_into(&mut profile.name);
    profile.index = COMPOSED_INDEX;
    profile.canary = Some(canary);
    reasons.sort_by_key(|reason| (reason.target, reason.field));
    Some(Composed { profile, reasons })
}

/// The classes of `twins` whose burst or queue is too short for two.
pub fn unpartable(normal: &Profile, patches: &Patches, parted: &Parted<'_>) -> Vec<usize> {
    let classes = parted.twins.iter().map(|class| usize::from(*class));
    let is_short = |class: &usize| {
        let params = &normal.classes[*class];
        Cut::new(patches, *class, parted.share_ppm).part(params, params).is_none()
    };
    classes.filter(is_short).collect()
}

/// Turns of classes of equal priority are in proportion to their weights: finer ones, so that class and
/// twin together have the turns that the class had.
struct Finer(u8);

fn weights_finer_by(normal: &Profile, share_ppm: u32) -> Finer {
    let most = normal.classes.iter().map(|params| params.shaping.weight).max().unwrap_or(1);
    let wanted = MILLION.div_ceil(u128::from(share_ppm.max(1)));
    Finer(wanted.min(u128::from(u8::MAX / most.max(1))).max(1) as u8)
}

impl Finer {
    const fn weight(&self, weight: u8) -> u8 {
        weight.saturating_mul(self.0)
    }
}

/// How one class is cut in two.
struct Cut {
    share: u128,
    largest: Largest,
    slot: Nanos,
}

impl Cut {
    fn new(patches: &Patches, class: usize, share_ppm: u32) -> Self {
        let largest = patches.largest.get(class).copied().unwrap_or_default();
        Self { share: u128::from(share_ppm), largest, slot: patches.slot }
    }

    fn of(&self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * self.share / MILLION).unwrap_or(u64::MAX)
    }

    /// `control` less the share, and the share of `canary`.
    fn part(
        &self,
        control: &ClassParams,
        canary: &ClassParams,
    ) -> Option<(ClassParams, ClassParams)> {
        let (mut ours, mut theirs) = (*control, *canary);
        let caps = self.caps(&control.class, &canary.class)?;
        (ours.class, theirs.class) = caps;
        if let Some(reserved) = &mut ours.shaping.reserved {
            reserved.rate_per_s = (reserved.rate_per_s - self.of(reserved.rate_per_s)).max(1);
        }
        if let Some(reserved) = &mut theirs.shaping.reserved {
            reserved.rate_per_s = self.of(reserved.rate_per_s).max(1);
        }
        let packets = self.of(control.queue_packets.into()).max(1);
        let bytes = self.of(control.queue_bytes).max(self.largest.bytes);
        ours.queue_packets = u32::try_from(u64::from(control.queue_packets) - packets).ok()?;
        ours.queue_bytes = control.queue_bytes.checked_sub(bytes)?;
        if ours.queue_packets == 0 || ours.queue_bytes < self.largest.bytes {
            return None;
        }
        let most = self.of(canary.queue_packets.into()).clamp(1, packets);
        theirs.queue_packets = u32::try_from(most).ok()?;
        let least = self.largest.bytes;
        theirs.queue_bytes = self.of(canary.queue_bytes).clamp(least, bytes);
        Some((ours, theirs))
    }

    fn caps(&self, control: &Caps, canary: &Caps) -> Option<(Caps, Caps)> {
        /// Bits per byte, and nanoseconds per second: what a rate in bits gives.
        const BYTES: u128 = 8_000_000_000;
        const MESSAGES: u128 = 1_000_000_000;
        let bits = self.bucket(control.bits, canary.bits, self.largest.bytes, BYTES)?;
        let of = self.largest.messages;
        let messages = self.bucket(control.messages, canary.messages, of, MESSAGES)?;
        let caps = |bits, messages| Caps { bits, messages };
        Some((caps(bits.0, messages.0), caps(bits.1, messages.1)))
    }

    /// Each part holds one largest packet and what its rate gives in a slot.
    fn bucket(
        &self,
        control: Option<Bucket>,
        canary: Option<Bucket>,
        largest: u64,
        per: u128,
    ) -> Option<(Option<Bucket>, Option<Bucket>)> {
        let least = |rate_per_s: u64| {
            let given = (u128::from(rate_per_s) * u128::from(self.slot.0)).div_ceil(per);
            largest.saturating_add(u64::try_from(given).unwrap_or(u64::MAX))
        };
        let Some(whole) = control else {
            let theirs = canary.map(|bucket| {
                let rate_per_s = self.of(bucket.rate_per_s).max(1);
                let burst = self.of(bucket.burst).max(least(rate_per_s));
                Bucket { rate_per_s, burst }
            });
            return Some((None, theirs));
        };
        let rate = self.of(whole.rate_per_s).max(1);
        let rest = whole.rate_per_s.checked_sub(rate).filter(|rest| *rest > 0)?;
        let most = whole.burst.checked_sub(least(rest))?;
        if most < least(rate) {
            return None;
        }
        let burst = self.of(whole.burst).clamp(least(rate), most);
        let ours = Bucket { rate_per_s: rest, burst: whole.burst - burst };
        let asked = canary.unwrap_or(whole);
        let rate_per_s = self.of(asked.rate_per_s).clamp(1, rate);
        let burst = self.of(asked.burst).clamp(least(rate_per_s), burst);
        Some((Some(ours), Some(Bucket { rate_per_s, burst })))
    }
}
