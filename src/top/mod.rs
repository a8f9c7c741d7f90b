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
/// Rows that page up and page down pass.
const PAGE_ROWS: isize = 10;

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

/// The path of the socket says nothing new, and there is one line.
fn why(error: &ClientError, socket: &Path) -> String {
    let text = error.to_string();
    let named = format!("{}: ", socket.display());
    text.strip_prefix(&named).map_or_else(|| text.clone(), str::to_owned)
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
                Err(error) => view.fail(&why(&error, socket)),
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
        if key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL) {
            return Ok(());
        }
        if view.is_typing {
            match key.code {
                KeyCode::Char(letter) => view.type_filter(Some(letter)),
                KeyCode::Backspace => view.type_filter(None),
                KeyCode::Enter | KeyCode::Esc => view.is_typing = false,
                _ => {}
            }
            continue;
        }
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
            KeyCode::Char('p' | ' ') => view.hold(),
            KeyCode::Char('/') => view.start_filter(),
            KeyCode::Up => view.scroll(-1),
            KeyCode::Down => view.scroll(1),
            KeyCode::PageUp => view.scroll(-PAGE_ROWS),
            KeyCode::PageDown => view.scroll(PAGE_ROWS),
            KeyCode::Tab | KeyCode::Right => view.turn(1),
            KeyCode::BackTab | KeyCode::Left => view.turn(-1),
            _ => {}
        }
    }
}
