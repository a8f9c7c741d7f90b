//! `[[rule]]` and `[default_class]` as they are written.

use crate::config::Prefix;
use crate::config::error::At;
use crate::config::network::{port_range, prefix, protocol};
use crate::config::reader::{Field, Reader};
use crate::config::values::{integer, label, name, one_of};
use crate::kind::Side;

/// `[default_class]`.
pub(in crate::config) struct RawDefaultClass {
    pub inside: Field<String>,
    pub venue: Field<String>,
}

impl RawDefaultClass {
    pub(super) fn read(root: &mut Reader<'_, '_>) -> Self {
        let mut t = root.required_table("default_class", "[default_class]");
        let raw = Self { inside: t.required("inside", name), venue: t.required("venue", name) };
        t.finish();
        raw
    }
}

/// One `[[rule]]`.
pub(in crate::config) struct RawRule {
    pub at: At,
    pub class: Field<String>,
    pub from: Field<Side>,
    pub vlan: Field<u16>,
    pub src: Field<Prefix>,
    pub dst: Field<Prefix>,
    pub src_port: Field<(u16, u16)>,
    pub dst_port: Field<(u16, u16)>,
    pub protocol: Field<u8>,
    pub dscp: Field<u8>,
    pub symbol: Field<String>,
    pub venue: Field<String>,
    pub tactic: Field<String>,
    pub urgency: Field<u8>,
}

impl RawRule {
    pub(super) fn read(mut t: Reader<'_, '_>) -> Self {
        let raw = Self {
            at: t.at,
            class: t.required("class", name),
            from: t.optional("from", one_of),
            vlan: t.optional("vlan", integer(0..=4094)),
            src: t.optional("src", prefix),
            dst: t.optional("dst", prefix),
            src_port: t.optional("src_port", port_range),
            dst_port: t.optional("dst_port", port_range),
            protocol: t.optional("protocol", protocol),
            dscp: t.optional("dscp", integer(0..=63)),
            symbol: t.optional("symbol", label),
            venue: t.optional("venue", label),
            tactic: t.optional("tactic", label),
            urgency: t.optional("urgency", integer(0..=255)),
        };
        t.finish();
        raw
    }
}
