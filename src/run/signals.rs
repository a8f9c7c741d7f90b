//! Signals: SIGTERM, SIGINT and SIGQUIT end the run, SIGUSR2 is passthrough of everything, SIGHUP puts the file of
//! the config in force. Others that would end the process where it stands are logged and change nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use control::client;
use dataplane::stop_page::StopPage;
use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
};
use signal_hook::iterator::Signals;
use signal_hook::low_level::signal_name;

use super::service::Manager;

/// They mean nothing here. Left as they come they would end the process without a drain and leave its socket.
const WITHOUT_MEANING: [i32; 5] = [SIGUSR1, SIGALRM, SIGVTALRM, SIGPROF, SIGIO];

/// Why the run ends.
#[derive(Clone, Debug)]
pub enum End {
    /// SIGTERM, SIGINT or SIGQUIT.
    Signal,
    /// Something that the process must not survive.
    Fatal(String),
}

/// What SIGHUP does: what `wirepace config apply` does, over the same socket.
pub struct Reload {
    /// The file of the config.
    pub config: PathBuf,
    /// The control socket of this gateway.
    pub socket: PathBuf,
    /// Who wants to know when it begins and ends.
    pub manager: Arc<Manager>,
}

impl Reload {
    /// On a thread of its own: control may be stuck, and the next signal may end the run.
    fn start(&self) -> Option<JoinHandle<()>> {
        let (config, socket) = (self.config.clone(), self.socket.clone());
        let manager = Arc::clone(&self.manager);
        let reload = move || {
            manager.reloading();
            let came_of_it = match apply(&config, &socket) {
                Ok(revision) => {
                    tracing::info!(revision, "SIGHUP: in force");
                    format!("forwards; revision {revision} is in force")
                }
                Err(error) => {
                    tracing::error!("SIGHUP: {error}");
                    format!("forwards; the config was not applied: {error}")
                }
            };
            manager.ready(&came_of_it);
        };
        let thread = std::thread::Builder::new().name("wp-reload".to_owned()).spawn(reload);
        thread.map_err(|error| tracing::error!(%error, "SIGHUP: no thread")).ok()
    }
}

/// Puts the text of the file `config` in force; the revision that it became.
fn apply(config: &Path, socket: &Path) -> Result<String, String> {
    let text = crate::config::text(config).map_err(|unusable| {
        unusable.print();
        format!("{} cannot be used", config.display())
    })?;
    let request = crate::live_config::request(config, text, None);
    let answer = client::request(socket, &request).map_err(|error| error.to_string())?;
    Ok(answer["revision"].to_string())
}

/// Starts the thread that waits for signals. It writes the stop page itself, so SIGUSR2 works with
/// every other thread busy or dead. Gives both ends of the channel on which the run's end comes.
///
/// # Errors
/// The system refuses a handler or a thread.
pub fn watch(page: Arc<StopPage>, reload: Reload) -> std::io::Result<(Sender<End>, Receiver<End>)> {
    let (ends, ended) = channel();
    let mut signals = Signals::new([SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR2])?;
    for signal in WITHOUT_MEANING {
        signals.add_signal(signal)?;
    }
    let to_main = ends.clone();
    std::thread::Builder::new().name("wp-signals".to_owned()).spawn(move || {
        let mut reloading: Option<JoinHandle<()>> = None;
        for signal in signals.forever() {
            match signal {
                SIGUSR2 => page.passthrough_all(),
                SIGHUP if reloading.as_ref().is_some_and(|thread| !thread.is_finished()) => {
                    tracing::warn!("SIGHUP: the one before is still under way");
                }
                SIGHUP => reloading = reload.start(),
                other if WITHOUT_MEANING.contains(&other) => {
                    tracing::warn!(
                        "{} means nothing here",
                        signal_name(other).unwrap_or("a signal")
                    );
                }
                _ if to_main.send(End::Signal).is_err() => return,
                _ => {}
            }
        }
    })?;
    Ok((ends, ended))
}
