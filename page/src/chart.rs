//! What pictures are drawn with: an SVG as wide as half a page, which still has letters of 10 pixels on a
//! phone; scales with their marks; colours of Okabe and Ito, which colour-blind people can tell apart.
//!
//! Nothing hangs on a colour alone: what has one is named beside it, and curves differ in their dashes too.

use std::fmt::Write;

use super::escape;

/// Of a picture; heights are as needed.
pub const WIDTH: f64 = 520.0;
/// Where a panel begins and ends.
pub const LEFT: f64 = 12.0;
/// See [`LEFT`].
pub const RIGHT: f64 = WIDTH - 12.0;
/// Of a line of text.
pub const LINE: f64 = 20.0;

/// How a curve or an area looks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ink {
    /// Of lines and areas.
    pub colour: &'static str,
    /// `stroke-dasharray`; empty: none.
    pub dash: &'static str,
}

/// One for each thing of a picture, the most important first.
pub const INKS: [Ink; 7] = [
    Ink { colour: "#0072B2", dash: "" },
    Ink { colour: "#D55E00", dash: "" },
    Ink { colour: "#000000", dash: "2 3" },
    Ink { colour: "#009E73", dash: "8 3" },
    Ink { colour: "#CC79A7", dash: "8 3 2 3" },
    Ink { colour: "#E69F00", dash: "12 4" },
    Ink { colour: "#56B4E9", dash: "4 4" },
];

/// Of marks and of what is drawn for comparison.
pub const GREY: Ink = Ink { colour: "#777777", dash: "" };

/// Where a text stands from its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    /// To the right of it.
    Start,
    /// Around it.
    Middle,
    /// To the left of it.
    End,
}

/// A picture under way.
#[derive(Debug, Default)]
pub struct Canvas {
    out: String,
}

impl Canvas {
    /// A text on the line through `y`.
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, said: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let said = escape(said);
        let _ = writeln!(
            self.out,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{said}</text>"
        );
    }

    /// A rectangle; `look` are its attributes, `title` is what is said when it is pointed at.
    pub fn rect(&mut self, (x, y): (f64, f64), (w, h): (f64, f64), look: &str, title: &str) {
        let title = match title {
            "" => String::new(),
            title => format!("<title>{}</title>", escape(title)),
        };
        let _ = writeln!(
            self.out,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{w:.1}\" height=\"{h:.1}\" {look}>{title}</rect>"
        );
    }

    /// The ground of a panel from [`LEFT`] to [`RIGHT`].
    pub fn panel(&mut self, top: f64, height: f64) {
        let look = "fill=\"#fafafa\" stroke=\"#ccc\"";
        self.rect((LEFT, top), (RIGHT - LEFT, height), look, "");
    }

    /// A line through these points; none for fewer than two.
    pub fn curve(&mut self, points: &[(f64, f64)], ink: Ink) {
        if points.len() < 2 {
            return;
        }
        let mut all = String::new();
        for (x, y) in points {
            let _ = write!(all, "{x:.1},{y:.1} ");
        }
        let dash = match ink.dash {
            "" => String::new(),
            dash => format!(" stroke-dasharray=\"{dash}\""),
        };
        let _ = writeln!(
            self.out,
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{dash}/>",
            all.trim_end(),
            ink.colour
        );
    }

    /// Upright strokes that stand on `bottom`, each with its place and height, in one element whatever
    /// their number.
    pub fn strokes(
        &mut self,
        strokes: impl IntoIterator<Item = (f64, f64)>,
        bottom: f64,
        width: f64,
        ink: Ink,
    ) {
        let mut all = String::new();
        for (x, height) in strokes {
            let _ = write!(all, "M{x:.1} {bottom:.1}v{:.1}", -height);
        }
        if !all.is_empty() {
            let _ = writeln!(
                self.out,
                "<path d=\"{all}\" stroke=\"{}\" stroke-width=\"{width:.1}\"/>",
                ink.colour
            );
        }
    }

    /// Names with their inks in lines from `y` on; where the next thing may stand.
    pub fn legend<'a>(&mut self, y: f64, names: impl IntoIterator<Item = (&'a str, Ink)>) -> f64 {
        const STROKE: f64 = 28.0;
        let (mut x, mut y) = (LEFT, y);
        for (name, ink) in names {
            let wide = STROKE + 6.0 + text_width(name) + 14.0;
            if x + wide > WIDTH && x > LEFT {
                (x, y) = (LEFT, y + LINE);
            }
            self.curve(&[(x, y + 8.0), (x + STROKE, y + 8.0)], ink);
            self.text(x + STROKE + 6.0, y + 13.0, Anchor::Start, name);
            x += wide;
        }
        y + LINE
    }

    /// The marks of `scale` under a panel that ends at `y`, as `said` tells them; where the next thing may
    /// stand.
    pub fn marks(&mut self, scale: &Scale, y: f64, said: impl Fn(f64) -> String) -> f64 {
        let marks: Vec<(f64, String)> =
            scale.marks().into_iter().map(|value| (scale.at(value), said(value))).collect();
        let widest = marks.iter().map(|(_, said)| text_width(said)).fold(0.0, f64::max) + 8.0;
        let apart = marks.windows(2).map(|two| two[1].0 - two[0].0).fold(f64::INFINITY, f64::min);
        // Where not all fit, every second, or third ...
        let stride = (widest / apart).ceil().max(1.0) as usize;
        for (n, (x, said)) in marks.into_iter().enumerate() {
            self.strokes([(x, 4.0)], y + 4.0, 1.0, GREY);
            if n % stride == 0 {
                // Those at the ends stay inside of the picture.
                let half = text_width(&said) / 2.0;
                self.text(x.clamp(half, WIDTH - half), y + 17.0, Anchor::Middle, &said);
            }
        }
        y + LINE + 2.0
    }

    /// The picture, `height` high, for those who cannot see it too.
    pub fn svg(self, height: f64, label: &str) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" role=\"img\" \
             aria-label=\"{}\" font-family=\"system-ui,sans-serif\" font-size=\"14\">\n{}</svg>\n",
            escape(label),
            self.out
        )
    }
}

/// About how wide a text of 14 pixels is, rather too wide than too narrow.
pub fn text_width(said: &str) -> f64 {
    let wide = |c: char| match c {
        'i' | 'j' | 'l' | 't' | 'f' | 'r' | 'I' | '.' | ',' | ':' | '\'' | '|' | ' ' => 5.5,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 13.0,
        'A'..='Z' => 10.5,
        _ => 9.0,
    };
    said.chars().map(wide).sum()
}

/// From values to places.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    values: (f64, f64),
    places: (f64, f64),
    is_log: bool,
}

impl Scale {
    /// Equal steps are equally long.
    pub fn linear(values: (f64, f64), places: (f64, f64)) -> Self {
        let (low, high) = values;
        let high = if high > low { high } else { low + 1.0 };
        Self { values: (low, high), places, is_log: false }
    }

    /// Equal ratios are equally long. Values below 1 stand where 1 does.
    pub fn log(values: (f64, f64), places: (f64, f64)) -> Self {
        let low = 10_f64.powf(values.0.max(1.0).log10().floor());
        let high = 10_f64.powf(values.1.max(1.0).log10().ceil());
        Self { values: (low, high.max(low * 10.0)), places, is_log: true }
    }

    /// Where `value` stands; at an end what is beyond it.
    pub fn at(&self, value: f64) -> f64 {
        let of = |value: f64| if self.is_log { value.max(1.0).log10() } else { value };
        let (low, high) = (of(self.values.0), of(self.values.1));
        let share = ((of(value) - low) / (high - low)).clamp(0.0, 1.0);
        self.places.0 + (self.places.1 - self.places.0) * share
    }

    /// Round values to be marked: powers of ten, or steps of 1, 2 or 5 of which seven fit.
    pub fn marks(&self) -> Vec<f64> {
        let (low, high) = self.values;
        if self.is_log {
            let decades = (high / low).log10().round() as i32;
            return (0..=decades).map(|n| low * 10_f64.powi(n)).collect();
        }
        let rough = (high - low) / 6.0;
        let decade = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * decade);
        let step = steps.into_iter().find(|step| *step >= rough * (1.0 - 1e-9));
        let step = step.unwrap_or(10.0 * decade);
        let first = (low / step).ceil() as i64;
        let last = (high / step * (1.0 + 1e-9)).floor() as i64;
        (first..=last).map(|n| n as f64 * step).collect()
    }
}

/// A number as it stands beside a curve: three digits or so.
pub fn short(value: f64) -> String {
    let size = value.abs();
    let (scaled, unit) = match size {
        v if v >= 1e9 => (value / 1e9, "G"),
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits: usize = match scaled.abs() {
        // How far from the whole is what such a share or ratio says.
        v if size == v && v != 1.0 && (v - 1.0).abs() < 0.02 => 4,
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    let mut text = format!("{scaled:.digits$}");
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if text == "0" || text == "-0" {
        return if value == 0.0 { "0".to_owned() } else { format!("{value:.0e}") };
    }
    text + unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beside_a_curve_are_short() {
        for (value, said) in [
            (0.0, "0"),
            (0.25, "0.25"),
            (-0.0, "0"),
            (0.9999, "0.9999"),
            (1.0, "1"),
            (0.000_04, "4e-5"),
            (12.5, "12.5"),
            (1_234.0, "1234"),
            (27_984.0, "28k"),
            (27_984_000.0, "28M"),
            (-1_500_000.0, "-1.5M"),
        ] {
            assert_eq!(short(value), said);
        }
    }

    #[test]
    fn marks_are_round_and_inside() {
        let linear = Scale::linear((0.0, 23.0), (0.0, 100.0));
        assert_eq!(linear.marks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!((linear.at(11.5), linear.at(99.0), linear.at(-1.0)), (50.0, 100.0, 0.0));
        let log = Scale::log((30.0, 20_000.0), (0.0, 40.0));
        assert_eq!(log.marks(), [10.0, 100.0, 1e3, 1e4, 1e5]);
        assert_eq!((log.at(1_000.0).round(), log.at(0.0)), (20.0, 0.0));
    }

    #[test]
    fn a_scale_of_nothing_is_still_one() {
        let place = Scale::linear((3.0, 3.0), (0.0, 1.0)).at(3.0);
        assert_eq!((place, Scale::log((0.0, 0.0), (0.0, 1.0)).at(0.0)), (0.0, 0.0));
    }

    #[test]
    fn what_is_drawn_is_escaped() {
        let mut canvas = Canvas::default();
        canvas.text(1.0, 2.0, Anchor::End, "a<b");
        canvas.rect((0.0, 0.0), (1.0, 1.0), "fill=\"#fff\"", "\"c\"");
        let svg = canvas.svg(10.0, "<d>");
        for said in ["a&lt;b", "&quot;c&quot;", "&lt;d&gt;"] {
            assert!(svg.contains(said), "{svg}");
        }
    }
}
