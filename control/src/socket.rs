//! The control socket: JSON lines over a Unix socket that only its owner may open.

use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::client::REPLY_TIME_MAX;
use crate::places::{Doing, Place, Places};
use crate::request::{Request, refusal};

/// Longest request, its newline included: a config of 1 MiB, escaped.
pub const LINE_BYTES_MAX: usize = 2 << 20;
/// A client that has not sent a whole line for so long is sent away.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// A client that does not read its reply for so long is sent away.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);
/// Clients at a time; a new one takes the place of the one that has been idle for longest, so that a `halt`
/// always gets through.
const CLIENTS_MAX: usize = 16;
/// Without a free descriptor `accept` fails at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A request on its way to the controller.
pub(crate) struct Question {
    pub(crate) request: Request,
    pub(crate) reply: oneshot::Sender<Value>,
    /// When it was read from the socket.
    pub(crate) asked_at: Instant,
}

impl Question {
    /// A command whose sender has been told by now that nothing came of it. A `resume` that is obeyed
    /// later would undo what was decided since.
    pub(crate) fn is_given_up(&self) -> bool {
        self.request.writes() && self.asked_at.elapsed() >= REPLY_TIME_MAX
    }
}

/// Why the control socket cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SocketBindError {
    /// Another gateway of this name answers there.
    #[error("{}: another wirepace serves this control socket; stop it or give this one another name", .0.display())]
    InUse(PathBuf),
    /// Something else stands there, and is left alone.
    #[error("{}: exists and is not a socket; remove it or choose another state_dir", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("{}: cannot make the control socket: {source}", path.display())]
    Io {
        /// Its path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The listening socket; its file goes with it, if it is still the same file.
pub(crate) struct ControlSocket {
    pub(crate) listener: StdListener,
    path: PathBuf,
    inode: u64,
}

impl ControlSocket {
    /// Makes the socket with mode 0600. A socket on which nobody answers is replaced.
    ///
    /// # Errors
    /// In use, not a socket, or refused by the system.
    pub(crate) fn bind(path: &Path) -> Result<Self, SocketBindError> {
        match std::fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketBindError::NotASocket(path.to_owned()));
            }
            // A socket without permission is somebody's too.
            Ok(_) if answers(path) => return Err(SocketBindError::InUse(path.to_owned())),
            _ => {}
        }
        let make = || {
            // Made under another name and moved: at no moment may others open it, or find none.
            let new = path.with_extension("new");
            match std::fs::remove_file(&new) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = StdListener::bind(&new)?;
            listener.set_nonblocking(true)?;
            std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
            let inode = std::fs::symlink_metadata(&new)?.ino();
            std::fs::rename(&new, path)?;
            Ok(Self { listener, path: path.to_owned(), inode })
        };
        make().map_err(|source| SocketBindError::Io { path: path.to_owned(), source })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode);
        if ours {
            // At worst a stale socket stays; the next start replaces it.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Whether anybody answers: anything but "nobody is there" counts.
fn answers(path: &Path) -> bool {
    use std::io::ErrorKind::{ConnectionRefused, NotFound};
    match StdStream::connect(path) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ConnectionRefused | NotFound),
    }
}

/// Serves for ever.
pub(crate) async fn serve(listener: UnixListener, controller: mpsc::Sender<Question>) {
    let places = Places::new(CLIENTS_MAX);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no client taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let controller = controller.clone();
        let place = places.take().await;
        tokio::spawn(async move {
            tokio::select! {
                () = client(stream, &controller, &place) => {}
                () = place.is_taken_away() => {}
            }
        });
    }
}

/// One client, until it goes, errs or falls silent.
async fn client(mut stream: UnixStream, controller: &mpsc::Sender<Question>, place: &Place) {
    let peer = stream.peer_cred().ok();
    let (uid, pid) = (peer.map(|p| p.uid()), peer.and_then(|p| p.pid()));
    let (read, mut write) = stream.split();
    let mut read = BufReader::new(read);
    let mut line = Vec::new();
    loop {
        line.clear();
        // The newline's byte more than what is allowed tells a line that is too long.
        let mut bounded = (&mut read).take(LINE_BYTES_MAX as u64);
        match timeout(IDLE_TIME_MAX, bounded.read_until(b'\n', &mut line)).await {
            Ok(Ok(n)) if n > 0 => {}
            // Gone, broken, or silent.
            _ => return,
        }
        if line.last() != Some(&b'\n') {
            if line.len() >= LINE_BYTES_MAX {
                let limit = LINE_BYTES_MAX / 1024;
                say(&mut write, &refusal(format!("the line is longer than {limit} KiB"))).await;
            }
            // Else half a line and then nothing: it was never a request.
            return;
        }
        let reply = match Request::parse(&line) {
            Ok(request) => {
                if request.writes() {
                    if has_gone(write.as_ref()) {
                        tracing::warn!(uid, pid, ?request, "not obeyed: who asked is gone");
                        return;
                    }
                    tracing::info!(uid, pid, ?request, "asked over the control socket");
                }
                // What is asked is answered; before and after that the client is waited for.
                place.set(Doing::Stays);
                let reply = ask(request, controller).await;
                place.set(Doing::Waits);
                reply
            }
            Err(message) => refusal(message),
        };
        if !say(&mut write, &reply).await {
            return;
        }
    }
}

/// Whether the client has closed its end, which is more than to say that it writes no more. Asked of the
/// kernel: what the runtime knows of the socket may be older.
fn has_gone(to: &UnixStream) -> bool {
    let mut asked = [PollFd::new(to, PollFlags::empty())];
    match poll(&mut asked, Some(&Timespec::default())) {
        Ok(_) => asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR),
        Err(_) => true,
    }
}

async fn ask(request: Request, controller: &mpsc::Sender<Question>) -> Value {
    let (reply, answer) = oneshot::channel();
    if controller.send(Question { request, reply, asked_at: Instant::now() }).await.is_err() {
        return refusal("the control thread is ending");
    }
    answer.await.unwrap_or_else(|_| refusal("the control thread ended before it answered"))
}

/// `false`: the client does not listen.
async fn say(to: &mut (impl AsyncWriteExt + Unpin), reply: &Value) -> bool {
    let line = format!("{reply}\n");
    matches!(timeout(WRITE_TIME_MAX, to.write_all(line.as_bytes())).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn socket_is_private_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let socket = ControlSocket::bind(&path).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "no rest of the move");
    }

    #[test]
    fn stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "as after a crash");
        let live = ControlSocket::bind(&path).unwrap();
        let Err(error) = ControlSocket::bind(&path) else { panic!("took a live socket") };
        assert!(matches!(error, SocketBindError::InUse(_)), "{error}");
        assert!(answers(&path), "and the first still serves");
        drop(live);
    }

    /// The request of a client that was told "no answer" lies in the socket until control is back.
    #[test]
    fn a_command_whose_sender_has_gone_is_not_obeyed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let socket = ControlSocket::bind(&path).unwrap();
        let say = |close: bool| {
            let mut client = StdStream::connect(&path).unwrap();
            let line = b"{\"cmd\":\"stop_word\",\"word\":\"resume\",\"scope\":\"all\"}\n";
            std::io::Write::write_all(&mut client, line).unwrap();
            // To say that nothing more is written is not to go.
            client.shutdown(std::net::Shutdown::Write).unwrap();
            (!close).then_some(client)
        };
        let _gone = say(true);
        let _stays = say(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (questions, mut asked) = mpsc::channel(4);
            let listener = UnixListener::from_std(socket.listener.try_clone().unwrap()).unwrap();
            tokio::spawn(serve(listener, questions));
            let wait = Duration::from_millis(300);
            let first = timeout(wait, asked.recv()).await.unwrap().unwrap();
            assert!(first.request.writes() && !first.is_given_up());
            assert!(timeout(wait, asked.recv()).await.is_err(), "two were obeyed");
        });
    }

    #[test]
    fn anything_but_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        std::fs::write(&path, "precious").unwrap();
        let Err(error) = ControlSocket::bind(&path) else { panic!("took a file") };
        assert!(matches!(error, SocketBindError::NotASocket(_)), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn successor_keeps_its_file_when_the_predecessor_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let first = ControlSocket::bind(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _second = ControlSocket::bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
