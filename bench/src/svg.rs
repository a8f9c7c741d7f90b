//! Two kinds of picture as SVG: bars on a logarithmic scale, and curves of a distribution. Colours
//! are those of Okabe and Ito, which colour-blind people can tell apart; lines differ in dashes, too.

use std::fmt::Write;

const COLOURS: [&str; 7] =
    ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000"];
const DASHES: [&str; 4] = ["", "6 4", "2 3", "10 3 2 3"];
const FONT: &str = "font-family=\"sans-serif\" font-size=\"12\"";

/// A curve.
#[derive(Clone, Debug)]
pub struct Line {
    /// What the legend says.
    pub name: String,
    /// x, at least 1, and y from 0 to 1, x rising.
    pub points: Vec<(f64, f64)>,
}

/// Curves over one pair of axes; x is logarithmic.
#[derive(Clone, Debug)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What x is.
    pub x: String,
    /// What y is.
    pub y: String,
    /// The curves, in the order of the legend.
    pub lines: Vec<Line>,
}

/// Bars that stand together.
#[derive(Clone, Debug)]
pub struct Group {
    /// Below them.
    pub name: String,
    /// Name and height of each.
    pub bars: Vec<(String, f64)>,
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(out: &mut String, x: f64, y: f64, anchor: &str, said: &str) {
    let said = escape(said);
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{said}</text>");
}

fn turned(out: &mut String, x: f64, y: f64, degrees: i32, anchor: &str, said: &str) {
    let said = escape(said);
    let _ = writeln!(
        out,
        "<text transform=\"translate({x:.1} {y:.1}) rotate({degrees})\" text-anchor=\"{anchor}\">{said}</text>"
    );
}

fn rule(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), colour: &str) {
    let _ = writeln!(
        out,
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{colour}\"/>"
    );
}

fn begin(width: f64, height: f64, title: &str) -> String {
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" {FONT}>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    text(&mut out, width / 2.0, 20.0, "middle", title);
    out
}

fn legend(out: &mut String, names: &[String], x: f64, y: f64, is_line: bool) {
    for (i, name) in names.iter().enumerate() {
        let (x, colour) = (x + 150.0 * i as f64, COLOURS[i % COLOURS.len()]);
        if is_line {
            let dash = DASHES[i % DASHES.len()];
            let _ = writeln!(
                out,
                "<line x1=\"{x}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" \
                 stroke-width=\"2\" stroke-dasharray=\"{dash}\"/>",
                x + 24.0
            );
        } else {
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{}\" width=\"24\" height=\"10\" fill=\"{colour}\"/>",
                y - 5.0
            );
        }
        text(out, x + 30.0, y + 4.0, "start", name);
    }
}

/// Curves, panel beside panel, two in a row.
pub fn curves(title: &str, panels: &[Panel]) -> String {
    const WIDTH: f64 = 480.0;
    const HEIGHT: f64 = 300.0;
    let rows = panels.len().div_ceil(2) as f64;
    let mut out = begin(2.0 * WIDTH, 60.0 + rows * HEIGHT, title);
    if let Some(first) = panels.first() {
        let names: Vec<String> = first.lines.iter().map(|line| line.name.clone()).collect();
        legend(&mut out, &names, 60.0, 40.0, true);
    }
    for (i, panel) in panels.iter().enumerate() {
        let (left, top) = ((i % 2) as f64 * WIDTH + 60.0, (i / 2) as f64 * HEIGHT + 90.0);
        let (width, height) = (WIDTH - 90.0, HEIGHT - 90.0);
        let most = panel.lines.iter().flat_map(|l| &l.points).fold(10.0f64, |m, p| m.max(p.0));
        let decades = most.log10().ceil().max(1.0);
        let x_of = |x: f64| left + width * x.max(1.0).log10() / decades;
        let y_of = |y: f64| top + height * (1.0 - y);
        text(&mut out, left + width / 2.0, top - 10.0, "middle", &panel.title);
        for decade in 0..=decades as i32 {
            let x = x_of(10f64.powi(decade));
            rule(&mut out, (x, top), (x, top + height), "#dddddd");
            text(&mut out, x, top + height + 16.0, "middle", &format!("{}", 10f64.powi(decade)));
        }
        for tenth in [0.0, 0.25, 0.5, 0.75, 1.0] {
            rule(&mut out, (left, y_of(tenth)), (left + width, y_of(tenth)), "#dddddd");
            text(&mut out, left - 6.0, y_of(tenth) + 4.0, "end", &format!("{tenth}"));
        }
        text(&mut out, left + width / 2.0, top + height + 34.0, "middle", &panel.x);
        turned(&mut out, left - 40.0, top + height / 2.0, -90, "middle", &panel.y);
        for (n, line) in panel.lines.iter().enumerate() {
            let points: Vec<String> = line
                .points
                .iter()
                .map(|&(x, y)| format!("{:.1},{:.1}", x_of(x), y_of(y)))
                .collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\" \
                 stroke-dasharray=\"{}\"/>",
                points.join(" "),
                COLOURS[n % COLOURS.len()],
                DASHES[n % DASHES.len()]
            );
        }
    }
    out.push_str("</svg>\n");
    out
}

/// Groups of bars; y is logarithmic from 1. `names` gives each bar its colour and its place.
pub fn bars(title: &str, y_name: &str, names: &[String], groups: &[Group]) -> String {
    const HEIGHT: f64 = 300.0;
    let wide = 14.0 * names.len() as f64 + 18.0;
    let (left, top) = (70.0, 70.0);
    let width = wide * groups.len() as f64;
    let mut out = begin((left + width + 20.0).max(900.0), top + HEIGHT + 150.0, title);
    legend(&mut out, names, left, 44.0, false);
    let most = groups.iter().flat_map(|g| &g.bars).fold(10.0f64, |m, bar| m.max(bar.1));
    let decades = most.log10().ceil().max(1.0);
    let y_of = |y: f64| top + HEIGHT * (1.0 - y.max(1.0).log10() / decades);
    for decade in 0..=decades as i32 {
        let y = y_of(10f64.powi(decade));
        rule(&mut out, (left, y), (left + width, y), "#dddddd");
        text(&mut out, left - 6.0, y + 4.0, "end", &format!("{}", 10f64.powi(decade)));
    }
    turned(&mut out, left - 46.0, top + HEIGHT / 2.0, -90, "middle", y_name);
    for (g, group) in groups.iter().enumerate() {
        let x = left + wide * g as f64 + 9.0;
        for (name, height) in &group.bars {
            let Some(n) = names.iter().position(|other| other == name) else { continue };
            let (x, y) = (x + 14.0 * n as f64, y_of(*height));
            let _ = writeln!(
                out,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"12\" height=\"{:.1}\" fill=\"{}\"/>",
                top + HEIGHT - y,
                COLOURS[n % COLOURS.len()]
            );
            turned(&mut out, x + 10.0, y - 3.0, -90, "start", &format!("{height:.0}"));
        }
        turned(&mut out, x + wide / 2.0, top + HEIGHT + 12.0, -45, "end", &group.name);
    }
    out.push_str("</svg>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_bar_is_higher_and_text_is_escaped() {
        let group = |name: &str, a, b| Group {
            name: name.to_owned(),
            bars: vec![("x".to_owned(), a), ("y".to_owned(), b)],
        };
        let names = ["x".to_owned(), "y".to_owned()];
        let svg = bars("a < b", "ns", &names, &[group("1 k", 10.0, 100.0)]);
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"));
        // Two decades over 300 pixels.
        assert!(svg.contains("height=\"150.0\"") && svg.contains("height=\"300.0\""), "{svg}");
    }

    #[test]
    fn a_curve_goes_from_left_below_to_right_above() {
        let line = Line { name: "l".to_owned(), points: vec![(1.0, 0.0), (100.0, 1.0)] };
        let panel = Panel {
            title: "t".to_owned(),
            x: "ns".to_owned(),
            y: "share".to_owned(),
            lines: vec![line],
        };
        assert!(curves("c", &[panel]).contains("points=\"60.0,300.0 450.0,90.0\""));
    }
}
