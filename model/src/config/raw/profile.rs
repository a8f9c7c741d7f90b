//! `[[profile]]` as it is written.

use super::port::INFLIGHT_MAX;
use super::{RawCaps, RawShape};
use crate::config::error::At;
use crate::config::reader::{Field, Reader};
use crate::config::values::{boolean, limit, name, size};

/// One `[[profile]]`.
pub(in crate::config) struct RawProfile {
    pub name: Field<String>,
    pub classes: Vec<RawProfileClass>,
    pub ports: Vec<RawProfilePort>,
}

impl RawProfile {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let classes = t.tables("class", "[[profile.class]]");
        let ports = t.tables("port", "[[profile.port]]");
        let raw = Self {
            name: t.required("name", name),
            classes: classes.into_iter().map(RawProfileClass::read).collect(),
            ports: ports.into_iter().map(RawProfilePort::read).collect(),
        };
        t.finish();
        raw
    }
}

/// One `[[profile.class]]`.
pub(in crate::config) struct RawProfileClass {
    pub at: At,
    pub name: Field<String>,
    pub shape: RawShape,
    pub closed: Field<bool>,
    pub second_path: Field<bool>,
}

impl RawProfileClass {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            shape: RawShape::read(&mut t),
            closed: t.optional("closed", boolean),
            second_path: t.optional("second_path", boolean),
        };
        t.finish();
        raw
    }
}

/// One `[[profile.port]]`.
pub(in crate::config) struct RawProfilePort {
    pub at: At,
    pub name: Field<String>,
    pub caps: RawCaps,
    pub inflight_limit: Field<Option<u64>>,
}

impl RawProfilePort {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            name: t.required("name", name),
            caps: RawCaps::read(&mut t, RawCaps::NODE),
            inflight_limit: t.optional("inflight_limit", limit(size(1..=INFLIGHT_MAX))),
        };
        t.finish();
        raw
    }
}
