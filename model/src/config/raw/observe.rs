//! `[observe]` as it is written.

use crate::config::Prefix;
use crate::config::error::At;
use crate::config::network::{interface, port_range, prefix};
use crate::config::reader::{Field, Reader};
use crate::config::values::{as_text, bit_rate, duration, limit, list, size};
use crate::time::Nanos;

use super::{HOUR, SECOND};

/// `[observe]`.
pub(in crate::config) struct RawObserve {
    pub at: At,
    pub egress: Field<String>,
    pub ingress: Field<String>,
    pub link: Field<u64>,
    pub duration: Field<Option<Nanos>>,
    pub ring: Field<u64>,
    pub sample_every: Field<Nanos>,
    pub threads: Field<Vec<String>>,
    pub sockets: Vec<RawSocket>,
}

impl RawObserve {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let day = Nanos(24 * HOUR.0);
        let raw = Self {
            at: t.at,
            egress: t.required("egress", interface),
            ingress: t.optional("ingress", interface),
            link: t.optional("link", bit_rate),
            duration: t.optional("duration", limit(duration(Nanos::from_millis(100)..=day))),
            ring: t.optional("ring", size(1 << 20..=4 << 30)),
            sample_every: t.optional("sample_every", duration(Nanos::from_micros(100)..=SECOND)),
            threads: t.optional("threads", list(process_name)),
            sockets: t
                .tables("socket", "[[observe.socket]]")
                .into_iter()
                .map(RawSocket::read)
                .collect(),
        };
        t.finish();
        raw
    }
}

/// One `[[observe.socket]]`.
pub(in crate::config) struct RawSocket {
    pub at: At,
    pub local: Field<Prefix>,
    pub remote: Field<Prefix>,
    pub local_port: Field<(u16, u16)>,
    pub remote_port: Field<(u16, u16)>,
}

impl RawSocket {
    fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            local: t.optional("local", prefix),
            remote: t.optional("remote", prefix),
            local_port: t.optional("local_port", port_range),
            remote_port: t.optional("remote_port", port_range),
        };
        t.finish();
        raw
    }
}

/// What the kernel calls a process: up to 15 bytes (`comm`).
fn process_name(value: &toml::de::DeValue<'_>) -> Result<String, super::super::values::Refused> {
    let allowed = "the name of a process as in /proc/PID/comm, 1 to 15 bytes";
    let text = as_text(value, allowed)?;
    if (1..=15).contains(&text.len()) {
        return Ok(text.to_owned());
    }
    let problem = format!("{text:?} is not the name of a process");
    Err(super::super::values::Refused::new(problem, allowed))
}
