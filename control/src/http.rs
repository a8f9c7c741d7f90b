//! `GET /metrics`, `GET /v1/status` and `GET /v1/advice`, from the last snapshot. Nothing here reaches the
//! controller: a scrape costs the control thread the text and nothing else.
//!
//! `/v1/advice` is a stream of server-sent events, one for each change of the advice and one at least every
//! [`EVENT_EVERY`], so that whoever reads knows that it is not old.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::Instant;

use crate::controller::Snapshot;
use crate::places::{Doing, Place, Places};
use crate::registry::OPENMETRICS_CONTENT_TYPE;

/// Connections at a time; a new one takes the place of the one that has sent no header for longest.
const CONNECTIONS_MAX: usize = 16;
/// Longest wait for the header of a request.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(15);
/// Streams of advice served at a time, which keep their places; the next one is refused.
const STREAMS_MAX: usize = 8;
/// Longest life of a stream: a client that has gone without a word must not keep its place for ever. One
/// that is there connects again by itself.
const STREAM_TIME_MAX: Duration = Duration::from_secs(3600);
/// Longest time between two events: advice older than 1 s reads as neutral.
const EVENT_EVERY: Duration = Duration::from_millis(400);
/// Bytes of a request's header; hyper takes no smaller limit.
const HEADER_BYTES_MAX: usize = 8192;
/// Lines of a request's header.
const HEADERS_MAX: usize = 64;
/// Without a free descriptor `accept` fails at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Snapshots = watch::Receiver<Arc<Snapshot>>;

/// What every request may look at.
#[derive(Clone)]
struct Surface {
    snapshots: Snapshots,
    streams: Arc<Semaphore>,
}

/// The connection that a request came on.
#[derive(Clone)]
struct Connection {
    place: Arc<Place>,
    /// It has become a stream, which lives longer.
    is_stream: Arc<AtomicBool>,
}

/// Why the exporter's address cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpBindError {
    /// Anyone who reaches it reads everything: loopback only.
    #[error("control.http = {0}: only a loopback address is allowed, such as 127.0.0.1:9477")]
    NotLoopback(SocketAddr),
    /// The system refused.
    #[error("control.http = {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Takes the address; port 0 takes any free one.
///
/// # Errors
/// Not a loopback address, or the system refused it.
pub(crate) fn bind(address: SocketAddr) -> Result<std::net::TcpListener, HttpBindError> {
    if !address.ip().is_loopback() {
        return Err(HttpBindError::NotLoopback(address));
    }
    let bind = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    bind().map_err(|source| HttpBindError::Bind { address, source })
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, snapshots: Snapshots) {
    let surface = Surface { snapshots, streams: Arc::new(Semaphore::new(STREAMS_MAX)) };
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/advice", get(advice))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "there are /metrics, /v1/status and /v1/advice\n")
        })
        .layer(axum::middleware::from_fn(serves))
        .with_state(surface);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false);
    let places = Places::new(CONNECTIONS_MAX);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no connection taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let (place, is_stream) = (Arc::new(places.take().await), Arc::default());
        let of = Connection { place: Arc::clone(&place), is_stream: Arc::clone(&is_stream) };
        let service = TowerToHyperService::new(router.clone().layer(Extension(of)));
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let serve = async {
                let mut connection = pin!(connection);
                // What a client does wrong is the client's affair.
                let ended = tokio::time::timeout(CONNECTION_TIME_MAX, &mut connection).await;
                if ended.is_err() && is_stream.load(Ordering::Relaxed) {
                    let _ = tokio::time::timeout(STREAM_TIME_MAX, connection).await;
                }
            };
            tokio::select! {
                () = serve => {}
                () = place.is_taken_away() => {}
            }
        });
    }
}

/// Its header is there: it no longer waits.
async fn serves(
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    connection.place.set(Doing::IsServed);
    next.run(request).await
}

async fn metrics(State(surface): State<Surface>) -> impl IntoResponse {
    let snapshot = Arc::clone(&surface.snapshots.borrow());
    ([(header::CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE)], snapshot.registry.to_openmetrics())
}

async fn status(State(surface): State<Surface>) -> impl IntoResponse {
    let snapshot = Arc::clone(&surface.snapshots.borrow());
    ([(header::CONTENT_TYPE, "application/json")], format!("{}\n", snapshot.status))
}

async fn advice(
    State(surface): State<Surface>,
    Extension(connection): Extension<Connection>,
) -> Response {
    let Ok(permit) = surface.streams.try_acquire_owned() else {
        let said = format!("{STREAMS_MAX} streams of advice are served already\n");
        return (StatusCode::SERVICE_UNAVAILABLE, said).into_response();
    };
    connection.is_stream.store(true, Ordering::Relaxed);
    connection.place.set(Doing::Stays);
    let told = Told { snapshots: surface.snapshots, changes: None, _permit: permit };
    let events = futures_util::stream::unfold(told, |mut told| async move {
        let event = told.next().await?;
        Some((Ok::<_, Infallible>(event), told))
    });
    Sse::new(events).into_response()
}

/// What a stream has told its client.
struct Told {
    snapshots: Snapshots,
    /// Changes of the advice until the last event; `None` before the first.
    changes: Option<u64>,
    _permit: OwnedSemaphorePermit,
}

impl Told {
    /// The next event. `None`: the control thread ends, or starts again.
    async fn next(&mut self) -> Option<Event> {
        let due = Instant::now() + EVENT_EVERY;
        loop {
            let snapshot = Arc::clone(&self.snapshots.borrow_and_update());
            if self.changes != Some(snapshot.advice_changes) || Instant::now() >= due {
                self.changes = Some(snapshot.advice_changes);
                let id = snapshot.advice_changes.to_string();
                return Some(
                    Event::default().event("advice").id(id).data(snapshot.advice.to_string()),
                );
            }
            self.snapshots.changed().await.ok()?;
        }
    }
}
