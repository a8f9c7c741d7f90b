//! The table of a canary: class and twins together never get more than the class had.

#[path = "regime/gateway.rs"]
mod gateway;

use model::config::Config;
use model::profile::{Bucket, ClassParams};
use model::regime::{COMPOSED_INDEX, Parted, Patches, Posture, Want, compose_apart, unpartable};
use proptest::prelude::*;

fn config(burst: &str, queue: u32) -> Config {
    let text = format!(
        r#"
[[class]]
name = "orders"
kind = "order"
rate = "100M"
burst = "{burst}"
messages = "1000/s"
message_burst = 64
queue_packets = {queue}
weight = 3
max_hold = "10ms"
[[class]]
name = "other"
weight = 5
[[rule]]
class = "orders"
protocol = "udp"
[regime]
allow = ["orders"]
"#
    );
    gateway::config("other", &text)
}

fn buckets(params: &ClassParams) -> [Bucket; 2] {
    [params.class.bits, params.class.messages].map(|bucket| bucket.expect("it has a cap"))
}

proptest! {
    #[test]
    fn the_parts_are_never_more_than_the_whole(
        share_ppm in 1_000..=100_000_u32,
        packets in 4..400_u32,
        queue in 3..2_000_u32,
    ) {
        let config = config(&format!("{packets} packets"), queue);
        let (twins, patches) = (config.canaried(), Patches::new(&config));
        let parted = Parted { twins: &twins, groups: [&[3, 9], &[4, 5]], share_ppm };
        let want = Want {
            machine: "pacing".to_owned(),
            posture: Posture::AntiBurst,
            classes: vec![0],
            ports: vec![1],
        };
        let normal = &config.profiles[0];
        let composed = compose_apart(normal, &patches, &[want], &[], &parted);
        let short = unpartable(normal, &patches, &parted);
        prop_assert_eq!(composed.is_none(), short == [0]);
        let Some(composed) = composed else { return Ok(()) };
        let table = composed.profile;
        prop_assert_eq!(table.index, COMPOSED_INDEX);
        prop_assert_eq!(&table.egress, &normal.egress, "a port is everybody's");
        let [canary, control] = &table.canary.as_ref().expect("there is one").0;
        prop_assert_eq!((&canary.groups[..], &control.groups[..]), (&[3, 9][..], &[4, 5][..]));
        let (rest, canary, control) = (&table.classes[0], &canary.classes[0], &control.classes[0]);
        let whole = &normal.classes[0];
        for at in 0..2 {
            let parts = [rest, canary, control].map(|params| buckets(params)[at]);
            let whole = buckets(whole)[at];
            prop_assert!(parts.iter().map(|b| b.rate_per_s).sum::<u64>() <= whole.rate_per_s);
            prop_assert!(parts.iter().map(|b| b.burst).sum::<u64>() <= whole.burst);
        }
        let held = |params: &ClassParams| (u64::from(params.queue_packets), params.queue_bytes);
        let sum = [rest, canary, control].map(held).into_iter();
        let sum = sum.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        prop_assert!(sum.0 <= held(whole).0 && sum.1 <= held(whole).1);
        // The arm to compare is the class but for its share; the one on trial has the change too.
        let like = ClassParams {
            class: control.class,
            queue_packets: control.queue_packets,
            queue_bytes: control.queue_bytes,
            shaping: model::profile::Shaping { weight: control.shaping.weight, ..whole.shaping },
            ..*whole
        };
        prop_assert_eq!(control, &like);
        prop_assert!(canary.shaping.fan_out < whole.shaping.fan_out);
        // Turns: class and twins have about what the class had beside the others.
        let turns = [rest, canary, control].map(|params| u32::from(params.shaping.weight));
        let of_class = turns.iter().sum::<u32>() * 5;
        let of_other = u32::from(table.classes[1].shaping.weight) * 3;
        prop_assert!(of_class.abs_diff(of_other) <= 2 * 5, "{turns:?}");
    }
}

#[test]
fn what_is_too_short_for_three_is_named() {
    let config = config("2 packets", 100);
    let (twins, patches) = (config.canaried(), Patches::new(&config));
    let parted = Parted { twins: &twins, groups: [&[], &[]], share_ppm: 100_000 };
    assert_eq!(unpartable(&config.profiles[0], &patches, &parted), [0]);
    assert_eq!(twins, [0]);
    assert_eq!(config.nodes().collect::<Vec<_>>()[config.classes.len()..], [0, 0]);
}
