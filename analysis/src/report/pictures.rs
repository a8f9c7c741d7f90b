//! The pictures of the report.

use page::chart::{Anchor, Canvas, GREY, INKS, LEFT, LINE, RIGHT, Scale, short, text_width};

use super::cells::{Cell, Tail};
use crate::models::chains::ChainModel;
use crate::outcome::{Head, Headline};

/// Where bars begin: names stand before them.
const BARS: f64 = 150.0;

/// Cost and interval of each KPI that has them, on one scale.
pub fn intervals<'a>(kpis: impl Iterator<Item = (&'a str, &'a Headline)>) -> Option<String> {
    let known: Vec<(&str, f64, [f64; 2], bool)> = kpis
        .filter_map(|(name, h)| {
            let Head { cost_bps, ci_low, ci_high } = h.mean;
            Some((name, cost_bps?, [ci_low?, ci_high?], h.identified))
        })
        .collect();
    let low = known.iter().map(|k| k.2[0]).fold(0.0, f64::min);
    let high = known.iter().map(|k| k.2[1]).fold(0.0, f64::max);
    if known.is_empty() {
        return None;
    }
    let scale = Scale::linear((low, high), (BARS + 10.0, RIGHT - 10.0));
    let mut canvas = Canvas::default();
    let bottom = LINE * known.len() as f64 + 8.0;
    canvas.strokes([(scale.at(0.0), bottom)], bottom, 1.0, GREY);
    for (row, (name, cost, interval, identified)) in known.into_iter().enumerate() {
        let y = LINE * row as f64 + 14.0;
        let ink = if identified { INKS[0] } else { GREY };
        canvas.text(LEFT, y + 5.0, Anchor::Start, name);
        canvas.curve(&[(scale.at(interval[0]), y), (scale.at(interval[1]), y)], ink);
        let title = format!("{name}: {cost:.2} bps, {:.2} to {:.2}", interval[0], interval[1]);
        let look = format!("fill=\"{}\"", ink.colour);
        canvas.rect((scale.at(cost) - 4.0, y - 4.0), (8.0, 8.0), &look, &title);
    }
    let end = canvas.marks(&scale, bottom, short);
    canvas.text(RIGHT, bottom + end - bottom + 12.0, Anchor::End, "bps; above 0 = we pay");
    Some(canvas.svg(end + LINE, "cost of each KPI with its interval"))
}

/// Symbols by venues.
pub fn heat(cells: &[Cell]) -> Option<String> {
    let mut venues: Vec<&str> = cells.iter().map(|cell| cell.venue.as_str()).collect();
    venues.sort_unstable();
    venues.dedup();
    let symbols: Vec<&str> =
        cells.chunk_by(|a, b| a.symbol == b.symbol).map(|of| of[0].symbol.as_str()).collect();
    let largest = cells.iter().filter_map(|c| c.difference_bps).map(f64::abs).fold(0.0, f64::max);
    if largest <= 0.0 {
        return None;
    }
    let left = symbols.iter().map(|name| text_width(name)).fold(60.0, f64::max) + LEFT + 8.0;
    let wide = (RIGHT - left) / venues.len() as f64;
    const TALL: f64 = 30.0;
    let mut canvas = Canvas::default();
    for (column, venue) in venues.iter().enumerate() {
        let name = if venue.is_empty() { "not told" } else { venue };
        canvas.text(left + wide * (column as f64 + 0.5), 16.0, Anchor::Middle, name);
    }
    for (row, symbol) in symbols.iter().enumerate() {
        let top = 24.0 + TALL * row as f64;
        canvas.text(LEFT, top + 20.0, Anchor::Start, symbol);
        for (column, venue) in venues.iter().enumerate() {
            let cell = cells.iter().find(|c| c.symbol == *symbol && c.venue == *venue);
            let place = (left + wide * column as f64 + 1.0, top + 1.0);
            let value = cell.and_then(|cell| cell.difference_bps);
            let (colour, share) = match value {
                // Dear in orange, cheap in blue, as strong as it is far from 0.
                Some(v) => (if v > 0.0 { "#D55E00" } else { "#0072B2" }, v.abs() / largest),
                None => ("#dddddd", 0.6),
            };
            let look = format!("fill=\"{colour}\" fill-opacity=\"{:.2}\"", 0.06 + 0.5 * share);
            let title = cell.map_or(String::new(), |c| {
                format!("{symbol} at {venue}: {} distorted, {} clean orders", c.n[0], c.n[1])
            });
            canvas.rect(place, (wide - 2.0, TALL - 2.0), &look, &title);
            let said = value.map_or("-".to_owned(), |v| format!("{v:.1}"));
            canvas.text(left + wide * (column as f64 + 0.5), top + 20.0, Anchor::Middle, &said);
        }
    }
    let height = 24.0 + TALL * symbols.len() as f64 + 4.0;
    Some(canvas.svg(height, "burst tax by symbol and venue, bps"))
}

/// Quantiles of both arms against the share of orders beyond.
pub fn tails(tails: &[Tail]) -> Option<String> {
    let curve = |of: fn(&Tail) -> Option<f64>| -> Vec<(f64, f64)> {
        tails.iter().filter_map(|tail| Some((tail.q, of(tail)?))).collect()
    };
    let curves = [curve(|t| t.distorted_bps), curve(|t| t.clean_bps)];
    let values = || curves.iter().flatten().map(|point| point.1);
    if values().count() < 4 {
        return None;
    }
    const TOP: f64 = 30.0;
    const BOTTOM: f64 = 230.0;
    // By nines: the tail is what is looked at.
    let nines = |q: f64| -(1.0 - q).log10();
    let across = Scale::linear((nines(0.5), nines(0.99)), (LEFT + 48.0, RIGHT - 8.0));
    let up = Scale::linear(
        (values().fold(f64::INFINITY, f64::min).min(0.0), values().fold(0.0, f64::max)),
        (BOTTOM, TOP + 8.0),
    );
    let mut canvas = Canvas::default();
    canvas.legend(4.0, [("distorted", INKS[1]), ("clean", INKS[0])]);
    canvas.panel(TOP, BOTTOM - TOP);
    for mark in up.marks() {
        canvas.text(LEFT + 40.0, up.at(mark) + 5.0, Anchor::End, &short(mark));
    }
    for (points, ink) in curves.iter().zip([INKS[1], INKS[0]]) {
        let points: Vec<(f64, f64)> =
            points.iter().map(|&(q, value)| (across.at(nines(q)), up.at(value))).collect();
        canvas.curve(&points, ink);
    }
    for q in [0.5, 0.8, 0.9, 0.95, 0.99] {
        canvas.strokes([(across.at(nines(q)), 4.0)], BOTTOM + 4.0, 1.0, GREY);
        let said = format!("q{:.0}", q * 100.0);
        canvas.text(across.at(nines(q)), BOTTOM + 18.0, Anchor::Middle, &said);
    }
    Some(canvas.svg(BOTTOM + 26.0, "quantiles of the shortfall, bps"))
}

/// Share of windows in each state of a machine.
pub fn occupancy(name: &str, chain: &ChainModel) -> String {
    let mut canvas = Canvas::default();
    let mut x = LEFT;
    let names = chain.states.iter().zip(INKS).map(|(state, ink)| (state.name, ink));
    let end = canvas.legend(0.0, names);
    for (state, ink) in chain.states.iter().zip(INKS) {
        let wide = (RIGHT - LEFT) * state.share;
        let title = format!("{}: {:.1} % of windows", state.name, state.share * 100.0);
        canvas.rect((x, end + 4.0), (wide, 18.0), &format!("fill=\"{}\"", ink.colour), &title);
        x += wide;
    }
    canvas.svg(end + 30.0, &format!("time in each state of {name}"))
}
