//! `wirepace halt | passthrough | resume`.

use control::client::{self, ClientError};
use control::request::{Request, Word};
use control::stop_words::HaltGaps;
use dataplane::state_dir::InstanceDir;
use dataplane::stop_page::{Scope, StopPage, StopPageError};

use serde_json::Value;

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
    let answer = if args.direct {
        direct(word, &scope, &dir).map(|mut reply| {
            // The page knows names only; what its classes carry stands in the config.
            if let Some(Ok(config)) = args.target.config.as_deref().map(crate::config::read) {
                HaltGaps::of(&config).note(word, &args.scope, &mut reply);
            }
            reply
        })
    } else {
        ask(word, &scope, &dir)
    };
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
        error if error.is_bad_usage() => crate::refused(error),
        // Its message names --direct.
        ClientError::Timeout { .. } => crate::failed(error),
        // The page is for fewer users than the socket.
        error if error.is_not_permitted() => crate::failed(error),
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
    let mut reply = applied.reply(word);
    reply["direct"] = Value::Bool(true);
    Ok(reply)
}

/// "class:orders: halt, held by all"; "all: passthrough; still at halt: class:orders".
fn in_words(reply: &Value) -> String {
    let text = |key: &str| reply[key].as_str().unwrap_or_default();
    let holders = |word: &str| -> Vec<&str> {
        let scopes = reply["held_by"].as_object().into_iter().flatten();
        scopes.filter(|(_, of)| **of == *word).map(|(scope, _)| scope.as_str()).collect()
    };
    let (scope, state) = (text("scope"), text("state"));
    let mut said = format!("{scope}: {state}");
    // Its own word is never among them: these are stricter than it.
    let held = holders(state);
    if !held.is_empty() {
        said.push_str(&format!(", held by {}", held.join(", ")));
    }
    let stricter =
        model::stop::StopWord::ALL.iter().skip_while(|word| word.name() != state).skip(1);
    for word in stricter {
        let held = holders(word.name());
        if !held.is_empty() {
            said.push_str(&format!("; still at {}: {}", word.name(), held.join(", ")));
        }
    }
    if let Some(note) = reply["note"].as_str() {
        said.push_str(&format!("\n{note}"));
    }
    said
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_word_of_all_holds_every_packet_and_one_of_a_class_those_of_the_class() {
        let said = |scope: &str, state: &str, held_by: Value| {
            in_words(&json!({"scope": scope, "state": state, "held_by": held_by}))
        };
        assert_eq!(said("all", "halt", json!({})), "all: halt");
        assert_eq!(
            said("class:orders", "halt", json!({"all": "halt"})),
            "class:orders: halt, held by all"
        );
        assert_eq!(
            said("all", "passthrough", json!({"class:orders": "halt"})),
            "all: passthrough; still at halt: class:orders"
        );
        assert_eq!(
            said("venue:X", "passthrough", json!({"all": "passthrough", "class:a": "halt"})),
            "venue:X: passthrough, held by all; still at halt: class:a"
        );
        assert_eq!(
            said("all", "running", json!({"class:a": "passthrough", "venue:X": "halt"})),
            "all: running; still at passthrough: class:a; still at halt: venue:X"
        );
        let noted = json!({"scope": "class:a", "state": "halt", "held_by": {}, "note": "goes on"});
        assert_eq!(in_words(&noted), "class:a: halt\ngoes on");
    }
}
