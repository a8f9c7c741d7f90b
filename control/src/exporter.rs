//! An exporter alone: `/metrics` and `/v1/status` of something that has no control thread.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;

use serde_json::Value;
use tokio::sync::{oneshot, watch};

use crate::confine;
use crate::controller::Snapshot;
use crate::http::{self, HttpBindError};
use crate::registry::{Provenance, Registry};

/// It serves until it is dropped.
pub struct Exporter {
    address: SocketAddr,
    snapshots: watch::Sender<Arc<Snapshot>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Option<()>>>,
}

fn snapshot(status: Value, registry: Registry, provenance: Provenance) -> Arc<Snapshot> {
    let registry = Arc::new(registry);
    Arc::new(Snapshot { status, registry, provenance, advice: Value::Null, advice_changes: 0 })
}

impl Exporter {
    /// Takes a loopback address (port 0 takes any free one) and starts the thread that serves it.
    ///
    /// # Errors
    /// Not a loopback address, or the system refuses it or the thread.
    pub fn start(address: SocketAddr) -> Result<Self, HttpBindError> {
        let listener = http::bind(address)?;
        let failed = |source| HttpBindError::Bind { address, source };
        let address = listener.local_addr().map_err(failed)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed)?;
        let (snapshots, seen) =
            watch::channel(snapshot(Value::Null, Registry::new(), Provenance::default()));
        let (stop, stopped) = oneshot::channel();
        let serve = async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => tokio::select! {
                    () = http::serve(listener, seen) => {}
                    _ = stopped => {}
                },
                Err(error) => tracing::error!(%error, "the exporter cannot serve"),
            }
        };
        let serve = move || runtime.block_on(serve);
        let thread = confine::spawn("wp-exporter", serve).map_err(failed)?;
        Ok(Self { address, snapshots, stop: Some(stop), thread: Some(thread) })
    }

    /// The address, with the port that port 0 became.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Shows this from now on.
    pub fn show(&self, status: Value, registry: Registry, provenance: Provenance) {
        self.snapshots.send_replace(snapshot(status, registry, provenance));
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            // An error: it has ended by itself.
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
