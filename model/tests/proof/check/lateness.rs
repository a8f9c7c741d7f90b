//! Why a packet left, and whether it waited for longer than something explains.

use super::super::case::{MESSAGES_MAX, WIRE_LEN_MAX};
use super::super::tally::Wait;
use super::super::windows::Answer;
use super::{Checker, full_exempt};
use model::meta::PacketMeta;
use model::pacer::Released;
use model::profile::Lateness;
use model::sample::Release;
use model::stop::{StopWord, StopWords};

impl Checker {
    pub(super) fn check_label(&self, now: u64, flow: u32, released: &Released<PacketMeta>) {
        let f = &self.flows[flow as usize];
        let head = &f.queue[0];
        let p = &head.meta;
        let own = &self.params(p.class.into()).shaping;
        let right = match released.release {
            Release::Governed => !p.is_exempt() && !head.forwards && !self.draining,
            Release::Exempt => p.is_exempt(),
            Release::Forward => !p.is_exempt() && head.forwards,
            Release::Drain => self.draining,
            Release::Passthrough => self.word(p, f.class as u8) == StopWord::Passthrough,
            Release::MaxHold => now >= self.max_hold_at(p),
            Release::Late => own.lateness == Lateness::SendNow && now >= self.late_from(head),
        };
        assert!(right, "{:?} of {p:?} at {now}", released.release);
    }

    /// A head that waits for nobody and could go a slot ago or longer was not passed by.
    pub(super) fn check_nobody_express(&self, until: u64, flow: u32) {
        // Passthrough is first in, first out, and what it left in line is sorted a slice at a time.
        // While the walk goes on that sorts it, which takes as long as the port takes to come back again
        // and again, only what could go since the change has its place for certain.
        let sorted_since = if self.sweeping { self.changed + 1 } else { 0 };
        if self.draining || self.words != StopWords::default() || self.changed >= until {
            return;
        }
        if let Some(&(at, other)) = self.express.range((sorted_since, 0)..).next()
            && other != flow
        {
            assert!(at > until, "group {flow} passed group {other}, which waits since {at}");
        }
    }

    /// What is left of the time from `eligible` to `wake` when the waits that are allowed are taken
    /// off must be less than a slot.
    pub(super) fn check_lateness(
        &mut self,
        wake: u64,
        flow: u32,
        release: Release,
        eligible: u64,
        venue: &Answer,
    ) {
        let f = &self.flows[flow as usize];
        let head = &f.queue[0];
        let p = head.meta;
        let own = &self.params(p.class.into());
        let since = match release {
            Release::Governed => eligible,
            Release::Exempt | Release::Forward => {
                eligible.max(f.forward.front().map_or(0, |&(_, since)| since))
            }
            Release::MaxHold => eligible.max(self.max_hold_at(&p)),
            Release::Late => eligible.max(self.late_from(head)),
            Release::Drain | Release::Passthrough => eligible,
        };
        let (order, port, change) =
            (f.head_since, self.open_since, self.changed.max(f.class_since));
        let mut turn = 0;
        let class = f.class;
        if release == Release::Governed {
            let priority = self.params(class).priority;
            // Its reserved bucket may let it pass those that are first by priority.
            turn = self.classes[class].reserved.fits_at(p.wire_len().into(), 0);
            turn = if turn > wake { 0 } else { turn };
            for (other, node) in self.classes.iter().enumerate() {
                let theirs = self.params(other);
                let first = other == class
                    || theirs.priority <= priority
                    || theirs.shaping.reserved.is_some()
                    || theirs.shaping.flow_floor_bits_per_s > 0;
                turn = turn.max(if first { node.served } else { 0 });
            }
        }
        let bound = self.slot + self.rounding;
        let mut wait = (Wait::None, since);
        for (why, until) in [
            (Wait::Order, order),
            (Wait::Change, change),
            (Wait::Port, port),
            (Wait::Turn, turn),
            (Wait::Kept, venue.last),
        ] {
            if wake.saturating_sub(wait.1) >= self.slot && until > wait.1 {
                wait = (why, until);
            }
        }
        let late = wake.saturating_sub(wait.1);
        let kept = self.kept_until(class, release, venue);
        if late >= bound && wake < kept.saturating_add(bound) {
            wait.0 = Wait::Kept;
        }
        assert!(
            late < bound || wait.0 == Wait::Kept,
            "{late} ns late ({wait:?}, {order} {change} {port} {turn} {kept}) at {wake}, eligible {eligible}, {release:?}: {p:?} {own:?}"
        );
        if release == Release::Governed {
            let hold = self.max_hold_at(&p).max(order).max(port).max(change);
            assert!(wake.saturating_sub(hold) < bound, "held beyond max_hold: {p:?}");
            let t = &mut self.tally;
            t.waits[wait.0 as usize] += 1;
            t.lateness_max[wait.0 as usize] = t.lateness_max[wait.0 as usize].max(late);
            if wait.0 != Wait::Kept {
                t.slot_share_max = t.slot_share_max.max(late * 1_000_000 / self.slot);
            }
        } else if full_exempt(&p) {
            let t = &mut self.tally;
            if venue.counts > 0 {
                t.exempt_limited += 1;
            } else {
                t.exempt_hold_max = t.exempt_hold_max.max(late);
            }
        }
    }

    /// Until when class and port may have been kept for a packet that then did not take its turn,
    /// because a limit, a floor or a reserved share took the turn from it: until they had room for the
    /// largest. What answers to a limit itself may also have waited for room that was kept for others,
    /// who wait at another limit as well: for up to 10 ms each, and nothing says how many there are.
    fn kept_until(&self, class: usize, release: Release, venue: &Answer) -> u64 {
        let own = self.params(class);
        let claims = own.shaping.flow_floor_bits_per_s > 0 || own.shaping.reserved.is_some();
        if venue.counts > 0 {
            u64::MAX
        } else if release == Release::Governed && (claims || self.limits.any()) {
            let (bytes, messages) = (WIRE_LEN_MAX.into(), MESSAGES_MAX.into());
            let levels = [&self.classes[class].level, &self.port];
            let room = levels.map(|level| level.fits_at(bytes, messages));
            // Each is asked again at the end of a slot.
            room[0].max(room[1]) + self.slot
        } else {
            0
        }
    }
}
