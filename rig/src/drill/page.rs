//! Drills as pages for people: one self-contained HTML file each, and an index. No script, nothing is
//! fetched.

mod html;
mod plot;

use super::{Drill, Finding, Shown, TWIN, Trace};
use html::escape;
use plot::Plot;

const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1120px;padding:12px;color:#111;background:#fff}\
h1{font-size:22px;margin:8px 0}h2{font-size:17px;margin:20px 0 6px}p{margin:6px 0}\
.holds,.fails{font-weight:600;padding:1px 8px;border-radius:4px;color:#fff;white-space:nowrap}\
.holds{background:#0072B2}.fails{background:#B24500}\
.arms{display:grid;grid-template-columns:1fr;gap:16px}\
@media(min-width:900px){.arms.two{grid-template-columns:1fr 1fr}}\
svg{width:100%;height:auto;display:block}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
td,th{border-bottom:1px solid #ccc;padding:4px 8px 4px 0;text-align:left;vertical-align:top;overflow-wrap:anywhere}\
code{font-size:13px}small{color:#444}";

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        title = escape(title)
    )
}

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
    let mut out = String::from(
        "<div class=\"wide\"><table><tr><th>arm</th><th>of</th><th>expected</th><th>measured</th>\
         <th></th></tr>\n",
    );
    for finding in all {
        out.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td><code>{}</code></td><td>{}</td></tr>\n",
            escape(finding.arm),
            escape(&finding.what),
            escape(&finding.expected),
            escape(&finding.measured.to_string()),
            verdict(finding.holds),
        ));
    }
    out.push_str("</table></div>\n");
    out
}

/// The page that leads to the others: drills, each with the name of its page and whether it holds.
pub fn index<'a>(drills: impl IntoIterator<Item = (&'a Drill, &'a str, bool)>) -> String {
    let mut body = String::from(
        "<h1>Drills</h1>\n<div class=\"wide\"><table><tr><th>drill</th><th>injects</th>\
         <th>must show</th><th></th></tr>\n",
    );
    for (drill, file, holds) in drills {
        body.push_str(&format!(
            "<tr><td><a href=\"{}\">{}</a></td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escape(file),
            escape(drill.name),
            escape(drill.injects),
            escape(drill.must_show),
            verdict(holds),
        ));
    }
    body.push_str("</table></div>\n");
    document("drills", &body)
}
