//! The table of a canary: the classes as confirmed, and beside each allowed one its twins, as composed for
//! the groups on trial and as confirmed for those to compare, each with a share of its own of what the
//! class may send and hold. All together never get more than the class had.

use super::compose::compose;
use super::compose::{COMPOSED_INDEX, COMPOSED_NAME, ClassFacts, Composed, Reason, Target, Want};
use super::patch::{Largest, Patches};
use super::table::Posture;
use crate::profile::{ARMS, ArmTable, Bucket, Canary, Caps, ClassParams, Profile};
use crate::time::Nanos;

const MILLION: u128 = 1_000_000;

/// Who is governed apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parted<'a> {
    /// The classes that have twins.
    pub twins: &'a [u8],
    /// Ids of the groups on trial, and of those to compare, ascending.
    pub groups: [&'a [u64]; ARMS],
    /// What each twin gets of what its class may send and hold, ppm; above 0, at most a tenth.
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
    let mut arms =
        parted.groups.map(|groups| ArmTable { groups: groups.to_vec(), classes: vec![] });
    for &twin in parted.twins {
        let class = usize::from(twin);
        let confirmed = &normal.classes[class];
        let cut = Cut::new(patches, class, parted.share_ppm);
        let Parts { mut rest, mut canary, mut control } =
            cut.part(confirmed, &changed.classes[class])?;
        let whole = finer.weight(confirmed.shaping.weight);
        let part = (u128::from(whole) * u128::from(parted.share_ppm) / MILLION) as u8;
        rest.shaping.weight = whole.saturating_sub(2 * part).max(1);
        (canary.shaping.weight, control.shaping.weight) = (part.max(1), part.max(1));
        profile.classes[class] = rest;
        arms.iter_mut().zip([canary, control]).for_each(|(arm, table)| arm.classes.push(table));
        let target = Target::Class(class);
        let (field, set_by) = ("share", "canary".to_owned());
        reasons.push(Reason { target, field, set_by, profile: Posture::Normal.name() });
    }
    COMPOSED_NAME.clone_into(&mut profile.name);
    profile.index = COMPOSED_INDEX;
    profile.canary = Some(Canary(arms));
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

/// What becomes of a class.
struct Parts {
    rest: ClassParams,
    canary: ClassParams,
    control: ClassParams,
}

/// How one class is cut: a share for each arm, and the rest.
struct Cut {
    share: u128,
    largest: Largest,
    slot: Nanos,
}

/// A bucket of the rest, and of each arm.
type Buckets = (Option<Bucket>, [Option<Bucket>; ARMS]);

impl Cut {
    fn new(patches: &Patches, class: usize, share_ppm: u32) -> Self {
        let largest = patches.largest.get(class).copied().unwrap_or_default();
        Self { share: u128::from(share_ppm), largest, slot: patches.slot }
    }

    fn of(&self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * self.share / MILLION).unwrap_or(u64::MAX)
    }

    /// Cuts `confirmed`; the arm on trial gets its share of `changed`, but no more than the other.
    fn part(&self, confirmed: &ClassParams, changed: &ClassParams) -> Option<Parts> {
        let (mut rest, mut canary, mut control) = (*confirmed, *changed, *confirmed);
        let reserved = |params: &mut ClassParams, cut: &dyn Fn(u64) -> u64| {
            if let Some(reserved) = &mut params.shaping.reserved {
                reserved.rate_per_s = cut(reserved.rate_per_s).max(1);
            }
        };
        reserved(&mut rest, &|whole| whole - 2 * self.of(whole));
        for arm in [&mut canary, &mut control] {
            reserved(arm, &|whole| self.of(whole));
        }
        let packets = self.of(confirmed.queue_packets.into()).max(1);
        let least = self.largest.bytes;
        let bytes = self.of(confirmed.queue_bytes).max(least);
        let left = u64::from(confirmed.queue_packets).checked_sub(2 * packets)?;
        rest.queue_packets = u32::try_from(left).ok().filter(|left| *left > 0)?;
        let left = confirmed.queue_bytes.checked_sub(2 * bytes)?;
        rest.queue_bytes = Some(left).filter(|left| *left >= least)?;
        control.queue_packets = u32::try_from(packets).ok()?;
        control.queue_bytes = bytes;
        let most = self.of(changed.queue_packets.into()).clamp(1, packets);
        canary.queue_packets = u32::try_from(most).ok()?;
        canary.queue_bytes = self.of(changed.queue_bytes).clamp(least, bytes);

        /// Bits per byte and nanoseconds per second: what a rate in bits gives.
        const BYTES: u128 = 8_000_000_000;
        const MESSAGES: u128 = 1_000_000_000;
        let bits = self.cut(confirmed.class.bits, changed.class.bits, least, BYTES)?;
        let largest = self.largest.messages;
        let messages =
            self.cut(confirmed.class.messages, changed.class.messages, largest, MESSAGES)?;
        rest.class = Caps { bits: bits.0, messages: messages.0 };
        for (at, arm) in [&mut canary, &mut control].into_iter().enumerate() {
            arm.class = Caps { bits: bits.1[at], messages: messages.1[at] };
        }
        Some(Parts { rest, canary, control })
    }

    /// Each part holds one largest packet and what its rate gives in a slot.
    fn cut(
        &self,
        confirmed: Option<Bucket>,
        changed: Option<Bucket>,
        largest: u64,
        per: u128,
    ) -> Option<Buckets> {
        let least = |rate_per_s: u64| {
            let given = (u128::from(rate_per_s) * u128::from(self.slot.0)).div_ceil(per);
            largest.saturating_add(u64::try_from(given).unwrap_or(u64::MAX))
        };
        let Some(whole) = confirmed else {
            let share = |bucket: Bucket| {
                let rate_per_s = self.of(bucket.rate_per_s).max(1);
                let burst = self.of(bucket.burst).max(least(rate_per_s));
                Bucket::new(rate_per_s, burst)
            };
            return Some((None, [changed.map(share), None]));
        };
        let rate_per_s = self.of(whole.rate_per_s).max(1);
        let left = whole.rate_per_s.checked_sub(2 * rate_per_s).filter(|left| *left > 0)?;
        let most = whole.burst.checked_sub(least(left))? / 2;
        if most < least(rate_per_s) {
            return None;
        }
        let burst = self.of(whole.burst).clamp(least(rate_per_s), most);
        let rest = Bucket::new(left, whole.burst - 2 * burst);
        let control = Bucket::new(rate_per_s, burst);
        let asked = changed.unwrap_or(whole);
        let rate_per_s = self.of(asked.rate_per_s).clamp(1, rate_per_s);
        let burst = self.of(asked.burst).clamp(least(rate_per_s), burst);
        Some((Some(rest), [Some(Bucket::new(rate_per_s, burst)), Some(control)]))
    }
}
