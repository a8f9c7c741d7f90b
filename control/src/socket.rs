//! The control socket: JSON lines over a Unix socket. Who may open it is the file's affair, who may change
//! something that of [`Access`].
//!
//! Readers and writers have places of their own, so that no number of readers keeps a command out. What
//! changes something is done one after the other; a stop word waits for nobody.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use model::time::Nanos;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use crate::access::{Access, Right};
use crate::client::REPLY_TIME_MAX;
use crate::log_limit::LogLimit;
use crate::peer::Peer;
use crate::places::{Doing, Place, Places};
use crate::request::{Request, not_permitted, refusal};

/// Longest request, its newline included: a config of 1 MiB, escaped.
pub const LINE_BYTES_MAX: usize = 2 << 20;
/// The same for those who may only look.
pub const READER_LINE_BYTES_MAX: usize = 4 << 10;
/// A client that has not sent a whole line for so long is sent away.
pub const IDLE_TIME_MAX: Duration = Duration::from_secs(30);
/// A client that does not read its reply for so long is sent away.
const WRITE_TIME_MAX: Duration = Duration::from_secs(5);
/// Clients of each right at a time; a new one takes the place of the one that has been idle for longest, so
/// that a `halt` always gets through.
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
        source: io::Error,
    },
}

/// The listening socket; its file goes with it, if it is still the same file.
pub(crate) struct ControlSocket {
    pub(crate) listener: StdListener,
    path: PathBuf,
    inode: u64,
}

impl ControlSocket {
    /// Makes the socket for whom `access` lets in. A socket on which nobody answers is replaced.
    ///
    /// # Errors
    /// In use, not a socket, or refused by the system.
    pub(crate) fn bind(path: &Path, access: &Access) -> Result<Self, SocketBindError> {
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                return Err(SocketBindError::NotASocket(path.to_owned()));
            }
            // A socket without permission is somebody's too.
            Ok(_) if answers(path) => return Err(SocketBindError::InUse(path.to_owned())),
            _ => {}
        }
        let make = || {
            // Made in a directory of its own and moved: at no moment may others open it, or find none.
            let private = path.with_file_name("new");
            remove_rest(&private)?;
            DirBuilder::new().mode(0o700).create(&private)?;
            let new = private.join("s");
            let listener = StdListener::bind(&new)?;
            listener.set_nonblocking(true)?;
            access.grant(&new)?;
            let inode = fs::symlink_metadata(&new)?.ino();
            fs::rename(&new, path)?;
            fs::remove_dir(&private)?;
            Ok(Self { listener, path: path.to_owned(), inode })
        };
        make().map_err(|source| SocketBindError::Io { path: path.to_owned(), source })
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode);
        if ours {
            // At worst a stale socket stays; the next start replaces it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes what a start that was killed has left of the move.
fn remove_rest(private: &Path) -> io::Result<()> {
    match fs::remove_dir_all(private) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Whether anybody answers: anything but "nobody is there" counts.
fn answers(path: &Path) -> bool {
    use io::ErrorKind::{ConnectionRefused, NotFound};
    match StdStream::connect(path) {
        Ok(_) => true,
        Err(error) => !matches!(error.kind(), ConnectionRefused | NotFound),
    }
}

/// What all clients share.
struct Desk {
    controller: mpsc::Sender<Question>,
    access: Access,
    /// Who changes something holds it; others wait in the order in which they came.
    turn: Mutex<()>,
    log: StdMutex<LogLimit>,
    opened: Instant,
}

/// A client that has a place.
struct Client<'a> {
    peer: Peer,
    right: Right,
    place: &'a Place,
    desk: &'a Desk,
}

/// Serves for ever.
pub(crate) async fn serve(
    listener: UnixListener,
    controller: mpsc::Sender<Question>,
    access: Access,
) {
    let (readers, writers) = (Places::new(CLIENTS_MAX), Places::new(CLIENTS_MAX));
    let (turn, log) = (Mutex::new(()), StdMutex::default());
    let desk = Arc::new(Desk { controller, access, turn, log, opened: Instant::now() });
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no client taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        // Whom the kernel does not name is not served.
        let Ok(peer) = Peer::of(&stream) else { continue };
        let right = desk.access.right_of(&peer);
        let place = match right {
            Right::Read => readers.take().await,
            Right::Write => writers.take().await,
        };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            let client = Client { peer, right, place: &place, desk: &desk };
            tokio::select! {
                () = client.serve(stream) => {}
                () = place.is_taken_away() => {}
            }
        });
    }
}

impl Client<'_> {
    /// Until it goes, errs or falls silent.
    async fn serve(&self, mut stream: UnixStream) {
        let (read, mut write) = stream.split();
        let mut read = BufReader::new(read);
        let mut line = Vec::new();
        let line_bytes_max = match self.right {
            Right::Read => READER_LINE_BYTES_MAX,
            Right::Write => LINE_BYTES_MAX,
        };
        loop {
            line.clear();
            let mut bounded = (&mut read).take(line_bytes_max as u64);
            match timeout(IDLE_TIME_MAX, bounded.read_until(b'\n', &mut line)).await {
                Ok(Ok(n)) if n > 0 => {}
                // Gone, broken, or silent.
                _ => return,
            }
            if line.last() != Some(&b'\n') {
                if line.len() >= line_bytes_max {
                    let limit = line_bytes_max / 1024;
                    let said = refusal(format!("the line is longer than {limit} KiB"));
                    say(&mut write, &said).await;
                }
                // Else half a line and then nothing: it was never a request.
                return;
            }
            let reply = match Request::parse(&line) {
                Ok(request) => match self.answer(request, write.as_ref()).await {
                    Some(reply) => reply,
                    None => return,
                },
                Err(message) => refusal(message),
            };
            if !say(&mut write, &reply).await {
                return;
            }
        }
    }

    /// The reply. `None`: who asked for a change has gone.
    async fn answer(&self, request: Request, stream: &UnixStream) -> Option<Value> {
        if request.is_for_writers() && self.right == Right::Read {
            self.tell_refused(&request);
            let writers = self.desk.access.writers();
            return Some(not_permitted(format!("not permitted: that is for {writers}")));
        }
        let asked_at = Instant::now();
        // While it waits for its turn it may be sent away: nothing has been done for it.
        let _turn = match request.takes_turns() {
            true => Some(self.desk.turn.lock().await),
            false => None,
        };
        let (uid, pid) = (self.peer.uid, self.peer.pid);
        // What is asked to be done is done; whoever only looks may be sent away for one who waits.
        let mut doing = Doing::IsServed;
        if request.writes() {
            if has_gone(stream) {
                tracing::warn!(uid, pid, ?request, "not obeyed: who asked is gone");
                return None;
            }
            tracing::info!(uid, pid, ?request, "asked over the control socket");
            doing = Doing::Stays;
        }
        self.place.set(doing);
        let reply = self.desk.ask(request, asked_at).await;
        self.place.set(Doing::Waits);
        Some(reply)
    }

    /// At most one line a second: whoever may only look must not fill a disk.
    fn tell_refused(&self, request: &Request) {
        let now = u64::try_from(self.desk.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
        // Nothing that holds it panics half way through a change.
        let mut log = self.desk.log.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(n) = log.due("not permitted", 1, Nanos(now)) {
            let (uid, pid) = (self.peer.uid, self.peer.pid);
            tracing::warn!(uid, pid, n, ?request, "not permitted over the control socket");
        }
    }
}

impl Desk {
    async fn ask(&self, request: Request, asked_at: Instant) -> Value {
        let (reply, answer) = oneshot::channel();
        if self.controller.send(Question { request, reply, asked_at }).await.is_err() {
            return refusal("the control thread is ending");
        }
        answer.await.unwrap_or_else(|_| refusal("the control thread ended before it answered"))
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

/// `false`: the client does not listen.
async fn say(to: &mut (impl AsyncWriteExt + Unpin), reply: &Value) -> bool {
    let line = format!("{reply}\n");
    matches!(timeout(WRITE_TIME_MAX, to.write_all(line.as_bytes())).await, Ok(Ok(())))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use model::config::SocketMode;

    use super::*;

    fn bind(path: &Path) -> Result<ControlSocket, SocketBindError> {
        ControlSocket::bind(path, &access(SocketMode::Group))
    }

    fn access(mode: SocketMode) -> Access {
        let own = Some(rustix::process::getegid().as_raw().to_string());
        let config = model::config::Access { mode, group: own, ..Default::default() };
        Access::of(&config).unwrap()
    }

    #[test]
    fn socket_has_its_mode_and_goes_with_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        for mode in [SocketMode::Owner, SocketMode::Group, SocketMode::All] {
            // As a start that was killed leaves it.
            fs::create_dir(dir.path().join("new")).unwrap();
            drop(StdListener::bind(dir.path().join("new/s")).unwrap());
            let socket = ControlSocket::bind(&path, &access(mode)).unwrap();
            let found = fs::symlink_metadata(&path).unwrap();
            assert_eq!(found.permissions().mode() & 0o777, mode.bits());
            assert_eq!(found.gid(), rustix::process::getegid().as_raw());
            drop(socket);
            assert!(!path.exists());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "no rest of the move");
    }

    #[test]
    fn stale_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        drop(StdListener::bind(&path).unwrap());
        assert!(path.exists(), "as after a crash");
        let live = bind(&path).unwrap();
        let Err(error) = bind(&path) else { panic!("took a live socket") };
        assert!(matches!(error, SocketBindError::InUse(_)), "{error}");
        assert!(answers(&path), "and the first still serves");
        drop(live);
    }

    /// The request of a client that was told "no answer" lies in the socket until control is back.
    #[test]
    fn a_command_whose_sender_has_gone_is_not_obeyed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let socket = bind(&path).unwrap();
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
            tokio::spawn(serve(listener, questions, access(SocketMode::Group)));
            let wait = Duration::from_millis(300);
            let first = timeout(wait, asked.recv()).await.unwrap().unwrap();
            assert!(first.request.writes() && !first.is_given_up());
            assert!(timeout(wait, asked.recv()).await.is_err(), "two were obeyed");
        });
    }

    /// A served socket; what reaches the controller comes out of the receiver.
    fn served(path: &Path) -> (ControlSocket, mpsc::Receiver<Question>) {
        let socket = bind(path).unwrap();
        let (questions, asked) = mpsc::channel(4);
        let listener = UnixListener::from_std(socket.listener.try_clone().unwrap()).unwrap();
        tokio::spawn(serve(listener, questions, access(SocketMode::Group)));
        (socket, asked)
    }

    #[tokio::test]
    async fn one_change_at_a_time_and_nobody_who_looks_or_stops_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let (_socket, mut asked) = served(&path);
        let say = async |line: &str| {
            let mut client = UnixStream::connect(&path).await.unwrap();
            client.write_all(format!("{line}\n").as_bytes()).await.unwrap();
            client
        };
        let wait = Duration::from_secs(20);
        let _first = say(r#"{"cmd":"config_rollback"}"#).await;
        let first = timeout(wait, asked.recv()).await.unwrap().unwrap();
        let _second = say(r#"{"cmd":"profile_set","name":"smooth"}"#).await;
        // These come later and get there all the same.
        let _look = say(r#"{"cmd":"status"}"#).await;
        let look = timeout(wait, asked.recv()).await.unwrap().unwrap();
        assert_eq!(look.request, Request::Status {});
        let _stop = say(r#"{"cmd":"stop_word","word":"halt","scope":"all"}"#).await;
        let stop = timeout(wait, asked.recv()).await.unwrap().unwrap();
        assert!(matches!(stop.request, Request::StopWord { .. }));
        first.reply.send(Value::Null).unwrap();
        let second = timeout(wait, asked.recv()).await.unwrap().unwrap();
        assert_eq!(second.request, Request::ProfileSet { name: "smooth".into() });
    }

    #[tokio::test]
    async fn whoever_waits_for_a_turn_may_be_sent_away_and_who_has_it_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let (_socket, mut asked) = served(&path);
        let wait = Duration::from_secs(20);
        let change = b"{\"cmd\":\"config_confirm\"}\n";
        let mut clients = Vec::new();
        let mut under_way = None;
        for _ in 0..=CLIENTS_MAX {
            let mut client = UnixStream::connect(&path).await.unwrap();
            client.write_all(change).await.unwrap();
            clients.push(client);
            if under_way.is_none() {
                under_way = Some(timeout(wait, asked.recv()).await.unwrap().unwrap());
            }
        }
        // One more than there are places: the second has waited for longest.
        let mut bytes = Vec::new();
        timeout(wait, clients[1].read_to_end(&mut bytes)).await.unwrap().ok();
        assert!(bytes.is_empty());
        under_way.unwrap().reply.send(Value::Null).unwrap();
        let mut line = [0; 5];
        timeout(wait, clients[0].read_exact(&mut line)).await.unwrap().unwrap();
        assert_eq!(&line, b"null\n");
    }

    #[test]
    fn anything_but_a_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        fs::write(&path, "precious").unwrap();
        let Err(error) = bind(&path) else { panic!("took a file") };
        assert!(matches!(error, SocketBindError::NotASocket(_)), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn successor_keeps_its_file_when_the_predecessor_goes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gw.sock");
        let first = bind(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _second = bind(&path).unwrap();
        drop(first);
        assert!(path.exists());
    }
}
