//! `wirepace halt | passthrough | resume`.

use control::client::{self, ClientError};
use control::request::{Request, Word};
use dataplane::state_dir::InstanceDir;
use dataplane::stop_page::{Scope, StopPage, StopPageError};
use serde_json::{Value, json};

use crate::cli::StopWord;
use crate::run::words;

/// Runs it. A scope that does not exist is bad usage; the message lists those that do.
pub fn main(word: Word, args: &StopWord) -> u8 {
    let scope: Scope = match args.scope.parse() {
        Ok(scope) => scope,
        Err(error) => return crate::refused(error),
    };
    let dir = match crate::instance::find(&args.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    let answer = if args.direct { direct(word, &scope, &dir) } else { ask(word, &scope, &dir) };
    match answer {
        Ok(answer) if args.json => crate::print_json(&answer),
        Ok(answer) => out!("{}", in_words(&answer)),
        Err(code) => return code,
    }
    crate::EXIT_DONE
}

/// Through the control thread.
fn ask(word: Word, scope: &Scope, dir: &InstanceDir) -> Result<Value, u8> {
    let request = Request::StopWord { word, scope: scope.to_string() };
    client::request(&dir.control_socket(), &request).map_err(|error| match error {
        ClientError::Refused { .. } => crate::refused(error),
        _ => crate::failed(format_args!("{error}; --direct works without the control thread")),
    })
}

/// Writes the page itself: works with the control thread dead, and on a gateway that does not run.
fn direct(word: Word, scope: &Scope, dir: &InstanceDir) -> Result<Value, u8> {
    let page = StopPage::open_existing(&dir.stop_page()).map_err(crate::failed)?;
    let applied = words::apply(&page, scope, word).map_err(|error| match error {
        StopPageError::UnknownScope { .. } => crate::refused(error),
        _ => crate::failed(error),
    })?;
    Ok(json!({
        "ok": true,
        "scope": scope.to_string(),
        "word": word.name(),
        "state": applied.state.name(),
        "held_by": applied.held_by,
        "direct": true,
    }))
}

/// "class:orders: running, held by all".
fn in_words(answer: &Value) -> String {
    let text = |key: &str| answer[key].as_str().unwrap_or_default().to_owned();
    let held_by: Vec<&str> =
        answer["held_by"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let held = if held_by.is_empty() {
        String::new()
    } else {
        format!(", held by {}", held_by.join(", "))
    };
    format!("{}: {}{held}", text("scope"), text("state"))
}
