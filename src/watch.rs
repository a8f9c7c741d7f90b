//! One look, or look after look.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use control::client;
use control::request::Request;
use serde_json::Value;

use crate::cli::Watched;

/// Clears a terminal and goes to its first line.
const CLEAR: &str = "\x1b[2J\x1b[H";

/// Shows what the gateway answers, once or again and again. Each answer goes through `seen`, which may keep
/// what the next look is held against, and what comes of it is printed: as JSON, or as `in_words` says.
pub fn show(
    args: &Watched,
    request: &Request,
    mut seen: impl FnMut(Value) -> Value,
    in_words: impl Fn(&Value) -> String,
) -> u8 {
    let dir = match crate::instance::find(&args.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    loop {
        let answer = match ask(&dir.control_socket(), request) {
            Ok(answer) => seen(answer),
            Err(code) => return code,
        };
        match (args.json, args.watch) {
            (true, Some(_)) => out!("{answer}"),
            (true, None) => crate::print_json(&answer),
            (false, watch) => {
                let clear = watch.is_some() && std::io::stdout().is_terminal();
                out!("{}{}", if clear { CLEAR } else { "" }, in_words(&answer));
            }
        }
        match args.watch {
            Some(every) if !crate::output::is_gone() => {
                std::thread::sleep(every.max(Duration::from_millis(10)));
            }
            _ => return crate::EXIT_DONE,
        }
    }
}

fn ask(socket: &Path, request: &Request) -> Result<Value, u8> {
    client::request(socket, request).map_err(|error| match error.is_bad_usage() {
        true => crate::refused(error),
        false => crate::failed(error),
    })
}
