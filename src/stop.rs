//! `wirepace halt | passthrough | resume`.

use control::client;
use control::request::{Request, Word};
use dataplane::stop_page::{Scope, StopPage};
use model::stop::StopWord as State;
use serde_json::{Value, json};

use crate::cli::StopWord;

/// Runs it.
pub fn main(word: Word, args: &StopWord) -> u8 {
    let dir = match crate::instance::find(&args.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    let answer = if args.direct {
        direct(word, args, &dir)
    } else {
        let request = Request::StopWord { word, scope: args.scope.clone() };
        client::request(&dir.control_socket(), &request).map_err(|e| {
            crate::failed(format_args!("{e}; --direct works without the control thread"))
        })
    };
    match answer {
        Ok(answer) if args.json => crate::print_json(&answer),
        Ok(answer) => println!("{answer}"),
        Err(code) => return code,
    }
    crate::EXIT_DONE
}

/// Writes the page itself: works with the control thread dead.
fn direct(
    word: Word,
    args: &StopWord,
    dir: &dataplane::state_dir::InstanceDir,
) -> Result<Value, u8> {
    let scope: Scope = args.scope.parse().map_err(crate::refused)?;
    let page = StopPage::open_existing(&dir.stop_page()).map_err(crate::failed)?;
    let held_by = |held: Vec<(Scope, State)>| -> Vec<String> {
        held.iter().map(|(scope, word)| format!("{scope} ({})", word.name())).collect()
    };
    let (state, held_by) = match word {
        Word::Halt => (page.set(&scope, State::Halt).map_err(crate::failed)?.after, vec![]),
        Word::Passthrough => {
            (page.set(&scope, State::Passthrough).map_err(crate::failed)?.after, vec![])
        }
        Word::Resume => {
            let resumed = page.resume(&scope).map_err(crate::failed)?;
            (resumed.change.after, held_by(resumed.still_held))
        }
    };
    Ok(json!({
        "ok": true,
        "scope": args.scope,
        "state": state.name(),
        "held_by": held_by,
        "direct": true,
    }))
}
