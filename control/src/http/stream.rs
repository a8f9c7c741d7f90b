//! Streams of server-sent events, made of the snapshots.
//!
//! A client that has no room for an event does not hold up anything: its next event is made when it has
//! taken the last one, and [`Pulse`] tells when that takes too long.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::{Connection, Snapshots};
use crate::controller::Snapshot;
use crate::places::Doing;

/// Streams of each kind served at a time, which keep their places; the next one is refused.
pub(super) const STREAMS_MAX: usize = 8;
/// Longest time that a client may take for an event.
const TAKE_TIME_MAX: Duration = Duration::from_secs(5);

/// What a stream tells.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    /// What strategies are advised.
    Advice,
    /// All that `status` shows.
    Status,
}

impl Subject {
    const fn name(self) -> &'static str {
        match self {
            Self::Advice => "advice",
            Self::Status => "status",
        }
    }

    /// Longest time between two events.
    const fn every(self) -> Duration {
        match self {
            // Advice older than 1 s reads as neutral.
            Self::Advice => Duration::from_millis(400),
            // Rates of a second can be read; those of less flicker.
            Self::Status => Duration::from_secs(1),
        }
    }

    /// Grows with what is told before its time.
    const fn changes(self, snapshot: &Snapshot) -> u64 {
        match self {
            Self::Advice => snapshot.advice_changes,
            Self::Status => 0,
        }
    }

    fn event(self, snapshot: &Snapshot) -> Event {
        let event = Event::default().event(self.name());
        match self {
            Self::Advice => {
                event.id(snapshot.advice_changes.to_string()).data(snapshot.advice.to_string())
            }
            Self::Status => event.data(snapshot.status.to_string()),
        }
    }
}

/// The streams of one kind.
#[derive(Clone)]
pub(super) struct Streams {
    subject: Subject,
    places: Arc<Semaphore>,
}

impl Streams {
    pub(super) fn new(subject: Subject) -> Self {
        Self { subject, places: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }

    /// Another one, or a refusal.
    pub(super) fn open(&self, snapshots: Snapshots, on: Connection) -> Response {
        let subject = self.subject;
        let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() else {
            let said = format!("{STREAMS_MAX} streams of {} are served already\n", subject.name());
            return (StatusCode::SERVICE_UNAVAILABLE, said).into_response();
        };
        on.pulse.is_stream.store(true, Ordering::Relaxed);
        on.place.set(Doing::Stays);
        let pulse = on.pulse;
        let told = Told { subject, snapshots, changes: None, pulse, _permit: permit };
        let events = futures_util::stream::unfold(told, |mut told| async move {
            let event = told.next().await?;
            Some((Ok::<_, Infallible>(event), told))
        });
        Sse::new(events).into_response()
    }
}

/// Whether a connection has become a stream, and whether its client takes what it is told.
#[derive(Default)]
pub(super) struct Pulse {
    is_stream: AtomicBool,
    /// The client has room for another event.
    beat: Notify,
}

impl Pulse {
    pub(super) fn is_stream(&self) -> bool {
        self.is_stream.load(Ordering::Relaxed)
    }

    /// Ends when the client of a stream has not taken an event for too long.
    pub(super) async fn stops(&self) {
        self.beat.notified().await;
        while timeout(TAKE_TIME_MAX, self.beat.notified()).await.is_ok() {}
    }
}

/// What a stream has told its client.
struct Told {
    subject: Subject,
    snapshots: Snapshots,
    /// [`Subject::changes`] at the last event; `None` before the first.
    changes: Option<u64>,
    pulse: Arc<Pulse>,
    _permit: OwnedSemaphorePermit,
}

impl Told {
    /// The next event. `None`: the control thread ends, or starts again.
    async fn next(&mut self) -> Option<Event> {
        self.pulse.beat.notify_one();
        let due = Instant::now() + self.subject.every();
        loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            let changes = self.subject.changes(&snapshot);
            if self.changes != Some(changes) || Instant::now() >= due {
                self.changes = Some(changes);
                return Some(self.subject.event(&snapshot));
            }
            self.change().await?;
        }
    }

    /// Another snapshot. The client has room all the while.
    async fn change(&mut self) -> Option<()> {
        loop {
            match timeout(self.subject.every(), self.snapshots.changed()).await {
                Ok(changed) => return changed.ok(),
                Err(_) => self.pulse.beat.notify_one(),
            }
        }
    }
}
