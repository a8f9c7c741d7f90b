//! Signals: SIGTERM and SIGINT end the run, SIGUSR2 is passthrough of everything.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use dataplane::stop_page::StopPage;
use signal_hook::consts::{SIGINT, SIGTERM, SIGUSR2};
use signal_hook::iterator::Signals;

/// Why the run ends.
#[derive(Clone, Debug)]
pub enum End {
    /// SIGTERM or SIGINT.
    Signal,
    /// Something that the process must not survive.
    Fatal(String),
}

/// Starts the thread that waits for signals. It writes the stop page itself, so SIGUSR2 works with
/// every other thread busy or dead. Gives both ends of the channel on which the run's end comes.
///
/// # Errors
/// The system refuses a handler or a thread.
pub fn watch(page: Arc<StopPage>) -> std::io::Result<(Sender<End>, Receiver<End>)> {
    let (ends, ended) = channel();
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGUSR2])?;
    let to_main = ends.clone();
    std::thread::Builder::new().name("wp-signals".to_owned()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGUSR2 {
                page.passthrough_all();
            } else if to_main.send(End::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok((ends, ended))
}
