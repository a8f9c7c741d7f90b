//! `wirepace advice`.

use std::time::Duration;

use control::client;
use control::request::Request;
use serde_json::Value;

use crate::cli::Advice;

/// So often the gateway is asked.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Runs it.
pub fn main(args: &Advice) -> u8 {
    let dir = match crate::instance::find(&args.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    let mut said = None;
    loop {
        let advice = match client::request(&dir.control_socket(), &Request::Advice {}) {
            Ok(advice) => advice,
            Err(error) => return crate::failed(error),
        };
        let now = sequences(&advice);
        if said.as_ref() != Some(&now) {
            show(args, &advice);
            said = Some(now);
        }
        if !args.watch || crate::output::is_gone() {
            return crate::EXIT_DONE;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// What changes with every change.
fn sequences(advice: &Value) -> Vec<Value> {
    let scopes = advice["advice"].as_array().map(Vec::as_slice).unwrap_or_default();
    scopes.iter().map(|scope| scope["sequence"].clone()).collect()
}

fn show(args: &Advice, advice: &Value) {
    if args.json {
        if args.watch {
            out!("{advice}");
        } else {
            crate::print_json(advice);
        }
        return;
    }
    for scope in advice["advice"].as_array().map(Vec::as_slice).unwrap_or_default() {
        let asks = asks(scope);
        let asks = if asks.is_empty() { "as usual".to_owned() } else { asks.join(", ") };
        out!("{:<24} {:>6}  {asks}", scope["scope"].as_str().unwrap_or(""), scope["sequence"]);
    }
}

/// What is not neutral.
fn asks(scope: &Value) -> Vec<String> {
    const NOT_ASKED: [&str; 4] = ["scope", "sequence", "at_ns", "valid_for_ns"];
    let fields = scope.as_object().into_iter().flatten();
    fields
        .filter(|(name, _)| !NOT_ASKED.contains(&name.as_str()))
        .filter_map(|(name, value)| match value {
            Value::Bool(true) => Some(name.clone()),
            Value::Number(factor) => {
                let neutral = if name == "route_penalty" { 0.0 } else { 1.0 };
                (factor.as_f64() != Some(neutral)).then(|| format!("{name} {factor}"))
            }
            Value::String(text) => Some(format!("{name} {text}")),
            Value::Array(states) if !states.is_empty() => {
                let states: Vec<_> = states.iter().filter_map(Value::as_str).collect();
                Some(format!("{name} {}", states.join(" ")))
            }
            _ => None,
        })
        .collect()
}
