//! What is kept when a scope comes to be contained: one directory with all that was known then.
//!
//! Beside what control knows it has what others collect ([`Beside`]): packets, the host, sockets.
//! [`Bundles::note`] keeps the last samples, [`Bundles::begin`] hands everything over to a thread of its
//! own, which writes beside the place and moves it there when it is whole. Control does not wait for it,
//! forwarding does not know of it, and there are never more than a few bundles.
//!
//! The thread is there from the start, made by whoever makes the [`Bundles`]: one that control started would be
//! confined as control is, and could collect nothing.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::{fs, io};

use dataplane::state_dir::make_private_dir;
use model::sample::{End, Sample};
use model::time::Nanos;
use serde_json::{Value, json};

use crate::registry::Registry;

/// Rows that are kept: the last second or so at a thousandth of 5 million packets per second.
const ROWS_MAX: usize = 4_096;
/// Bundles that are kept; the oldest goes.
const BUNDLES_MAX: usize = 8;
/// A longer file is left out: a bundle is some MiB at most.
const FILE_BYTES_MAX: usize = 4 << 20;
/// Only the user of the gateway reads it.
const MODE: u32 = 0o700;

/// Writes a file, given the scope that is contained, such as `class:orders`, and the path. The error is why it is
/// missing.
pub type Collect = dyn Fn(&str, &Path) -> Result<(), String> + Send + Sync;

/// A file of a bundle that control itself cannot write. It is made on the bundle's own thread, so that it may
/// wait; it bounds itself in time and size.
pub struct Beside {
    /// Its name.
    pub file: &'static str,
    /// Makes it.
    pub collect: Box<Collect>,
}

/// A bundle to write, with what is collected.
type Job = Box<dyn FnOnce(&[Beside]) -> io::Result<()> + Send>;

/// See the module's text.
pub struct Bundles {
    dir: PathBuf,
    rows: VecDeque<Sample>,
    /// To the thread, which ends with it.
    jobs: Option<Sender<Job>>,
    outcomes: Receiver<io::Result<()>>,
    thread: Option<JoinHandle<()>>,
    /// A job is with the thread.
    is_writing: bool,
    written: u64,
    failed: u64,
    skipped: u64,
}

impl Bundles {
    /// Bundles in `dir`, which is made with the first one, with what `beside` collects.
    pub fn new(dir: PathBuf, beside: Vec<Beside>) -> Self {
        let (jobs, inbox) = channel::<Job>();
        let (tell, outcomes) = channel();
        let write = move || {
            for job in inbox {
                let outcome = catch_unwind(AssertUnwindSafe(|| job(&beside)));
                let outcome = outcome.unwrap_or_else(|_| Err(io::Error::other("it panicked")));
                if tell.send(outcome).is_err() {
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new().name("wp-bundle".to_owned()).spawn(write);
        let thread = thread.inspect_err(|error| tracing::warn!(%error, "there will be no bundles"));
        Self {
            dir,
            rows: VecDeque::with_capacity(ROWS_MAX),
            jobs: Some(jobs),
            outcomes,
            thread: thread.ok(),
            is_writing: false,
            written: 0,
            failed: 0,
            skipped: 0,
        }
    }

    /// Keeps a sample.
    pub fn note(&mut self, row: &Sample) {
        if self.rows.len() == ROWS_MAX {
            self.rows.pop_front();
        }
        self.rows.push_back(*row);
    }

    /// Begins the bundle of a decision at `now`, with `parts` as its files, each `NAME.json`. While one is
    /// being written another is only counted: it would say the same.
    pub fn begin(
        &mut self,
        now: Nanos,
        (machine, scope): (&str, &str),
        mut parts: Vec<(&'static str, Value)>,
    ) {
        self.settle();
        if self.is_writing {
            self.skipped += 1;
            return;
        }
        let rows: Vec<Value> = self.rows.iter().map(sample_json).collect();
        parts.push(("samples", Value::from(rows)));
        let name = format!("{:020}-{machine}-{}", now.0, scope.replace(':', "-"));
        let (dir, scope) = (self.dir.clone(), scope.to_owned());
        let job: Job = Box::new(move |beside| write(&dir, (&name, &scope), now, &parts, beside));
        self.is_writing = true;
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            self.end(Err(io::Error::other("nobody writes it")));
        }
    }

    /// Looks whether the last one is done.
    fn settle(&mut self) {
        match self.outcomes.try_recv() {
            Ok(outcome) => self.end(outcome),
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => {}
        }
    }

    fn end(&mut self, outcome: io::Result<()>) {
        self.is_writing = false;
        match outcome {
            Ok(()) => self.written += 1,
            Err(error) => {
                tracing::warn!(%error, "a bundle was not written");
                self.failed += 1;
            }
        }
    }

    /// Puts its numbers on the list.
    pub fn publish(&mut self, r: &mut Registry) {
        self.settle();
        let help = "Bundles of what was known when a scope came to be contained.";
        r.counter("bundles", help, &[], self.written);
        r.counter("bundles_failed", "Bundles that could not be written.", &[], self.failed);
        let help = "Scopes that came to be contained while a bundle was being written.";
        r.counter("bundles_skipped", help, &[], self.skipped);
    }
}

impl Drop for Bundles {
    /// A bundle that was begun is finished: it is a few files.
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take() {
            // It catches its panics.
            let _ = thread.join();
        }
        self.settle();
    }
}

fn write(
    dir: &Path,
    (name, scope): (&str, &str),
    now: Nanos,
    parts: &[(&'static str, Value)],
    collected: &[Beside],
) -> io::Result<()> {
    make_private_dir(dir, MODE).map_err(io::Error::other)?;
    let beside = dir.join(format!(".{name}.new"));
    if beside.exists() {
        fs::remove_dir_all(&beside)?;
    }
    make_private_dir(&beside, MODE).map_err(io::Error::other)?;
    let mut missing: Vec<(&str, String)> = Vec::new();
    let mut files = Vec::new();
    for (part, value) in parts {
        let text = format!("{value:#}\n");
        if text.len() > FILE_BYTES_MAX {
            missing.push((part, "too long".to_owned()));
            continue;
        }
        let file = format!("{part}.json");
        fs::write(beside.join(&file), text)?;
        files.push(file);
    }
    for Beside { file, collect } in collected {
        match collect(scope, &beside.join(file)) {
            Ok(()) => files.push((*file).to_owned()),
            Err(why) => missing.push((file, why)),
        }
    }
    let missing: Value =
        missing.into_iter().map(|(part, why)| (part.to_owned(), json!(why))).collect();
    let manifest = json!({ "at_ns": now, "files": files, "missing": missing });
    fs::write(beside.join("manifest.json"), format!("{manifest:#}\n"))?;
    fs::rename(&beside, dir.join(name))?;
    prune(dir)
}

/// The oldest go. Names begin with their time.
fn prune(dir: &Path) -> io::Result<()> {
    let mut names: Vec<_> = fs::read_dir(dir)?
        .filter_map(|entry| Some(entry.ok()?.file_name()))
        .filter(|name| name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit))
        .collect();
    names.sort();
    let surplus = names.len().saturating_sub(BUNDLES_MAX);
    names[..surplus].iter().try_for_each(|name| fs::remove_dir_all(dir.join(name)))
}

fn sample_json(row: &Sample) -> Value {
    let end = match row.end {
        End::Sent(release) => release.name(),
        End::Dropped(reason) => reason.name(),
    };
    json!({
        "packet_id": row.packet_id,
        "correlation_id": row.correlation_id,
        "flow": row.flow,
        "class": row.class,
        "kind": row.kind.name(),
        "port": row.port,
        "profile": row.profile,
        "len": row.len,
        "messages": row.messages,
        "t_dispatch_ns": row.t_dispatch,
        "t_due_ns": row.t_due,
        "t_sched_ns": row.t_sched,
        "t_eligible_ns": row.t_eligible,
        "t_tx_ns": row.t_tx,
        "t_wire_ns": row.t_wire,
        "backlog_bytes": row.backlog_bytes,
        "end": end,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle(bundles: &mut Bundles, at: u64) {
        let parts = vec![("status", json!({ "at": at })), ("long", json!("x".repeat(5 << 20)))];
        bundles.begin(Nanos(at), ("drain", "class:orders"), parts);
        let outcome = bundles.outcomes.recv().unwrap();
        bundles.end(outcome);
    }

    #[test]
    fn a_bundle_is_whole_says_what_it_lacks_and_the_oldest_goes() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("bundles");
        let beside = vec![
            Beside {
                file: "host.txt",
                collect: Box::new(|scope, path| fs::write(path, scope).map_err(|e| e.to_string())),
            },
            Beside { file: "none.txt", collect: Box::new(|_, _| Err("there is none".to_owned())) },
        ];
        let mut bundles = Bundles::new(dir.clone(), beside);
        (1..=12).for_each(|at| bundle(&mut bundles, at));
        let mut names: Vec<String> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), BUNDLES_MAX, "{names:?}");
        assert_eq!(names[7], "00000000000000000012-drain-class-orders");
        let read = |file: &str| -> Value {
            serde_json::from_slice(&fs::read(dir.join(&names[7]).join(file)).unwrap()).unwrap()
        };
        assert_eq!(read("status.json")["at"], 12);
        assert_eq!(read("samples.json"), json!([]));
        let manifest = read("manifest.json");
        assert_eq!(manifest["files"], json!(["status.json", "samples.json", "host.txt"]));
        assert_eq!(manifest["missing"], json!({"long": "too long", "none.txt": "there is none"}));
        assert_eq!(fs::read(dir.join(&names[7]).join("host.txt")).unwrap(), b"class:orders");
    }

    #[test]
    fn what_is_collected_is_not_confined_where_control_is() {
        let place = tempfile::tempdir().unwrap();
        let socket = |_: &str, path: &Path| {
            let made = std::os::unix::net::UnixStream::pair();
            made.and_then(|_| fs::write(path, "made")).map_err(|error| error.to_string())
        };
        let beside = vec![Beside { file: "socket", collect: Box::new(socket) }];
        let mut bundles = Bundles::new(place.path().join("bundles"), beside);
        let control = crate::confine::spawn("wp-control", move || {
            bundle(&mut bundles, 1);
            bundles.written
        });
        assert_eq!(control.unwrap().join().unwrap(), Some(1));
        let name = "bundles/00000000000000000001-drain-class-orders/socket";
        assert_eq!(fs::read(place.path().join(name)).unwrap(), b"made");
    }

    #[test]
    fn what_cannot_be_written_is_counted() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        fs::write(&file, "").unwrap();
        let mut bundles = Bundles::new(file, Vec::new());
        bundles.begin(Nanos(1), ("drain", "class:orders"), Vec::new());
        let outcome = bundles.outcomes.recv().unwrap();
        bundles.end(outcome);
        assert_eq!((bundles.written, bundles.failed), (0, 1));
    }
}
