//! The pictures of a workload, with every arm in each.

use super::words::quantity;
use crate::ab::result::{Block, Passage, Question, Workload};
use ::page::chart::{Anchor, Canvas, GREY, INKS, Ink, LEFT, LINE, RIGHT, Scale, short};

/// Of a panel with a curve.
const PANEL: f64 = 180.0;
/// Of a row of strokes.
const ROW: f64 = 40.0;
/// Points of a curve.
const POINTS: usize = 240;
/// Messages whose due times a timeline reaches over.
const MESSAGES: usize = 60;
/// Windows of a raster.
const WINDOWS: usize = 120;
/// A timeline is no shorter.
const SPAN_MIN_NS: u64 = 1_000_000;

/// An arm in a picture.
struct Drawn<'a> {
    name: &'a str,
    ink: Ink,
    blocks: Vec<&'a Block>,
}

/// The arms that have a block to be shown, the reference first.
fn drawn<'a>(question: &'a Question, workload: &'a Workload) -> Vec<Drawn<'a>> {
    let mut order: Vec<usize> = (0..question.arms.len()).collect();
    order.sort_by_key(|arm| *arm != question.reference);
    let of_arm = |(place, arm): (usize, usize)| {
        let blocks = workload.shown(arm);
        let ink = INKS[place % INKS.len()];
        Drawn { name: &question.arms[arm].name, ink, blocks: blocks.collect() }
    };
    let arms = order.into_iter().enumerate().map(of_arm);
    arms.filter(|arm| !arm.blocks.is_empty()).collect()
}

/// Share of messages whose error is at most so large, without its sign, on a logarithmic scale.
fn ecdf(arms: &[Drawn<'_>], what: &str, of: impl Fn(&Block) -> &[i64]) -> String {
    let sizes = |arm: &Drawn<'_>| {
        let values = arm.blocks.iter().flat_map(|block| of(block));
        let mut sizes: Vec<u64> = values.map(|value| value.unsigned_abs()).collect();
        sizes.sort_unstable();
        sizes
    };
    let curves: Vec<Vec<u64>> = arms.iter().map(sizes).collect();
    // The smallest hundredth would stretch the scale and say nothing.
    let small = curves.iter().filter_map(|sizes| sizes.get(sizes.len() / 100));
    let Some(least) = small.min() else { return String::new() };
    let most = curves.iter().filter_map(|sizes| sizes.last()).max().unwrap_or(least);
    let mut canvas = Canvas::default();
    let top = canvas.legend(4.0, arms.iter().map(|arm| (arm.name, arm.ink))) + 4.0;
    canvas.panel(top, PANEL);
    let x = Scale::log((*least as f64, *most as f64), (LEFT, RIGHT));
    let y = Scale::linear((0.0, 1.0), (top + PANEL - 2.0, top + 2.0));
    for share in [0.5, 0.9, 0.99] {
        canvas.curve(&[(LEFT, y.at(share)), (RIGHT, y.at(share))], LEVEL);
    }
    canvas.text(RIGHT - 4.0, y.at(0.5) - 4.0, Anchor::End, "50 %");
    canvas.text(RIGHT - 4.0, y.at(0.9) + 14.0, Anchor::End, "90 %, 99 %");
    for (arm, sizes) in arms.iter().zip(&curves) {
        let last = sizes.len().saturating_sub(1);
        let points = (0..=POINTS).filter_map(|n| {
            let at = last * n / POINTS;
            let share = (at + 1) as f64 / sizes.len() as f64;
            sizes.get(at).map(|size| (x.at(*size as f64), y.at(share)))
        });
        canvas.curve(&points.collect::<Vec<_>>(), arm.ink);
    }
    let y = canvas.marks(&x, top + PANEL, |ns| quantity(ns, "ns"));
    canvas.svg(y, what)
}

fn of_ms(ms: f64) -> String {
    format!("{} ms", short(ms))
}

/// A line across a panel.
const LEVEL: Ink = Ink { colour: "#cccccc", dash: "" };

/// When messages were due and when each arm put them on the wire, on one axis.
fn timeline(arms: &[Drawn<'_>]) -> String {
    let passages = |arm: &Drawn<'_>| -> Vec<Passage> {
        arm.blocks.first().map(|block| block.series.timeline.clone()).unwrap_or_default()
    };
    let rows: Vec<Vec<Passage>> = arms.iter().map(passages).collect();
    let mut due: Vec<u64> =
        rows.first().into_iter().flatten().map(|passage| passage.due_ns).collect();
    due.sort_unstable();
    let Some(from) = due.first().copied() else { return String::new() };
    let reach = due[due.len().min(MESSAGES) - 1] - from;
    let span = reach.max(SPAN_MIN_NS);
    let scale = Scale::linear((0.0, span as f64 / 1e6), (LEFT, RIGHT));
    let place = |at: u64| {
        let since = at.saturating_sub(from);
        (since <= span).then(|| scale.at(since as f64 / 1e6))
    };
    let mut canvas = Canvas::default();
    let mut y = 4.0;
    let mut row = |canvas: &mut Canvas, name: &str, ink: Ink, times: Vec<u64>| {
        canvas.text(LEFT, y + 14.0, Anchor::Start, name);
        let top = y + LINE;
        canvas.panel(top, ROW);
        let strokes = times.into_iter().filter_map(place).map(|x| (x, ROW - 8.0));
        canvas.strokes(strokes, top + ROW - 4.0, 1.5, ink);
        y = top + ROW + 4.0;
    };
    row(&mut canvas, "due", GREY, due);
    for (arm, passages) in arms.iter().zip(&rows) {
        let times = passages.iter().filter_map(|passage| passage.wire_ns);
        row(&mut canvas, arm.name, arm.ink, times.collect());
    }
    let y = canvas.marks(&scale, y, of_ms);
    canvas.svg(y, "Messages on the wire")
}

/// How many packets left in each window, with one scale for all arms.
fn raster(arms: &[Drawn<'_>]) -> String {
    let counts = |arm: &Drawn<'_>| -> Vec<u32> {
        let first = arm.blocks.first();
        let packets = first.map(|block| block.series.raster.packets.as_slice()).unwrap_or_default();
        packets.iter().take(WINDOWS).copied().collect()
    };
    let window = arms.iter().filter_map(|arm| arm.blocks.first());
    let window_ns = window.map(|block| block.series.raster.window_ns).max().unwrap_or_default();
    let rows: Vec<Vec<u32>> = arms.iter().map(counts).collect();
    let most = rows.iter().flatten().copied().max().unwrap_or_default();
    let windows = rows.iter().map(Vec::len).max().unwrap_or_default();
    if windows == 0 {
        return String::new();
    }
    let span_ms = windows as f64 * window_ns as f64 / 1e6;
    let scale = Scale::linear((0.0, span_ms), (LEFT, RIGHT));
    let wide = (RIGHT - LEFT) / windows as f64;
    let mut canvas = Canvas::default();
    let mut y = 4.0;
    for (arm, counts) in arms.iter().zip(&rows) {
        let top = head(&mut canvas, y, arm.name, f64::from(most));
        let height = Scale::linear((0.0, f64::from(most)), (0.0, ROW - 4.0));
        let strokes = counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let strokes = strokes
            .map(|(n, count)| (LEFT + wide * (n as f64 + 0.5), height.at(f64::from(*count))));
        canvas.strokes(strokes, top + ROW, (wide - 0.5).max(1.0), arm.ink);
        y = top + ROW + 4.0;
    }
    let y = canvas.marks(&scale, y, of_ms);
    canvas.svg(y, "Packets in each window")
}

/// The name of a row and its scale, and its ground; where that begins.
fn head(canvas: &mut Canvas, y: f64, name: &str, most: f64) -> f64 {
    canvas.text(LEFT, y + 14.0, Anchor::Start, name);
    canvas.text(RIGHT, y + 14.0, Anchor::End, &format!("0 to {}", short(most)));
    canvas.panel(y + LINE, ROW);
    y + LINE
}

/// What was handed over and not on the wire, with one scale for all arms.
fn backlog(arms: &[Drawn<'_>]) -> String {
    let first = |arm: &Drawn<'_>| arm.blocks.first().map(|block| block.series.backlog.clone());
    let rows: Vec<_> = arms.iter().map(|arm| first(arm).unwrap_or_default()).collect();
    let span =
        |row: &crate::ab::result::Backlog| row.packets.len() as f64 * row.every_ns as f64 / 1e6;
    let most = rows.iter().flat_map(|row| &row.packets).copied().max().map(f64::from);
    let Some(most) = most else { return String::new() };
    let scale = Scale::linear((0.0, rows.iter().map(span).fold(0.0, f64::max)), (LEFT, RIGHT));
    let mut canvas = Canvas::default();
    let mut y = 4.0;
    for (arm, row) in arms.iter().zip(&rows) {
        let top = head(&mut canvas, y, arm.name, most);
        let level = Scale::linear((0.0, most), (top + ROW - 1.0, top + 2.0));
        let every_ms = row.every_ns as f64 / 1e6;
        let points = row.packets.iter().enumerate().map(|(n, packets)| {
            (scale.at((n + 1) as f64 * every_ms), level.at(f64::from(*packets)))
        });
        canvas.curve(&points.collect::<Vec<_>>(), Ink { dash: "", ..arm.ink });
        y = top + ROW + 4.0;
    }
    let y = canvas.marks(&scale, y, of_ms);
    canvas.svg(y, "Packets waiting")
}

/// All pictures of a workload, each with its heading; those without a point are left out.
pub fn all(question: &Question, workload: &Workload) -> Vec<(&'static str, String)> {
    let arms = drawn(question, workload);
    let pictures = [
        (
            "Gap error: share of gaps whose error is at most so large",
            ecdf(&arms, "Gap error", |block| &block.series.gap_error_ns),
        ),
        (
            "Release error: share of messages at most so far from when they were due",
            ecdf(&arms, "Release error", |block| &block.series.release_error_ns),
        ),
        (
            "Delay: share of messages on the wire so soon after they were handed over",
            ecdf(&arms, "Delay", |block| &block.series.dispatch_to_wire_ns),
        ),
        ("On the wire: a stroke for each message, of the first block", timeline(&arms)),
        ("Bursts: packets in each window of the first block", raster(&arms)),
        ("Waiting: packets handed over and not on the wire, first block", backlog(&arms)),
    ];
    pictures.into_iter().filter(|(_, svg)| !svg.is_empty()).collect()
}
