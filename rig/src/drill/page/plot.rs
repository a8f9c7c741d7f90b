//! What one run has shown, as an SVG: states as coloured bands, KPIs as curves, the fault shaded.
//!
//! A state also stands there by name, and each KPI has a panel of its own, so nothing hangs on a colour.

use model::time::Nanos;

use crate::drill::{Drill, Trace, since_start_ms};
use ::page::chart::{Anchor, Canvas, INKS, LEFT, LINE, RIGHT, Scale, WIDTH, short, text_width};

const BAND: f64 = 22.0;
const PANEL: f64 = 74.0;
/// By severity.
const STATES: [&str; 4] = ["#CCE5F2", "#F0E442", "#E69F00", "#D55E00"];
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
        let mut canvas = Canvas::default();
        let mut y = 4.0;
        y = self.fault_legend(&mut canvas, y);
        for (machine, scope, lowest) in &self.trace.instances {
            // A machine that moves in neither run has nothing to show.
            let moves = |trace: &&Trace| trace.of(machine, scope).next().is_some();
            if self.beside.iter().flatten().any(moves) {
                y = self.band(&mut canvas, y, machine, scope, lowest);
            }
        }
        for watch in self.drill.watches {
            y = self.panel(&mut canvas, y, watch.name);
        }
        y = canvas.marks(&self.seconds(), y, |s| format!("{} s", short(s)));
        canvas.svg(y, self.trace.arm)
    }

    fn seconds(&self) -> Scale {
        Scale::linear((0.0, since_start_ms(self.trace.ended) / 1e3), (LEFT, RIGHT))
    }

    fn x_of(&self, at: Nanos) -> f64 {
        self.seconds().at(since_start_ms(at) / 1e3)
    }

    fn fault_legend(&self, canvas: &mut Canvas, y: f64) -> f64 {
        let mut names: Vec<&str> = self.trace.marks.iter().map(|m| m.what.as_str()).collect();
        names.dedup();
        if names.is_empty() {
            return y;
        }
        canvas.rect((LEFT, y), (14.0, 14.0), &format!("fill=\"{FAULT}\""), "");
        let said = if names.len() > 3 { "the fault".to_owned() } else { names.join(", ") };
        canvas.text(LEFT + 20.0, y + 12.0, Anchor::Start, &said);
        y + LINE + 2.0
    }

    /// The stretches of the fault over a part of the picture; at least two pixels wide.
    fn faults(&self, canvas: &mut Canvas, y: f64, height: f64) {
        let look = format!("fill=\"{FAULT}\" fill-opacity=\"0.45\"");
        for mark in &self.trace.marks {
            let (x, to) = (self.x_of(mark.from), self.x_of(mark.to));
            canvas.rect((x, y), ((to - x).max(2.0), height), &look, &mark.what);
        }
    }

    fn band(&self, canvas: &mut Canvas, y: f64, machine: &str, scope: &str, lowest: &str) -> f64 {
        canvas.text(LEFT, y + 14.0, Anchor::Start, &format!("{machine}, {scope}"));
        let top = y + LINE;
        let states = self.trace.states(machine, scope, lowest);
        let mut order: Vec<&str> = vec![lowest];
        let runs = self.beside.iter().flatten();
        for transition in runs.flat_map(|trace| trace.of(machine, scope)) {
            if !order.contains(&transition.to.as_str()) {
                order.push(&transition.to);
            }
        }
        order.sort_by_key(|state| self.trace.severity(state));
        let look_of = |state: &str| {
            let colour = STATES[self.trace.severity(state).min(STATES.len() - 1)];
            format!("fill=\"{colour}\" stroke=\"#555\" stroke-width=\"0.5\"")
        };
        for (index, (from, state)) in states.iter().enumerate() {
            let to = states.get(index + 1).map_or(self.trace.ended, |(at, _)| *at);
            let (x, end) = (self.x_of(*from), self.x_of(to));
            let title = format!("{state} from {} ms", since_start_ms(*from));
            canvas.rect((x, top), (end - x, BAND), &look_of(state), &title);
            if end - x > 4.0 + text_width(state) {
                canvas.text(x + 4.0, top + 16.0, Anchor::Start, state);
            }
        }
        let mut x = LEFT;
        let mut y = top + BAND + 4.0;
        for state in &order {
            let wide = 16.0 + text_width(state) + 10.0;
            if x + wide > WIDTH && x > LEFT {
                (x, y) = (LEFT, y + LINE);
            }
            canvas.rect((x, y), (12.0, 12.0), &look_of(state), "");
            canvas.text(x + 16.0, y + 11.0, Anchor::Start, state);
            x += wide;
        }
        y + LINE + 6.0
    }

    fn panel(&self, canvas: &mut Canvas, y: f64, name: &str) -> f64 {
        let values = self.beside.iter().flatten().filter_map(|trace| trace.series.get(name));
        let most = values.flatten().flatten().fold(0.0f64, |most, value| most.max(*value));
        let top = y + LINE;
        canvas.text(LEFT, y + 14.0, Anchor::Start, name);
        canvas.text(RIGHT, y + 14.0, Anchor::End, &format!("0 to {}", short(most)));
        canvas.panel(top, PANEL);
        self.faults(canvas, top, PANEL);
        let scale = Scale::linear((0.0, most), (top + PANEL - 2.0, top + 2.0));
        let series = self.trace.series.get(name).map_or(&[][..], Vec::as_slice);
        let ticks: Vec<_> = self.trace.ticks.iter().zip(series).collect();
        // What is absent leaves a gap.
        for known in ticks.split(|(_, value)| value.is_none()) {
            let point = |(at, value): &(&Nanos, &Option<f64>)| {
                (self.x_of(**at), scale.at(value.unwrap_or_default()))
            };
            canvas.curve(&known.iter().map(point).collect::<Vec<_>>(), INKS[0]);
        }
        top + PANEL + 8.0
    }
}
