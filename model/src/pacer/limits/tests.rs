use super::*;
use crate::profile::Bucket;
use proptest::prelude::*;

fn limit(scope: LimitScope, messages_max: u32, per: u64, cancel_reserve: u32) -> VenueLimit {
    VenueLimit {
        name: String::new(),
        scope,
        messages_max,
        per: Nanos(per),
        counts_cancels: true,
        cancel_reserve,
        // No pace of its own: the window decides.
        bucket: Bucket::new(400_000_000_000, 1_000_000),
    }
}

fn limits(list: Vec<VenueLimit>, classes: Vec<ClassLimits>) -> Limits {
    let spec = LimitsSpec { limits: list, classes, start_full: false };
    Limits::new(&spec, spec.classes.len().max(1), 8, 32, Nanos::ZERO)
}

const fn order(venue: u8, flow: u32, messages: u32) -> Claim {
    Claim { venue, class: 0, flow, messages, exempt: false }
}

const fn cancel(venue: u8, flow: u32) -> Claim {
    Claim { exempt: true, ..order(venue, flow, 1) }
}

fn send(limits: &mut Limits, now: u64, claim: Claim) {
    assert!(limits.ask(&claim).at <= Nanos(now), "{claim:?} at {now}");
    limits.charge(Nanos(now), Nanos(now), &claim);
    limits.commit();
}

#[test]
fn worked_by_hand_orders_leave_the_reserve_and_cancels_may_use_it() {
    // 4 in 1000 ns, one of them kept for cancels.
    let mut l = limits(vec![limit(LimitScope::Venue(2), 4, 1_000, 1)], vec![]);
    send(&mut l, 100, order(2, 0, 2));
    send(&mut l, 200, order(2, 1, 1));
    assert_eq!(l.ask(&order(2, 0, 1)).at, Nanos(1_100), "the fourth place is for cancels");
    send(&mut l, 300, cancel(2, 0));
    assert_eq!(l.ask(&cancel(2, 0)).at, Nanos(1_100));
    // At 1100 two places are free: the order takes one of them, the other is the reserve.
    assert_eq!(l.ask(&order(2, 0, 1)).at, Nanos(1_100));
    assert_eq!(l.ask(&order(2, 0, 2)).at, Nanos(1_200));
    assert_eq!(l.ask(&order(2, 0, 4)).at, Nanos::MAX, "more than orders may ever use");
    // Another venue, and a packet without messages, are not concerned.
    assert_eq!(l.ask(&order(1, 0, 9)), Opening { at: Nanos::ZERO, instance: None });
    assert_eq!(l.ask(&order(2, 0, 0)), Opening { at: Nanos::ZERO, instance: None });
    assert_eq!((l.figures(0).least_room, l.figures(0).messages), (0, 4));
}

#[test]
fn the_pace_binds_orders_and_cancels_pay_into_it() {
    // 2 at once, then 1 in 100 ns; the window alone would let 50 through.
    let mut venue = limit(LimitScope::Venue(0), 50, 1_000, 0);
    venue.bucket = Bucket::new(10_000_000, 2);
    let mut l = limits(vec![venue], vec![]);
    send(&mut l, 1_000, order(0, 0, 2));
    assert_eq!(l.ask(&order(0, 0, 1)).at, Nanos(1_100));
    for _ in 0..3 {
        send(&mut l, 1_000, cancel(0, 0));
    }
    assert_eq!(l.ask(&order(0, 0, 1)).at, Nanos(1_400));
}

#[test]
fn where_cancels_do_not_count_they_neither_wait_nor_count() {
    let free = VenueLimit { counts_cancels: false, ..limit(LimitScope::Venue(0), 2, 1_000, 0) };
    let mut l = limits(vec![free], vec![]);
    send(&mut l, 0, order(0, 0, 2));
    for _ in 0..10 {
        send(&mut l, 0, cancel(0, 0));
    }
    assert_eq!(l.figures(0).messages, 2);
    assert_eq!(l.ask(&order(0, 0, 1)).at, Nanos(1_000));
}

#[test]
fn a_packet_answers_to_venue_participant_and_session_and_the_last_to_open_is_named() {
    let list = vec![
        limit(LimitScope::Venue(0), 10, 1_000, 0),
        limit(LimitScope::Participant, 5, 1_000, 0),
        limit(LimitScope::Session, 2, 3_000, 0),
    ];
    let own = ClassLimits { participant: Some(1), session: Some(2) };
    let mut l = limits(list, vec![own, ClassLimits::default()]);
    send(&mut l, 10, order(0, 0, 2));
    let opening = l.ask(&order(0, 0, 1));
    assert_eq!((opening.at, l.limit_of(opening.instance.unwrap())), (Nanos(3_010), 2));
    send(&mut l, 20, order(0, 1, 2));
    send(&mut l, 30, order(0, 2, 1));
    let opening = l.ask(&order(0, 2, 1));
    assert_eq!((opening.at, l.limit_of(opening.instance.unwrap())), (Nanos(1_010), 1));
    // The other class names no participant and no session.
    let opening = l.ask(&Claim { class: 1, ..order(0, 2, 6) });
    assert_eq!((opening.at, l.limit_of(opening.instance.unwrap())), (Nanos(1_010), 0));
}

#[test]
fn two_limits_of_one_venue_hold_both() {
    let list =
        vec![limit(LimitScope::Venue(0), 3, 100, 0), limit(LimitScope::Venue(0), 4, 1_000, 0)];
    let mut l = limits(list, vec![]);
    send(&mut l, 0, order(0, 0, 3));
    assert_eq!(l.ask(&order(0, 0, 1)).at, Nanos(100));
    send(&mut l, 100, order(0, 0, 1));
    assert_eq!(l.ask(&order(0, 0, 1)).at, Nanos(1_000));
}

#[test]
fn after_a_live_start_orders_wait_one_window_and_cancels_have_their_reserve() {
    let list =
        vec![limit(LimitScope::Venue(0), 5, 1_000, 2), limit(LimitScope::Session, 4, 1_000, 1)];
    let own = ClassLimits { participant: None, session: Some(1) };
    let spec = LimitsSpec { limits: list, classes: vec![own], start_full: true };
    let mut l = Limits::new(&spec, 1, 8, 32, Nanos(50));
    assert_eq!(l.ask(&order(0, 0, 1)).at, Nanos(1_050));
    send(&mut l, 60, cancel(0, 0));
    send(&mut l, 60, cancel(0, 1));
    assert_eq!(l.ask(&cancel(0, 2)).at, Nanos(1_050), "no more than the venue's reserve");
    assert_eq!(l.ask(&order(0, 3, 1)).at, Nanos(1_050));
}

#[test]
fn sessions_beyond_the_windows_share_one() {
    // 2^21 messages take 16 MiB: one window beside the shared one.
    let session = limit(LimitScope::Session, 1 << 21, 1_000, (1 << 21) - 3);
    let own = ClassLimits { participant: None, session: Some(0) };
    let mut l = limits(vec![session], vec![own]);
    assert_eq!(l.instances(), 2);
    send(&mut l, 0, order(0, 0, 3));
    send(&mut l, 0, order(0, 1, 2));
    assert_eq!(l.ask(&order(0, 2, 2)).at, Nanos(1_000), "flows 1 and 2 count together");
    send(&mut l, 0, order(0, 2, 1));
    assert_eq!(l.figures(0).sessions_shared, 2);
}

#[test]
fn a_session_is_given_back_only_when_nothing_of_it_is_in_a_window() {
    let session = limit(LimitScope::Session, 1 << 21, 1_000, (1 << 21) - 3);
    let own = ClassLimits { participant: None, session: Some(0) };
    let mut l = limits(vec![session], vec![own]);
    send(&mut l, 500, order(0, 0, 3));
    send(&mut l, 500, order(0, 1, 1));
    assert!(!l.free_session(Nanos(1_499), 0));
    assert!(!l.free_session(Nanos(1_499), 1), "nor its part of the shared one");
    assert!(l.free_session(Nanos(1_500), 0) && l.free_session(Nanos(1_500), 1));
    assert!(l.free_session(Nanos(0), 7), "never sent anything");
    send(&mut l, 1_500, order(0, 2, 3));
    assert_eq!(l.figures(0).sessions_shared, 1, "flow 2 has the window of flow 0");
}

/// Every departure: time, venue, class, flow, messages, exempt.
type Left = Vec<(u64, Claim)>;

/// Messages in `(t - per, t]` that `limit` counts for `claim`'s instance.
fn counted(
    of: &VenueLimit,
    index: usize,
    own: &[ClassLimits],
    left: &Left,
    t: u64,
    claim: &Claim,
) -> u32 {
    let same = |other: &Claim| match of.scope {
        LimitScope::Venue(v) => other.venue == v,
        LimitScope::Participant => own[usize::from(other.class)].participant == Some(index as u8),
        LimitScope::Session => {
            own[usize::from(other.class)].session == Some(index as u8) && other.flow == claim.flow
        }
    };
    left.iter()
        .filter(|(d, c)| {
            *d <= t && *d + of.per.0 > t && same(c) && (of.counts_cancels || !c.exempt)
        })
        .map(|(_, c)| c.messages)
        .sum()
}

fn binds(of: &VenueLimit, index: usize, own: &[ClassLimits], claim: &Claim) -> bool {
    (of.counts_cancels || !claim.exempt)
        && claim.messages > 0
        && match of.scope {
            LimitScope::Venue(v) => claim.venue == v,
            LimitScope::Participant => {
                own[usize::from(claim.class)].participant == Some(index as u8)
            }
            LimitScope::Session => own[usize::from(claim.class)].session == Some(index as u8),
        }
}

proptest! {
    /// Against counting all departures: the answer is the first ns at which every window of every
    /// limit has room, whatever was taken back in between and whatever the limits are now.
    #[test]
    fn agrees_with_counting(
        maxima in prop::collection::vec((1u32..9, 20u64..300, 0u32..4, any::<bool>()), 4),
        steps in prop::collection::vec(
            (0u64..60, 0u8..3, 0u8..2, 0u32..4, 0u32..4, any::<bool>(), 0u8..4),
            1..150,
        ),
        changes in prop::collection::vec((0usize..20, 1u32..18, 0u32..6), 150),
    ) {
        let scopes = [
            LimitScope::Venue(0), LimitScope::Venue(1), LimitScope::Participant, LimitScope::Session,
        ];
        let list: Vec<VenueLimit> = scopes.into_iter().zip(maxima).map(|(scope, (max, per, kept, counts))| {
            VenueLimit { counts_cancels: counts, ..limit(scope, max, per, kept.min(max - 1)) }
        }).collect();
        let own = vec![
            ClassLimits { participant: Some(2), session: Some(3) },
            ClassLimits { participant: Some(2), session: None },
        ];
        let mut l = limits(list.clone(), own.clone());
        let made_for: Vec<u32> = list.iter().map(|of| window_messages(of.messages_max)).collect();
        let mut list = list;
        let mut least: Vec<u32> = list.iter().map(|of| of.messages_max).collect();
        let mut left = Left::new();
        let mut now = 0;
        for ((gap, venue, class, flow, messages, exempt, fate), (at, max, kept)) in steps.into_iter().zip(changes) {
            now += gap;
            if let Some(of) = list.get_mut(at) {
                let max = max.min(made_for[at]);
                let before = (of.messages_max, of.cancel_reserve);
                (of.messages_max, of.cancel_reserve) = (max, kept.min(max - 1));
                let is_changed = before != (of.messages_max, of.cancel_reserve);
                prop_assert_eq!(l.set(Nanos(now), &list), is_changed);
                if is_changed {
                    least[at] = max;
                }
            }
            let claim = Claim { venue: if venue == 2 { NO_VENUE } else { venue }, class, flow, messages, exempt };
            let bound: Vec<(usize, &VenueLimit)> =
                list.iter().enumerate().filter(|(i, of)| binds(of, *i, &own, &claim)).collect();
            let cap = |of: &VenueLimit| of.messages_max - if exempt { 0 } else { of.cancel_reserve };
            let opening = l.ask(&claim);
            prop_assert_eq!(opening.instance.is_some(), !bound.is_empty());
            if bound.iter().any(|(_, of)| messages > cap(of)) {
                prop_assert_eq!(opening.at, Nanos::MAX);
                continue;
            }
            let fits = |t: u64| bound.iter().all(|(i, of)| {
                counted(of, *i, &own, &left, t, &claim) + messages <= cap(of)
            });
            prop_assert_eq!(opening.at.0.max(now), (now..).find(|&t| fits(t)).unwrap());
            if opening.at.0 > now && fate < 2 {
                continue;
            }
            now = now.max(opening.at.0);
            let charges = l.charge(Nanos(now), Nanos(now), &claim).charges;
            prop_assert_eq!(usize::from(charges), bound.len());
            if fate == 3 {
                l.undo(charges, |_| {});
            } else {
                for (i, of) in bound {
                    let inside = counted(of, i, &own, &left, now, &claim) + messages;
                    least[i] = least[i].min(of.messages_max.saturating_sub(inside));
                }
                left.push((now, claim));
            }
            l.commit();
        }
        for (i, of) in list.iter().enumerate() {
            let mine: Vec<&(u64, Claim)> = left.iter().filter(|(_, c)| binds(of, i, &own, c)).collect();
            let figures = l.figures(i);
            prop_assert_eq!(figures.messages, mine.iter().map(|(_, c)| u64::from(c.messages)).sum::<u64>());
            // After each departure, in order.
            prop_assert_eq!(figures.least_room, least[i]);
        }
    }
}
