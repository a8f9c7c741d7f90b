//! Drills as pages for people: one self-contained HTML file each, and an index. No script, nothing is
//! fetched.

mod plot;

use super::{Drill, Finding, Shown, TWIN, Trace};
use ::page::{Table, document, escape, said};
use plot::Plot;

const fn verdict(holds: bool) -> &'static str {
    if holds {
        "<span class=\"holds\">\u{2713} holds</span>"
    } else {
        "<span class=\"fails\">\u{2717} does not hold</span>"
    }
}

/// The page of a drill.
pub fn page(drill: &Drill, shown: &Shown) -> String {
    let mut body = format!(
        "<h1>{} {}</h1>\n<p><b>Injects:</b> {}</p>\n<p><b>Must show:</b> {}</p>\n\
         <p><small>Playbook {} \u{b7} seed {} \u{b7} virtual time</small></p>\n",
        escape(drill.name),
        verdict(shown.holds()),
        escape(drill.injects),
        escape(drill.must_show),
        escape(drill.playbook),
        shown.seed,
    );
    body.push_str("<h2>Expectations</h2>\n");
    body.push_str(&findings(&shown.findings));
    body.push_str("<h2>Expectations of the twin, without the fault</h2>\n");
    body.push_str(&findings(&shown.twin));
    body.push_str("<h2>Arms, beside the twin</h2>\n");
    let twin = shown.traces.iter().find(|trace| trace.arm == TWIN);
    for trace in shown.traces.iter().filter(|trace| trace.arm != TWIN) {
        body.push_str("<div class=\"arms two\">\n");
        // One scale for both: what is small beside the fault must look small.
        for one in [Some(trace), twin].into_iter().flatten() {
            body.push_str(&arm(drill, one, [Some(trace), twin]));
        }
        body.push_str("</div>\n");
    }
    document(&format!("drill {}", drill.name), &body)
}

fn arm(drill: &Drill, trace: &Trace, beside: [Option<&Trace>; 2]) -> String {
    let plot = Plot { drill, trace, beside };
    format!("<div><h2>{}</h2>\n{}</div>\n", escape(trace.arm), plot.svg())
}

fn findings(all: &[Finding]) -> String {
    let mut table = Table::new(&["arm", "of", "expected", "measured", ""]);
    for finding in all {
        table.row([
            escape(finding.arm),
            escape(&finding.what),
            escape(&finding.expected),
            escape(&said(&finding.measured)),
            verdict(finding.holds).to_owned(),
        ]);
    }
    table.html()
}

/// The page that leads to the others: drills, each with the name of its page and whether it holds.
pub fn index<'a>(drills: impl IntoIterator<Item = (&'a Drill, &'a str, bool)>) -> String {
    let mut table = Table::new(&["drill", "injects", "must show", ""]);
    for (drill, file, holds) in drills {
        table.row([
            format!("<a href=\"{}\">{}</a>", escape(file), escape(drill.name)),
            escape(drill.injects),
            escape(drill.must_show),
            verdict(holds).to_owned(),
        ]);
    }
    document("drills", &format!("<h1>Drills</h1>\n{}", table.html()))
}
