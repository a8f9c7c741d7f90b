//! `GET /metrics` and `GET /v1/status`, from the last snapshot. Nothing here reaches the controller:
//! a scrape costs the control thread the text and nothing else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::controller::Snapshot;
use crate::registry::OPENMETRICS_CONTENT_TYPE;

/// Connections served at a time; the next ones wait in the listen queue.
const CONNECTIONS_MAX: usize = 16;
/// Longest wait for the header of a request.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);
/// Longest life of a connection.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(15);
/// Bytes of a request's header; hyper takes no smaller limit.
const HEADER_BYTES_MAX: usize = 8192;
/// Lines of a request's header.
const HEADERS_MAX: usize = 64;
/// Without a free descriptor `accept` fails at once, again and again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

type Snapshots = watch::Receiver<Arc<Snapshot>>;

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
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/v1/status", get(status))
        .fallback(|| async { (StatusCode::NOT_FOUND, "there are /metrics and /v1/status\n") })
        .with_state(snapshots);
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME_MAX)
        .max_buf_size(HEADER_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .keep_alive(false);
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "no connection taken");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let connection = http.serve_connection(TokioIo::new(stream), service);
        tokio::spawn(async move {
            // What a client does wrong is the client's affair.
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
            drop(permit);
        });
    }
}

async fn metrics(State(snapshots): State<Snapshots>) -> impl IntoResponse {
    let snapshot = Arc::clone(&snapshots.borrow());
    ([(header::CONTENT_TYPE, OPENMETRICS_CONTENT_TYPE)], snapshot.registry.to_openmetrics())
}

async fn status(State(snapshots): State<Snapshots>) -> impl IntoResponse {
    let snapshot = Arc::clone(&snapshots.borrow());
    ([(header::CONTENT_TYPE, "application/json")], format!("{}\n", snapshot.status))
}
