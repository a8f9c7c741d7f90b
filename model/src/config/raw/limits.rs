//! `[[venue_limit]]`, `[intent]` and `[[label]]` as they are written.

use std::net::SocketAddr;

use crate::config::error::At;
use crate::config::network::{absolute_path, loopback};
use crate::config::reader::{Field, Reader};
use crate::config::values::{boolean, duration, integer, label, name, one_of, share};
use crate::time::Nanos;

/// The only window there is.
#[derive(Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Window {
    Sliding,
}

/// One `[[venue_limit]]`.
pub(in crate::config) struct RawVenueLimit {
    pub at: At,
    pub name: Field<String>,
    pub venue: Field<String>,
    pub participant: Field<String>,
    pub session_of: Field<String>,
    pub messages: Field<u32>,
    pub per: Field<Nanos>,
    pub counts_cancels: Field<bool>,
    pub share: Field<u32>,
    pub margin: Field<u32>,
    pub cancel_reserve: Field<u32>,
    pub burst: Field<u32>,
}

/// Most messages in a window: the data core keeps a time for each.
const WINDOW_MESSAGES_MAX: u32 = 1_000_000;

impl RawVenueLimit {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let day = Nanos::from_secs(86_400);
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            venue: t.optional("venue", label),
            participant: t.optional("participant", label),
            session_of: t.optional("session_of", name),
            messages: t.required("messages", integer(1..=WINDOW_MESSAGES_MAX)),
            per: t.required("per", duration(Nanos::from_millis(1)..=day)),
            counts_cancels: t.optional("counts_cancels", boolean),
            share: t.optional("share", share("0.000001", "1")),
            margin: t.optional("margin", share("0", "0.999999")),
            cancel_reserve: t.optional("cancel_reserve", integer(0..=WINDOW_MESSAGES_MAX)),
            burst: t.optional("burst", integer(1..=WINDOW_MESSAGES_MAX)),
        };
        t.optional("window", one_of::<Window>);
        t.finish();
        raw
    }
}

/// `[intent]`.
pub(in crate::config) struct RawIntent {
    pub udp: Field<Option<SocketAddr>>,
    pub shm: Field<String>,
}

impl RawIntent {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self { udp: t.optional("udp", loopback), shm: t.optional("shm", absolute_path) };
        t.finish();
        raw
    }
}

/// One `[[label]]`.
pub(in crate::config) struct RawLabel {
    pub at: At,
    pub id: Field<u16>,
    pub symbol: Field<String>,
    pub venue: Field<String>,
    pub tactic: Field<String>,
    pub strategy: Field<String>,
    pub urgency: Field<u8>,
}

impl RawLabel {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            id: t.required("id", integer(1..=u16::MAX)),
            symbol: t.optional("symbol", label),
            venue: t.optional("venue", label),
            tactic: t.optional("tactic", label),
            strategy: t.optional("strategy", label),
            urgency: t.optional("urgency", integer(0..=255)),
        };
        t.finish();
        raw
    }
}
