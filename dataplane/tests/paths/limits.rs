//! What counts both paths.

use model::time::Nanos;

use crate::frames::order;
use crate::world::{World, ms, us};

#[test]
fn a_venue_limit_counts_what_leaves_by_either_path() {
    let limit = r#"
[[venue_limit]]
name = "xcme"
venue = "XCME"
messages = 20
per = "10ms"
margin = 0.0
cancel_reserve = 0
"#;
    let mut w = World::new(&[("#LIMIT", limit), ("max_hold = \"2ms\" #HOLD", "max_hold = \"1s\"")]);
    w.run_for(ms(20));
    // One flow that goes on all the time and stays or moves, and others that begin on either path.
    for host in 1..=8 {
        w.send_each(us(2_500), 40, &order(host));
    }
    w.run_for(ms(15));
    w.profile(1);
    w.run_for(ms(1_500));
    let mut all: Vec<Nanos> = [w.out(0), w.out(1)].concat().iter().map(|(at, _)| *at).collect();
    assert!(!w.out(0).is_empty() && !w.out(1).is_empty(), "both paths");
    all.sort_unstable();
    assert_eq!(all.len(), 320);
    for window in all.windows(21) {
        assert!(window[20] - window[0] >= ms(10), "{window:?}");
    }
    w.assert_in_order_at_the_receiver([us(499), us(0)]);
    assert_eq!(w.books().totals.dropped(), 0);
}

#[test]
fn a_class_cap_counts_what_leaves_by_either_path() {
    let mut w = World::new(&[("#ORDERS", "messages = \"1000/s\"\nmessage_burst = 1")]);
    w.profile(1);
    w.run_for(ms(5));
    // One leaves by the first path because it never pauses, the other moves before its first packet.
    w.send_each(us(1_500), 100, &order(1));
    w.send_each(us(1_500), 100, &order(2));
    w.run_for(ms(400));
    let mut all: Vec<Nanos> = [w.out(0), w.out(1)].concat().iter().map(|(at, _)| *at).collect();
    all.sort_unstable();
    let (first, last) = (all[0], all[all.len() - 1]);
    // A burst of two, what waited beyond its hold, and then the rate.
    let late = w.books();
    let lifted =
        late.block.cells.iter().map(|cell| cell.releases[model::sample::Release::MaxHold as usize]);
    let lifted: u64 = lifted.sum();
    let governed = all.len() as u64 - lifted;
    assert!(governed <= 2 + (last - first).0 / 1_000_000 + 1, "{governed} in {}", last - first);
}
