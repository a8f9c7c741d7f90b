//! What comes from the venue: how it is delivered, and what it has to do with orders.

use super::*;

pub(super) fn feed(all: &[Packet], left: &[&Packet], class: Class, out: &mut Out) {
    let part = if class.is_feed { "market_data" } else { "control" };
    let delays = repeat(left, |p| p.wire.checked_sub(p.arrival));
    out.spread("delivery_delay_ns", part, &delays, &THREE, 0);
    out.put("delivery_delay_ns", part, "negative", Value::Exact(Some(0.0)));
    let gaps: Vec<u64> = left.windows(2).map(|pair| pair[1].wire - pair[0].wire).collect();
    out.spread("ingest_gap_ns", "", &gaps, &THREE, 30);
    if !class.is_feed {
        return;
    }
    let p95 = |mut times: Vec<u64>| {
        times.sort_unstable();
        let mut distinct: Vec<u64> = Vec::new();
        for at in times {
            if distinct.last().is_none_or(|last| at - last >= US) {
                distinct.push(at);
            }
        }
        let gaps: Vec<u64> = distinct.windows(2).map(|pair| pair[1] - pair[0]).collect();
        quantile(&gaps, 950, 30)
    };
    let delivered = p95(left.iter().map(|p| p.wire).collect());
    let arrived = p95(left.iter().map(|p| p.arrival).collect());
    let name = "market_data_distortion_ratio";
    out.put(name, "", "delivery_p95_ns", Value::Quantile(delivered));
    out.put(name, "", "ingress_p95_ns", Value::Quantile(arrived));
    let ratio = delivered.zip(arrived).map(|(delivered, arrived)| delivered / arrived);
    out.put(name, "", "ratio", Value::Quantile(ratio));
    coupling(all, left, out);
}

fn coupling(all: &[Packet], left: &[&Packet], out: &mut Out) {
    let w = 250 * US;
    let is_order = |p: &&Packet| !p.is_from_venue() && !p.dropped;
    let orders: Vec<u64> = all.iter().filter(is_order).map(|p| p.dispatch / w).collect();
    let delivered: Vec<u64> = left.iter().map(|p| p.wire / w).collect();
    let arrived: Vec<u64> = left.iter().map(|p| p.arrival / w).collect();
    let every = || orders.iter().chain(&delivered).chain(&arrived);
    let (Some(&first), Some(&last)) = (every().min(), every().max()) else { return };
    let count = |at: &[u64]| {
        let mut counts = vec![0.0; (last - first + 1) as usize];
        at.iter().for_each(|window| counts[(window - first) as usize] += 1.0);
        counts
    };
    let (orders, delivered, arrived) = (count(&orders), count(&delivered), count(&arrived));
    // Before the first window there is nothing.
    let correlation = |lag: usize, earlier: &[f64]| {
        let n = orders.len() as f64;
        let mean = |of: &[f64]| of.iter().sum::<f64>() / n;
        let (mine, theirs) = (mean(&orders), mean(earlier));
        let at = |window: usize| if window < lag { 0.0 } else { earlier[window - lag] };
        let together: f64 =
            (0..orders.len()).map(|window| orders[window] * at(window)).sum::<f64>()
                - n * mine * theirs;
        let spread = |of: &[f64], mean: f64| of.iter().map(|x| (x - mean).powi(2)).sum::<f64>();
        together / (spread(&orders, mine) * spread(earlier, theirs)).sqrt()
    };
    let highest = |earlier: &[f64]| {
        let all = (0..=8).map(|lag| (correlation(lag, earlier), lag));
        all.fold((f64::NEG_INFINITY, 0), |most, next| if next.0 > most.0 { next } else { most })
    };
    let ((coupling, lag), (ingress, _)) = (highest(&delivered), highest(&arrived));
    let name = "decision_burst_coupling";
    out.exact(name, "coupling", Some(coupling));
    out.exact(name, "ingress", Some(ingress));
    out.exact(name, "excess", Some(coupling - ingress));
    out.exact(name, "lag_windows", Some(lag as f64));
}

/// Control packets near market data, and those of them whose place among it changed.
pub fn causality(all: &[Packet]) -> (u64, u64) {
    let (feed, control): (Vec<&Packet>, Vec<&Packet>) =
        all.iter().filter(|p| p.is_from_venue()).partition(|p| p.class == crate::rows::FEED);
    let (mut near, mut drifted) = (0, 0);
    for c in control {
        let around: Vec<_> = feed.iter().filter(|m| m.arrival.abs_diff(c.arrival) <= MS).collect();
        near += u64::from(!around.is_empty());
        let turned = |m: &&&&Packet| {
            (m.arrival < c.arrival && m.wire > c.wire) || (m.arrival > c.arrival && m.wire < c.wire)
        };
        drifted += u64::from(around.iter().any(|m| turned(&m)));
    }
    (near, drifted)
}
