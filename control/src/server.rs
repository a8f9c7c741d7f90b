//! The control thread: one OS thread, one runtime, the tick, the exporter and the control socket.
//!
//! [`Server::bind`] takes both addresses, so that what is wrong with them is known at start;
//! [`Server::spawn`] starts the thread. A panic in it is logged and counted, and the thread starts
//! again from what the cores have in force; forwarding does not notice.

use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dataplane::patience::Patience;
use serde_json::Value;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::access::Access;
use crate::confine;
use crate::controller::{Answer, Controller, Fatal, Kpis};
use crate::http::{self, HttpBindError};
use crate::request::refusal;
use crate::socket::{self, ControlSocket, Question, SocketBindError};

/// Pause before the control thread starts again: a panic that comes back at once must not burn the
/// core that it may share with others.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// While a switch is under way events are looked at so often.
const POLL_EVERY: Duration = Duration::from_millis(1);
/// Requests that may wait for the controller.
const QUESTIONS_MAX: usize = 64;

/// Why control cannot start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The exporter's address.
    #[error(transparent)]
    Http(#[from] HttpBindError),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] SocketBindError),
}

/// Both listening sockets, not served yet.
pub struct Server {
    http: Option<std::net::TcpListener>,
    socket: ControlSocket,
    access: Access,
}

/// What main gives and is told, on the control thread.
pub struct Hooks {
    /// Once: the process must end. The thread ends after it.
    pub on_fatal: Box<dyn FnOnce(&Fatal) + Send>,
    /// After each tick before which every data core has made progress.
    pub on_progress: Box<dyn FnMut() + Send>,
}

/// The running control thread.
pub struct Handle<K: Kpis> {
    stop: Arc<Stop>,
    thread: JoinHandle<Option<Controller<K>>>,
}

#[derive(Default)]
struct Stop {
    wanted: AtomicBool,
    bell: Notify,
}

/// How a run of the runtime ended.
enum Exit {
    Stopped,
    Fatal(Fatal),
}

impl Server {
    /// Takes the exporter's address (`None` = off) and makes the control socket for whom `access` lets in.
    ///
    /// # Errors
    /// Either cannot be had; the message says what to do.
    pub fn bind(
        http: Option<SocketAddr>,
        socket: &Path,
        access: Access,
    ) -> Result<Self, BindError> {
        let socket = ControlSocket::bind(socket, &access)?;
        let http = http.map(http::bind).transpose()?;
        Ok(Self { http, socket, access })
    }

    /// The exporter's address, with the port that port 0 became.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().and_then(|listener| listener.local_addr().ok())
    }

    /// Starts the control thread, confined to what it needs of the kernel.
    ///
    /// # Errors
    /// The system gives no thread, or does not confine it.
    pub fn spawn<K: Kpis + 'static>(
        self,
        mut controller: Controller<K>,
        hooks: Hooks,
    ) -> std::io::Result<Handle<K>> {
        let stop = Arc::new(Stop::default());
        let stopped = Arc::clone(&stop);
        let mut on_progress = hooks.on_progress;
        let thread = confine::spawn("wp-control", move || {
            if let Some(fatal) = self.run(&mut controller, &stopped, &mut on_progress) {
                tracing::error!("{fatal}");
                (hooks.on_fatal)(&fatal);
            }
            controller
        })?;
        Ok(Handle { stop, thread })
    }

    /// Runs until it is stopped or has to end, through every panic.
    fn run<K: Kpis>(
        &self,
        controller: &mut Controller<K>,
        stop: &Stop,
        on_progress: &mut dyn FnMut(),
    ) -> Option<Fatal> {
        loop {
            // What a panic leaves behind is the controller's counters and rings, each of which is
            // whole after any prefix of a tick; `recover` does away with the rest.
            let run = AssertUnwindSafe(|| self.run_once(controller, stop, on_progress));
            match catch_unwind(run) {
                Ok(Ok(Exit::Stopped)) => return None,
                Ok(Ok(Exit::Fatal(fatal))) => return Some(fatal),
                Ok(Err(error)) => tracing::error!(%error, "control cannot serve; starts again"),
                Err(panic) => {
                    tracing::error!(panic = text_of(&*panic), "control panicked; starts again");
                }
            }
            if stop.wanted.load(Ordering::Acquire) {
                return None;
            }
            std::thread::sleep(RESTART_PAUSE);
            let recovered = catch_unwind(AssertUnwindSafe(|| {
                let now = controller.now();
                controller.recover(now);
            }));
            if let Err(panic) = recovered {
                tracing::error!(panic = text_of(&*panic), "recovery panicked");
            }
        }
    }

    fn run_once<K: Kpis>(
        &self,
        controller: &mut Controller<K>,
        stop: &Stop,
        on_progress: &mut dyn FnMut(),
    ) -> std::io::Result<Exit> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
            let (publisher, snapshots) = watch::channel(controller.snapshot());
            if let Some(listener) = &self.http {
                let listener = tokio::net::TcpListener::from_std(listener.try_clone()?)?;
                tokio::spawn(http::serve(listener, snapshots));
            }
            let listener = tokio::net::UnixListener::from_std(self.socket.listener.try_clone()?)?;
            tokio::spawn(socket::serve(listener, questions, self.access.clone()));
            let publish = |controller: &Controller<K>| {
                publisher.send_replace(controller.snapshot());
            };
            Ok(turn(controller, stop, on_progress, asked, publish).await)
        })
    }
}

type Reply = oneshot::Sender<Value>;
/// What clients wait for.
type Waiting = Vec<(Answer, Reply)>;

/// The loop of the control thread.
async fn turn<K: Kpis>(
    controller: &mut Controller<K>,
    stop: &Stop,
    on_progress: &mut dyn FnMut(),
    mut asked: mpsc::Receiver<Question>,
    publish: impl Fn(&Controller<K>),
) -> Exit {
    let length = Duration::from_nanos(controller.tick_length().0).max(POLL_EVERY);
    let mut ticks = tokio::time::interval(length);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut waiting = Waiting::new();
    loop {
        // Whoever stopped a thread that was between two runs rang before it listened.
        if stop.wanted.load(Ordering::Acquire) {
            let now = controller.now();
            // The cores have ended or are about to: what they left is still counted.
            return controller.tick(now).map_or_else(Exit::Fatal, |()| Exit::Stopped);
        }
        tokio::select! {
            biased;
            () = stop.bell.notified() => {}
            _ = ticks.tick() => {
                let now = controller.now();
                if let Err(fatal) = controller.tick(now) {
                    return Exit::Fatal(fatal);
                }
                if controller.every_core_moves() {
                    on_progress();
                }
            }
            Some(question) = asked.recv() => {
                let now = controller.now();
                let answer = if question.is_given_up() {
                    Answer::Now(refusal("it comes too late: the control thread was stuck"))
                } else {
                    controller.handle(&question.request, now)
                };
                waiting.push((answer, question.reply));
            }
            () = tokio::time::sleep(POLL_EVERY), if !waiting.is_empty() => {
                let now = controller.now();
                controller.poll(now);
            }
        }
        let answers = answer(controller, &mut waiting);
        publish(controller);
        answers.into_iter().for_each(|(reply, value)| drop(reply.send(value)));
    }
}

/// Takes the answers that are there out of `waiting`. Whoever gets one finds it in the exporter too,
/// so they are sent after the next snapshot.
fn answer<K: Kpis>(controller: &mut Controller<K>, waiting: &mut Waiting) -> Vec<(Reply, Value)> {
    if waiting.is_empty() {
        return Vec::new();
    }
    let now = controller.now();
    let mut answers = Vec::new();
    for (answer, reply) in std::mem::take(waiting) {
        match answer {
            Answer::Now(value) => answers.push((reply, value)),
            Answer::Later(ticket) => match controller.take_answer(ticket, now) {
                Some(value) => answers.push((reply, value)),
                None => waiting.push((answer, reply)),
            },
        }
    }
    answers
}

impl<K: Kpis> Handle<K> {
    /// Ends the thread after one last tick and gives the controller back. Stop the cores first: what
    /// they leave is then in that tick. `None`: the thread died outside of what it guards.
    pub fn stop(self) -> Option<Controller<K>> {
        self.stop.wanted.store(true, Ordering::Release);
        self.stop.bell.notify_one();
        self.thread.join().ok().flatten()
    }

    /// Like [`Handle::stop`], but gives up on a thread that does not end within `wait`: forwarding has
    /// ended in order by then, and a process that hangs could not be restarted.
    pub fn stop_within(self, wait: Duration) -> Option<Controller<K>> {
        self.stop.wanted.store(true, Ordering::Release);
        self.stop.bell.notify_one();
        let mut patience = Patience::new(wait);
        while !self.thread.is_finished() {
            if !patience.wait() {
                return None;
            }
        }
        self.thread.join().ok().flatten()
    }

    /// Whether the thread has ended, which without [`Handle::stop`] is a fatal end.
    pub fn has_ended(&self) -> bool {
        self.thread.is_finished()
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text")
}
