//! A few ordering groups under a table of their own: they come and go under load, and every packet has one
//! end, in its order.

use std::collections::BTreeMap;

use model::config::Config;
use model::profile::Profile;
use model::regime::{Parted, Patches, compose_apart};
use proptest::prelude::*;

use crate::frames::{cancel_in_flow, order};
use crate::world::{World, config, ms};

/// Orders that two arms can share: a burst of 16 messages.
fn shared() -> Config {
    const ORDERS: &str =
        "name = \"orders\"\nkind = \"order\"\nmessages = \"1000/s\"\nmessage_burst = 2";
    let orders = ORDERS.replace("message_burst = 2", "message_burst = 16");
    let allowed = "[regime]\nallow = [\"orders\"]\n[default_class]";
    config(&[(ORDERS, &orders), ("[default_class]", allowed)])
}

fn parted(config: &Config, groups: [&[u64]; 2]) -> Profile {
    let (twins, patches) = (config.canaried(), Patches::new(config));
    let parted = Parted { twins: &twins, groups, share_ppm: 100_000 };
    let composed = compose_apart(&config.profiles[0], &patches, &[], &[], &parted);
    composed.expect("the class can be parted").profile
}

/// Ids of the groups, ascending.
fn groups(w: &World) -> Vec<u64> {
    let mut ids: Vec<u64> = w.worker().lanes()[0].roster().seats().map(|seat| seat.id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn every_group_has_a_seat_and_the_same_one_each_time() {
    let seated = || {
        let mut w = World::new(&shared());
        w.send_all((0..20).map(order));
        w.run_for(ms(1));
        let seats = groups(&w);
        w.run_dry();
        w.books();
        seats
    };
    let first = seated();
    assert_eq!(first.len(), 20);
    assert_eq!(first, seated(), "a number is of the 5-tuple, not of its place");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arms_come_and_go_under_load_and_the_books_close(
        steps in prop::collection::vec((0..20_u8, 0..2_000_u64, 0..12_u8), 1..300),
    ) {
        let config = shared();
        let mut w = World::new(&config);
        let mut sent: BTreeMap<u8, Vec<u32>> = BTreeMap::new();
        for (host, wait_us, what) in steps {
            let now = w.now;
            match what {
                0 => {
                    let ids = groups(&w);
                    let (on_trial, others) = ids.split_at(ids.len().min(2));
                    let compared = &others[..others.len().min(2)];
                    let profile = Box::new(parted(&config, [on_trial, compared]));
                    // Refused when too many are on their way: control would try again.
                    let _ = w.control.set_profile(profile, now + ms(500));
                }
                1 => drop(w.control.set_normal()),
                2 => {
                    let id = w.send(now, &cancel_in_flow(host));
                    sent.entry(host).or_default().push(id);
                }
                _ => {
                    let id = w.send(now, &order(host));
                    sent.entry(host).or_default().push(id);
                }
            }
            w.run_for(model::time::Nanos::from_micros(wait_us));
        }
        w.run_dry();
        let out = w.out();
        let place: BTreeMap<u32, usize> = out.iter().enumerate().map(|(at, id)| (*id, at)).collect();
        for (host, ids) in &sent {
            let places: Vec<_> = ids.iter().map(|id| place.get(id).copied()).collect();
            prop_assert!(places.iter().all(Option::is_some), "host {host}: {places:?}");
            prop_assert!(places.is_sorted(), "host {host}: {places:?}");
        }
        prop_assert_eq!(w.books().totals.dropped(), 0);
    }
}
