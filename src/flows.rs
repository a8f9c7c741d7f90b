//! `wirepace flows`.

use control::request::Request;
use serde_json::Value;

use crate::cli::Flows;
use crate::figures::{age, grouped};
use crate::table::Table;

/// Runs it.
pub fn main(args: &Flows) -> u8 {
    let request =
        Request::Flows { class: args.class.clone(), holding: args.holding, max: Some(args.max) };
    crate::watch::show(&args.watched, &request, |flows| flows, in_words)
}

fn in_words(shown: &Value) -> String {
    let mut table = Table::new(["addresses", "class", "port", "holds", "waits for", "last left"]);
    for row in shown["flows"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let text = |key: &str| row[key].as_str().unwrap_or("-").to_owned();
        table.row([
            text("addresses"),
            text("class"),
            text("port"),
            grouped(row["packets"].as_u64().unwrap_or(0)),
            text("waits_for"),
            row["idle_s"].as_f64().map_or("-".to_owned(), |s| format!("{} ago", age(s))),
        ]);
    }
    let mut said = if table.is_empty() { "no flow".to_owned() } else { table.to_string() };
    match shown["left_off"].as_u64() {
        None | Some(0) => {}
        Some(more) => said.push_str(&format!("\nand {} more", grouped(more))),
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_flow_has_a_row_and_what_is_left_off_a_line() {
        let shown = json!({"left_off": 1_000, "flows": [{
            "addresses": "10.1.0.2:4000-10.9.0.1:7000/udp", "class": "orders", "port": "out",
            "packets": 3, "waits_for": "its class", "idle_s": 0.2,
        }]});
        let said = in_words(&shown);
        assert!(said.contains("10.1.0.2:4000-10.9.0.1:7000/udp  orders  out"), "{said}");
        assert!(said.contains("its class  0s ago") && said.ends_with("\nand 1,000 more"), "{said}");
        assert_eq!(in_words(&json!({"flows": [], "left_off": 0})), "no flow");
    }
}
