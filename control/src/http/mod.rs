//! What is served to read, all from the last snapshot: `/metrics`, `/v1/status`, and the page at `/`. Nothing
//! here reaches the controller: a scrape costs the control thread the text and nothing else.
//!
//! `/v1/advice` and `/v1/live` are streams of server-sent events: the advice at each change, and what the
//! page draws once a second. Both tell something often enough for whoever reads to know that it is not old.

mod host;
mod page;
mod stream;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::watch;

use self::stream::{Pulse, STREAMS_MAX, Streams, Subject};
use crate::controller::Snapshot;
use crate::places::{Doing, Place, Places};
use crate::registry::OPENMETRICS_CONTENT_TYPE;

/// Connections at a time; a new one takes the place of the one that has sent no header for longest. Streams
/// of both kinds leave room for what is asked and answered.
const CONNECTIONS_MAX: usize = 2 * STREAMS_MAX + 8;
/// Bytes that wait in the kernel for a client that does not read.
const SEND_BUFFER_BYTES: usize = 65_536;
/// Longest wait for the header of a request.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(15);
/// Longest life of a stream: a client that has gone without a word must not keep its place for ever. One
/// that is there connects again by itself.
const STREAM_TIME_MAX: Duration = Duration::from_secs(3600);
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
    advice: Streams,
    live: Streams,
}

/// The connection that a request came on.
#[derive(Clone)]
struct Connection {
    place: Arc<Place>,
    pulse: Arc<Pulse>,
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
        // What is accepted inherits it.
        rustix::net::sockopt::set_socket_send_buffer_size(&listener, SEND_BUFFER_BYTES)?;
        Ok(listener)
    };
    bind().map_err(|source| HttpBindError::Bind { address, source })
}

/// Serves for ever.
pub(crate) async fn serve(listener: TcpListener, snapshots: Snapshots) {
    let (advice, live) = (Streams::new(Subject::Advice), Streams::new(Subject::Status));
    let surface = Surface { snapshots, advice, live };
    let router = Router::new()
        .route("/", get(page::page))
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .route("/v1/advice", get(|surface, connection| stream(surface, connection, |s| &s.advice)))
        .route("/v1/live", get(|surface, connection| stream(surface, connection, |s| &s.live)))
        .fallback(|| async {
            (StatusCode::NOT_FOUND, "there are /, /metrics, /v1/status, /v1/live and /v1/advice\n")
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
        let (place, pulse) = (Arc::new(places.take().await), Arc::new(Pulse::default()));
        let of = Connection { place: Arc::clone(&place), pulse: Arc::clone(&pulse) };
        let service = TowerToHyperService::new(router.clone().layer(Extension(of)));
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            let serve = async {
                let mut connection = pin!(connection);
                // What a client does wrong is the client's affair.
                let ended = tokio::time::timeout(CONNECTION_TIME_MAX, &mut connection).await;
                if ended.is_err() && pulse.is_stream() {
                    let _ = tokio::time::timeout(STREAM_TIME_MAX, connection).await;
                }
            };
            tokio::select! {
                () = serve => {}
                () = place.is_taken_away() => {}
                () = pulse.stops() => {}
            }
        });
    }
}

/// Its header is there: it no longer waits. What is meant for another host is not served.
async fn serves(
    Extension(connection): Extension<Connection>,
    request: Request,
    next: Next,
) -> Response {
    connection.place.set(Doing::IsServed);
    if !host::is_this(request.headers()) {
        let why = "the Host of a request is a loopback address or localhost here\n";
        return (StatusCode::FORBIDDEN, why).into_response();
    }
    next.run(request).await
}

async fn metrics(State(surface): State<Surface>) -> impl IntoResponse {
    let snapshot = Arc::clone(&surface.snapshots.borrow());
    ([(header::CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE)], snapshot.metrics())
}

async fn status(State(surface): State<Surface>) -> impl IntoResponse {
    let snapshot = Arc::clone(&surface.snapshots.borrow());
    ([(header::CONTENT_TYPE, "application/json")], format!("{}\n", snapshot.status))
}

async fn stream(
    State(surface): State<Surface>,
    Extension(connection): Extension<Connection>,
    of: impl Fn(&Surface) -> &Streams,
) -> Response {
    of(&surface).open(surface.snapshots.clone(), connection)
}
