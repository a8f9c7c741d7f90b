//! `wirepace top`: the running gateway on a screen of its own.
//!
//! [`View`] makes figures of one look after the other, [`draw`] puts them on the screen; only this file
//! knows a terminal and a gateway.

mod draw;
mod view;

use std::path::Path;
use std::time::{Duration, Instant};

use control::client::{self, ClientError};
use control::request::Request;
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};

use crate::cli::Top;
use view::View;

/// Longest wait for a key.
const KEY_WAIT: Duration = Duration::from_millis(100);

/// Runs it, until `q`.
pub fn main(args: &Top) -> u8 {
    use std::io::IsTerminal;
    if !std::io::stdout().is_terminal() {
        return crate::refused("top needs a terminal; `wirepace status --watch` does not");
    }
    let dir = match crate::instance::find(&args.target) {
        Ok(dir) => dir,
        Err(code) => return code,
    };
    let mut terminal = ratatui::init();
    let ended = run(&mut terminal, &dir.control_socket(), args.every.max(KEY_WAIT));
    ratatui::restore();
    match ended {
        Ok(()) => crate::EXIT_DONE,
        Err(error) => crate::failed(error),
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the terminal: {0}")]
    Terminal(#[from] std::io::Error),
}

fn run(terminal: &mut DefaultTerminal, socket: &Path, every: Duration) -> Result<(), Failure> {
    let mut view = View::default();
    let mut next = Instant::now();
    loop {
        if Instant::now() >= next && !view.is_held() {
            next = Instant::now() + every;
            match client::request(socket, &Request::Status {}) {
                Ok(status) => view.look(&status),
                // A first look has to succeed; later ones may fail and come back: a restart.
                Err(error) if view.is_empty() => return Err(error.into()),
                Err(error) => view.fail(&error.to_string()),
            }
        }
        terminal.draw(|frame| draw::draw(frame, &view))?;
        if !event::poll(KEY_WAIT)? {
            continue;
        }
        let Event::Key(key) = event::read()? else { continue };
        if key.kind != KeyEventKind::Press {
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Ok(()),
            KeyCode::Char('p' | ' ') => view.hold(),
            KeyCode::Tab | KeyCode::Right => view.turn(1),
            KeyCode::BackTab | KeyCode::Left => view.turn(-1),
            _ => {}
        }
    }
}
