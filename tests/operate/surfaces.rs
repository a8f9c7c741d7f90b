//! The dashboard and the alert rules speak of what a gateway serves: each name stands in a real scrape.

use std::collections::BTreeSet;

use crate::gateway::{http_get, wait_for};
use crate::look::flooded_with_http;

/// The names of metrics in a text.
fn names(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let starts = text.match_indices("wirepace_").map(|(at, _)| at);
    starts
        .map(|at| {
            let rest = &text[at..];
            &rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())]
        })
        .collect()
}

#[test]
fn every_metric_of_the_dashboard_and_the_alerts_is_served() {
    let (_place, _gateway, http) = flooded_with_http("surfaces");
    // Figures of the first complete second.
    let scrape = wait_for("figures", || {
        let scrape = http_get(http, "/metrics");
        scrape.contains("wirepace_pacer_error_ns{").then_some(scrape)
    });
    let served: BTreeSet<&str> = scrape
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .collect();
    for file in ["configs/grafana.json", "configs/alerts.yml"] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/").to_owned() + file;
        let text = std::fs::read_to_string(path).unwrap();
        let wanted = names(&text);
        assert!(wanted.len() > 8, "{file}: {wanted:?}");
        let missing: Vec<_> = wanted.difference(&served).collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
    let dashboard = include_str!("../../configs/grafana.json");
    serde_json::from_str::<serde_json::Value>(dashboard).unwrap();
}
