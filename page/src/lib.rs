//! Pages for people: HTML in one file, without a script, that fetches nothing.
//!
//! [`document`] is the frame, [`Table`] a table that is still read on a phone, [`chart`] what pictures are
//! drawn with.

pub mod chart;
mod html;

pub use html::escape;
use serde_json::Value;

/// Up to 600 pixels a row of a table is a block of its own, each cell under the name of its column.
const STYLE: &str = "\
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1120px;padding:12px;color:#111;background:#fff;overflow-wrap:break-word}\
h1{font-size:22px;margin:8px 0}h2{font-size:18px;margin:24px 0 6px}h3{font-size:15px;margin:12px 0 2px}\
p,ul{margin:6px 0}ul{padding-left:20px}\
.holds,.fails,.plain{font-weight:600;padding:1px 8px;border-radius:4px;color:#fff;white-space:nowrap}\
.holds{background:#0072B2}.fails{background:#B24500}.plain{background:#555}\
.arms{display:grid;grid-template-columns:minmax(0,1fr);gap:16px}\
@media(min-width:900px){.arms.two{grid-template-columns:minmax(0,1fr) minmax(0,1fr)}}\
svg{width:100%;height:auto;display:block}\
table{border-collapse:collapse;width:100%}thead{text-align:left}\
td,th{border-bottom:1px solid #ccc;padding:4px 12px 4px 0;text-align:left;vertical-align:top;overflow-wrap:break-word}\
td.number{font-variant-numeric:tabular-nums}\
code,pre{font-size:13px;overflow-wrap:anywhere;white-space:pre-wrap}small{color:#444}\
summary{cursor:pointer;font-weight:600;margin:6px 0}\
@media(max-width:600px){thead{display:none}tr{display:block;border-bottom:1px solid #999;padding:4px 0}\
td{display:grid;place-items:start;grid-template-columns:7.5em minmax(0,1fr);gap:8px;border:0;padding:1px 0;overflow-wrap:anywhere}\
td::before{content:attr(data-of);color:#444}td[data-of=\"\"]{display:block}\
td[data-of=\"\"]::before,td:empty{display:none}td:first-child{font-weight:600}}";

/// A page with this body.
pub fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{title}</title><style>{STYLE}</style></head>\n<body>\n{body}</body></html>\n",
        title = escape(title)
    )
}

/// A table: [`Table::row`] for each row, then [`Table::html`].
#[derive(Debug)]
pub struct Table<'a> {
    columns: &'a [&'a str],
    rows: String,
}

impl<'a> Table<'a> {
    /// Without a row yet.
    pub const fn new(columns: &'a [&'a str]) -> Self {
        Self { columns, rows: String::new() }
    }

    /// One more row; its cells are HTML.
    pub fn row<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push_str("<tr>");
        for (column, cell) in self.columns.iter().zip(cells) {
            let of = escape(column);
            self.rows.push_str(&format!("<td data-of=\"{of}\">{}</td>", cell.as_ref()));
        }
        self.rows.push_str("</tr>\n");
    }

    /// The table.
    pub fn html(self) -> String {
        let head: String =
            self.columns.iter().map(|column| format!("<th>{}</th>", escape(column))).collect();
        format!("<table><thead><tr>{head}</tr></thead><tbody>\n{}</tbody></table>\n", self.rows)
    }
}

/// JSON as a person would say it: no quotes, braces or zeros behind the point. Text, not HTML.
pub fn said(value: &Value) -> String {
    let nested = |value: &Value| match value {
        Value::Object(_) | Value::Array(_) => format!("({})", said(value)),
        _ => said(value),
    };
    match value {
        Value::Null => "absent".to_owned(),
        Value::String(text) => text.clone(),
        Value::Number(number) => {
            number.as_f64().map_or_else(|| number.to_string(), |n| n.to_string())
        }
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Array(all) if all.is_empty() => "none".to_owned(),
        Value::Array(all) => all.iter().map(said).collect::<Vec<_>>().join("; "),
        Value::Object(all) => {
            let one = |(name, value): (&String, &Value)| format!("{name} {}", nested(value));
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_cell_knows_its_column() {
        let mut table = Table::new(&["arm", "p99 <ns>"]);
        table.row(["kernel", "<b>7</b>"]);
        let html = table.html();
        assert!(html.contains("<th>p99 &lt;ns&gt;</th>"), "{html}");
        assert!(html.contains("<td data-of=\"p99 &lt;ns&gt;\"><b>7</b></td>"), "{html}");
    }

    #[test]
    fn json_is_said_in_words() {
        let value = json!([{ "at_ms": 2100.0, "to": "DEPHASED" }, { "at_ms": 3100.5, "to": null }]);
        assert_eq!(said(&value), "at_ms 2100, to DEPHASED; at_ms 3100.5, to absent");
        assert_eq!(said(&json!({ "amiss": [], "of": { "held": 0 } })), "amiss (none), of (held 0)");
    }
}
