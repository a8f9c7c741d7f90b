//! When what was sent is acknowledged, and how close together acknowledgements come.

use super::*;

/// What a connection has sent: first and last byte, departure, sent twice.
struct Segment {
    from: u32,
    until: u32,
    wire: u64,
    twice: bool,
}

pub(super) fn acks(all: &[Packet], class: Class, out: &mut Out) {
    let (mut delays, mut pairs, mut compressed, mut negative) = (Vec::new(), 0_u64, 0_u64, 0_u64);
    for connection in 1..4 {
        // Sequence numbers counted from a fixed one, so that they only grow.
        let base = all.iter().find_map(|p| {
            let (of, end, _, bytes) = p.tcp?;
            (of == connection && bytes > 0).then(|| end.wrapping_sub(u32::from(bytes)))
        });
        let Some(base) = base else { continue };
        let mine = |p: &&Packet| p.tcp.is_some_and(|(of, ..)| of == connection);
        let (mut sent, mut timed): (Vec<Segment>, Option<(u32, u64)>) = (Vec::new(), None);
        let (mut acknowledged, mut last): (u32, Option<(u64, u64)>) = (0, None);
        for p in all.iter().filter(mine) {
            let Some((_, end, ack, bytes)) = p.tcp else { continue };
            if !p.is_from_venue() {
                if p.class != class.number {
                    continue;
                }
                let until = end.wrapping_sub(base);
                let from = until - u32::from(bytes);
                let again = sent.iter().any(|segment| segment.until > from);
                if again {
                    timed = timed.filter(|(end, _)| *end <= from);
                    for segment in &mut sent {
                        segment.twice |= segment.until > from && segment.from < until;
                    }
                } else {
                    timed = timed.or(Some((until, p.wire)));
                    sent.push(Segment { from, until, wire: p.wire, twice: false });
                }
                continue;
            }
            let number = ack.wrapping_sub(base);
            if let Some((end, wire)) = timed
                && number >= end
            {
                timed = None;
                match p.arrival.checked_sub(wire) {
                    Some(delay) => delays.push(delay),
                    None => negative += 1,
                }
            }
            let new = |s: &&Segment| s.until > acknowledged && s.until <= number;
            let answers: Vec<&Segment> = sent.iter().filter(new).collect();
            let Some(newest) = answers.last() else { continue };
            if answers.iter().any(|segment| segment.twice) {
                last = None;
            } else {
                if let Some((at, data)) = last
                    && newest.wire > data
                {
                    pairs += 1;
                    let close = (p.arrival - at) as f64 / (newest.wire - data) as f64;
                    compressed += u64::from(close < 0.75);
                }
                last = Some((p.arrival, newest.wire));
            }
            acknowledged = number;
        }
    }
    out.spread("wire_to_ack_ns", "", &delays, &THREE, 200);
    let quantiles = [500, 950, 990].map(|q| quantile(&delays, q, 200));
    let slope = match quantiles {
        [Some(p50), Some(p95), Some(p99)] if p95 > p50 => Some((p99 - p95) / (p95 - p50)),
        _ => None,
    };
    out.put("wire_to_ack_ns", "", "slope", Value::Quantile(slope));
    out.exact("wire_to_ack_ns", "negative", Some(negative as f64));
    let share = (pairs >= 200).then(|| compressed as f64 / pairs as f64);
    out.exact("ack_compression_ratio", "share", share);
    for (value, found) in [
        ("ratio", None),
        ("baseline", None),
        ("in_one_burst", Some(0.0)),
        ("not_followed", Some(0.0)),
    ] {
        out.exact("ack_compression_ratio", value, found);
    }
}
