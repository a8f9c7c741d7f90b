//! The two proofs of a window agree, and both are strict to the nanosecond.

use crate::checker::envelope::{
    Bucket, Envelope, Envelopes, Level, first_breach, first_breach_by_all_windows,
};
use crate::checker::exact::Exact;

/// A small generator of numbers; the same seed gives the same numbers on every machine.
struct Lcg(u64);

impl Lcg {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn bucket_by_hand() {
    // 3 bits per second, burst 6 bits: one bit takes a third of a second.
    let mut bucket = Bucket::new(Envelope::new(3, 6));
    assert_eq!(bucket.conforming(6), None, "a full bucket takes its burst at any time");
    bucket.charge(100, 6);
    // TAT = 100 ns + 2 s; 1 bit conforms at TAT + 1/3 s - 2 s = 100 ns + 333,333,333 1/3 ns.
    assert_eq!(bucket.conforming(1), Some(Exact::ratio(1_000_000_300, 3)));
    assert_eq!(Exact::ratio(1_000_000_300, 3).ceil_ns(), 333_333_434);
    // A departure long after: the bucket is full again, not fuller.
    bucket.charge(10_000_000_000, 6);
    assert_eq!(bucket.conforming(6), Some(Exact::whole(12_000_000_000)));
}

#[test]
fn exact_times_compare_beyond_floats() {
    let third = Exact::ratio(1, 3);
    assert!(third > Exact::ratio(333_333_333, 1_000_000_000));
    assert!(third < Exact::ratio(333_333_334, 1_000_000_000));
    assert_eq!(third, Exact::ratio(4, 12));
    assert_eq!(Exact::ratio(-1, 3).ceil_ns(), 0);
    let late = Exact::ratio(i128::from(u64::MAX) * 400_000_000_000 + 1, 400_000_000_000);
    assert!(late > Exact::whole(u64::MAX));
    assert!(Exact::ratio(1, 3).within(1_024, 1_024), "1023 2/3 ns are below a slot of 1024 ns");
    assert!(!Exact::whole(0).within(1_024, 1_024), "1024 ns are not below a slot of 1024 ns");
}

#[test]
fn one_packet_over_the_burst_and_one_nanosecond_early_are_found() {
    // 8 bits per ns, burst of 3 packets of 800 bits; a packet earns its place in 100 ns.
    let envelope = Envelope::new(8_000_000_000, 2_400);
    let conforming = [(1_000, 800), (1_000, 800), (1_000, 800), (1_100, 800), (1_200, 800)];
    for proof in [first_breach, first_breach_by_all_windows] {
        assert_eq!(proof(envelope, &conforming), None);
        assert_eq!(proof(envelope, &[(1_000, 800); 4]), Some(3), "a packet over the burst");
        let mut early = conforming;
        early[3].0 = 1_099;
        assert_eq!(proof(envelope, &early), Some(3), "a nanosecond early");
        assert_eq!(proof(envelope, &[(5, 2_401)]), Some(0), "one packet larger than the burst");
    }
}

#[test]
fn linear_proof_equals_all_windows_on_random_departures() {
    let (mut clean, mut broken) = (0, 0);
    for seed in 0..400 {
        let mut random = Lcg(seed);
        let rate = 1 + random.below(20_000_000_000);
        let envelope = Envelope::new(rate, 12_304 + random.below(60_000));
        // Mean spacing near the rate, so that about half of the sequences break the envelope.
        let mut t = 1_500_000_000_000_000_000;
        let departures: Vec<(u64, u64)> = (0..60)
            .map(|_| {
                let bits = 8 * (84 + random.below(1_454));
                let mean = u128::from(bits) * 1_000_000_000 / u128::from(rate);
                let spread = u64::try_from(mean * 21 / 10).unwrap().max(1);
                t += random.below(spread);
                (t, bits)
            })
            .collect();
        let found = first_breach(envelope, &departures);
        assert_eq!(found, first_breach_by_all_windows(envelope, &departures), "seed {seed}");
        if found.is_none() { clean += 1 } else { broken += 1 }
    }
    assert!(clean > 40 && broken > 40, "both answers must occur: {clean} clean, {broken} broken");
}

#[test]
fn earliest_whole_times_conform_and_nothing_earlier_does() {
    for seed in 0..50 {
        let mut random = Lcg(seed);
        let envelope = Envelope::new(1 + random.below(3_000_000_000), 12_304 + random.below(9_000));
        let (mut bucket, mut departures, mut t) = (Bucket::new(envelope), Vec::new(), 7);
        for _ in 0..50 {
            let bits = 8 * (84 + random.below(1_454));
            let earliest = bucket.conforming(bits).map_or(0, Exact::ceil_ns);
            t = t.max(u64::try_from(earliest.max(0)).unwrap());
            bucket.charge(t, bits);
            departures.push((t, bits));
        }
        assert_eq!(first_breach(envelope, &departures), None, "seed {seed}");
        for index in 1..departures.len() {
            if departures[index].0 > departures[index - 1].0 {
                let mut early = departures.clone();
                early[index].0 -= 1;
                assert_eq!(first_breach(envelope, &early), Some(index), "seed {seed}");
            }
        }
    }
}

#[test]
fn rows_of_check_are_read_and_bad_ones_refused() {
    let json = |rows: &str| serde_json::from_str(&format!("{{\"envelopes\":[{rows}]}}")).unwrap();
    let good = r#"{"profile":"normal","name":"a","level":"class","rate_bps":1000,"burst_bytes":2000,
                   "messages_per_s":null,"message_burst":null},
                  {"profile":"smooth","name":"a","level":"class","rate_bps":1,"burst_bytes":1}"#;
    let table = Envelopes::from_check_json(&json(good), "normal").unwrap();
    let limits = table.of(Level::Class, "a");
    assert_eq!(limits.bits, Some(Envelope::new(1_000, 16_000)), "bursts are in bits");
    assert_eq!(limits.messages, None);
    assert_eq!(table.of(Level::Flow, "a").bits, None);
    for bad in [
        "",
        r#"{"profile":"normal","name":"a","level":"tree"}"#,
        r#"{"profile":"normal","level":"port"}"#,
        r#"{"profile":"normal","name":"a","level":"port","rate_bps":5}"#,
        r#"{"profile":"normal","name":"a","level":"port","rate_bps":0,"burst_bytes":1}"#,
        r#"{"profile":"normal","name":"a","level":"port"},
           {"profile":"normal","name":"a","level":"port"}"#,
    ] {
        assert!(Envelopes::from_check_json(&json(bad), "normal").is_err(), "{bad}");
    }
}
