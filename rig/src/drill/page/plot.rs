//! What one run has shown, as an SVG: states as coloured bands, KPIs as curves, the fault shaded.
//!
//! Colours are those of Okabe and Ito, which colour-blind people can tell apart; a state also stands
//! there by name, and each KPI has a panel of its own, so nothing hangs on a colour. Text is large
//! enough for a page of 390 pixels.

use std::fmt::Write;

use model::time::Nanos;

use super::html::escape;
use crate::drill::{Drill, START, Trace, since_start_ms};

const WIDTH: f64 = 520.0;
const LEFT: f64 = 12.0;
const RIGHT: f64 = 12.0;
const BAND: f64 = 22.0;
const PANEL: f64 = 74.0;
const TITLE: f64 = 20.0;
/// By severity.
const STATES: [&str; 4] = ["#CCE5F2", "#F0E442", "#E69F00", "#D55E00"];
const CURVE: &str = "#0072B2";
const FAULT: &str = "#CC79A7";

/// See the module's text.
pub struct Plot<'a> {
    /// The drill.
    pub drill: &'a Drill,
    /// The run that is shown.
    pub trace: &'a Trace,
    /// The runs that share its scales.
    pub beside: [Option<&'a Trace>; 2],
}

impl Plot<'_> {
    /// The picture.
    pub fn svg(&self) -> String {
        let mut out = String::new();
        let mut y = 4.0;
        y = self.fault_legend(&mut out, y);
        for (machine, scope, lowest) in &self.trace.instances {
            // A machine that moves in neither run has nothing to show.
            let moves = |trace: &&Trace| trace.of(machine, scope).next().is_some();
            if self.beside.iter().flatten().any(moves) {
                y = self.band(&mut out, y, machine, scope, lowest);
            }
        }
        for watch in self.drill.watches {
            y = self.panel(&mut out, y, watch.name);
        }
        y = self.axis(&mut out, y);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {y:.0}\" role=\"img\" \
             aria-label=\"{}\" font-family=\"system-ui,sans-serif\" font-size=\"14\">\n{out}</svg>\n",
            escape(self.trace.arm)
        )
    }

    fn x_of(&self, at: Nanos) -> f64 {
        let whole = since_start_ms(self.trace.ended).max(1.0);
        LEFT + (WIDTH - LEFT - RIGHT) * (since_start_ms(at) / whole).clamp(0.0, 1.0)
    }

    fn fault_legend(&self, out: &mut String, y: f64) -> f64 {
        let mut names: Vec<&str> = self.trace.marks.iter().map(|m| m.what.as_str()).collect();
        names.dedup();
        if names.is_empty() {
            return y;
        }
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{y}\" width=\"14\" height=\"14\" fill=\"{FAULT}\"/>"
        );
        let said = if names.len() > 3 { "the fault".to_owned() } else { names.join(", ") };
        text(out, LEFT + 20.0, y + 12.0, "start", &said);
        y + 22.0
    }

    /// The stretches of the fault over a part of the picture; at least two pixels wide.
    fn faults(&self, out: &mut String, y: f64, height: f64) {
        for mark in &self.trace.marks {
            let (x, to) = (self.x_of(mark.from), self.x_of(mark.to));
            let width = (to - x).max(2.0);
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
                 fill=\"{FAULT}\" fill-opacity=\"0.45\"><title>{}</title></rect>",
                escape(&mark.what)
            );
        }
    }

    fn band(&self, out: &mut String, y: f64, machine: &str, scope: &str, lowest: &str) -> f64 {
        text(out, LEFT, y + 14.0, "start", &format!("{machine}, {scope}"));
        let top = y + TITLE;
        let states = self.trace.states(machine, scope, lowest);
        let mut order: Vec<&str> = vec![lowest];
        let runs = self.beside.iter().flatten();
        for transition in runs.flat_map(|trace| trace.of(machine, scope)) {
            if !order.contains(&transition.to.as_str()) {
                order.push(&transition.to);
            }
        }
        order.sort_by_key(|state| self.trace.severity(state));
        let colour_of = |state: &str| STATES[self.trace.severity(state).min(STATES.len() - 1)];
        for (index, (from, state)) in states.iter().enumerate() {
            let to = states.get(index + 1).map_or(self.trace.ended, |(at, _)| *at);
            let (x, end) = (self.x_of(*from), self.x_of(to));
            let colour = colour_of(state);
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{BAND}\" fill=\"{colour}\" \
                 stroke=\"#555\" stroke-width=\"0.5\"><title>{} from {} ms</title></rect>",
                end - x,
                escape(state),
                since_start_ms(*from)
            );
            // About 8 pixels a letter.
            if end - x > 8.5 * state.len() as f64 {
                text(out, x + 4.0, top + 16.0, "start", state);
            }
        }
        let mut x = LEFT;
        let mut y = top + BAND + 4.0;
        for state in &order {
            let wide = 24.0 + 9.0 * state.len() as f64;
            if x + wide > WIDTH && x > LEFT {
                (x, y) = (LEFT, y + TITLE);
            }
            let colour = colour_of(state);
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"12\" height=\"12\" fill=\"{colour}\" \
                 stroke=\"#555\" stroke-width=\"0.5\"/>"
            );
            text(out, x + 16.0, y + 11.0, "start", state);
            x += wide;
        }
        y + TITLE + 6.0
    }

    fn panel(&self, out: &mut String, y: f64, name: &str) -> f64 {
        let values = self.beside.iter().flatten().filter_map(|trace| trace.series.get(name));
        let most = values.flatten().flatten().fold(0.0f64, |most, value| most.max(*value));
        let top = y + TITLE;
        text(out, LEFT, y + 14.0, "start", name);
        text(out, WIDTH - RIGHT, y + 14.0, "end", &format!("0 to {}", short(most)));
        let _ = writeln!(
            out,
            "<rect x=\"{LEFT}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{PANEL}\" fill=\"#fafafa\" \
             stroke=\"#ccc\"/>",
            WIDTH - LEFT - RIGHT
        );
        self.faults(out, top, PANEL);
        let scale = if most > 0.0 { (PANEL - 4.0) / most } else { 0.0 };
        let mut points = String::new();
        let series = self.trace.series.get(name).map_or(&[][..], Vec::as_slice);
        for (at, value) in self.trace.ticks.iter().zip(series) {
            match value {
                Some(value) => {
                    let y = top + PANEL - 2.0 - scale * value.max(0.0);
                    let _ = write!(points, "{:.1},{y:.1} ", self.x_of(*at));
                }
                // What is absent leaves a gap.
                None => curve(out, &mut points),
            }
        }
        curve(out, &mut points);
        top + PANEL + 8.0
    }

    fn axis(&self, out: &mut String, y: f64) -> f64 {
        let whole_s = since_start_ms(self.trace.ended) / 1e3;
        let step = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0]
            .into_iter()
            .find(|step| whole_s / step <= 6.0)
            .unwrap_or(100.0);
        for n in 0..=(whole_s / step) as u64 {
            let s = n as f64 * step;
            let x = self.x_of(Nanos(START.0 + (s * 1e9) as u64));
            let anchor = if n == 0 { "start" } else { "middle" };
            text(out, x, y + 12.0, anchor, &format!("{} s", short(s)));
        }
        y + TITLE
    }
}

fn curve(out: &mut String, points: &mut String) {
    if !points.is_empty() {
        let _ = writeln!(
            out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{CURVE}\" stroke-width=\"2\"/>",
            points.trim_end()
        );
        points.clear();
    }
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, said: &str) {
    let said = escape(said);
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{said}</text>");
}

/// Three digits are enough beside a curve.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.3}M", v / 1e6),
        v if v >= 1e4 => format!("{:.1}k", v / 1e3),
        v if v.fract() == 0.0 => format!("{v}"),
        v => format!("{v:.3}"),
    }
}
