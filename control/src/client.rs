//! The command line's side of the control socket.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use crate::request::Request;

/// Longest wait for a reply. A profile switch answers within about 1 s.
pub const REPLY_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest reply.
const REPLY_BYTES_MAX: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no gateway runs at {}: start it with `wirepace run`, or check name and state_dir in the config", .0.display())]
    NotRunning(PathBuf),
    /// The socket keeps this user out.
    #[error("{}: permission denied: it lets in root, the user that runs the gateway and, if the config names one, [control] group", .0.display())]
    Permission(PathBuf),
    /// It listens and does not answer.
    #[error("{}: no answer within {} s: the control thread is stuck or has no CPU; what it had begun with may still take effect, what it had not is not obeyed later (`wirepace status` tells); stop words still work with --direct", path.display(), after.as_secs_f32())]
    Timeout {
        /// The socket.
        path: PathBuf,
        /// How long it was waited.
        after: Duration,
    },
    /// The gateway said no, and why.
    #[error("{message}")]
    Refused {
        /// Its words.
        message: String,
        /// The whole reply.
        reply: Box<Value>,
    },
    /// What came back is not a reply.
    #[error("{}: not a wirepace control socket, or another version: {message}", path.display())]
    Protocol {
        /// The socket.
        path: PathBuf,
        /// What is wrong with the reply.
        message: String,
    },
    /// The system failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// How.
        source: std::io::Error,
    },
}

impl ClientError {
    /// It is not for this user, whichever way it is asked.
    pub fn is_not_permitted(&self) -> bool {
        match self {
            Self::Permission(_) => true,
            Self::Refused { reply, .. } => reply["not_permitted"] == true,
            _ => false,
        }
    }

    /// The gateway can never obey that, such as a name that there is not: nothing has failed.
    pub fn is_bad_usage(&self) -> bool {
        matches!(self, Self::Refused { reply, .. } if reply["bad_usage"] == true)
    }
}

/// Asks the gateway behind `socket` and waits up to [`REPLY_TIME_MAX`].
///
/// # Errors
/// [`ClientError`]; a reply with `error` in it is [`ClientError::Refused`].
pub fn request(socket: &Path, request: &Request) -> Result<Value, ClientError> {
    request_within(socket, request, REPLY_TIME_MAX)
}

/// Like [`request`], with another limit for each wait, above 0.
///
/// # Errors
/// Like [`request`].
pub fn request_within(
    socket: &Path,
    request: &Request,
    wait: Duration,
) -> Result<Value, ClientError> {
    let path = socket.to_owned();
    let line = exchange(socket, request, wait).map_err(|source| match source.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => ClientError::NotRunning(path),
        ErrorKind::PermissionDenied => ClientError::Permission(path),
        ErrorKind::WouldBlock | ErrorKind::TimedOut => ClientError::Timeout { path, after: wait },
        _ => ClientError::Io { path, source },
    })?;
    let protocol = |message: String| ClientError::Protocol { path: socket.to_owned(), message };
    if line.is_empty() {
        return Err(protocol("it closed the connection without a reply".to_owned()));
    }
    let reply: Value = serde_json::from_slice(&line).map_err(|e| protocol(e.to_string()))?;
    match reply.get("error").and_then(Value::as_str) {
        Some(message) => {
            Err(ClientError::Refused { message: message.to_owned(), reply: Box::new(reply) })
        }
        None => Ok(reply),
    }
}

fn exchange(socket: &Path, request: &Request, wait: Duration) -> std::io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(wait))?;
    stream.set_write_timeout(Some(wait))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut reply = Vec::new();
    BufReader::new(stream).take(REPLY_BYTES_MAX).read_until(b'\n', &mut reply)?;
    Ok(reply)
}
