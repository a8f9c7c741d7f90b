//! The classification rules of one side as tries: what the first packet of a flow is asked.
//!
//! [`Acl::compile`] builds them with `rte_acl` on the control thread when a lane is assembled, one
//! for IPv4 and one for IPv6, because a trie reads its fields at fixed places. The first rule of the
//! file has the highest priority, so the first match wins. A look costs the same however many rules
//! there are, and allocates nothing. `model::rules` says the same rule by rule and is what this is
//! tested against.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::net::IpAddr;
use std::ptr::NonNull;
use std::sync::Arc;

use dpdk_sys::{rte_acl_config, rte_acl_ctx, rte_acl_field, rte_acl_field_def};
use model::config::Prefix;
use model::frame::Parsed;
use model::kind::Side;
use model::rules::{Rule, Rules, Verdict};

use crate::batch::BATCH_PACKETS_MAX;
use crate::eal::{Eal, Errno};

/// Why rules cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum AclError {
    /// The name has a NUL byte or more than 24 bytes, or is taken.
    #[error("name of rules {0:?}: 1 to 24 bytes without NUL are allowed, each name once")]
    Name(String),
    /// What DPDK said; most likely EAL's memory does not hold them.
    #[error(
        "{rules} rules could not be compiled ({operation}: {source}): raise [dpdk] memory or use \
         fewer rules"
    )]
    Dpdk {
        /// Rules of the table.
        rules: usize,
        /// The function.
        operation: &'static str,
        /// Its answer.
        source: Errno,
    },
}

/// What a trie reads of a packet, in network order, in groups of four bytes: protocol; VLAN, DSCP,
/// whether there are ports; addresses; ports.
const INPUT_BYTES: usize = 48;
/// Fields of a rule: protocol, VLAN, DSCP with "has ports", addresses in words, two ports.
const FIELDS_IPV4: usize = 3 + 2 + 2;
const FIELDS_IPV6: usize = 3 + 8 + 2;

/// One IP version's part.
#[derive(Clone, Copy)]
enum Version {
    V4,
    V6,
}

impl Version {
    /// 4-byte words of an address.
    const fn words(self) -> usize {
        match self {
            Self::V4 => 1,
            Self::V6 => 4,
        }
    }

    /// Where the ports stand.
    const fn ports_at(self) -> usize {
        8 + 8 * self.words()
    }

    /// The field definitions.
    fn config<const FIELDS: usize>(self) -> rte_acl_config {
        let mut config =
            rte_acl_config { num_categories: 1, num_fields: FIELDS as u32, ..Default::default() };
        let mut next = 0;
        let mut field = |kind, size, input, offset| {
            config.defs[next] = rte_acl_field_def {
                type_: kind,
                size,
                field_index: next as u8,
                input_index: input,
                offset,
            };
            next += 1;
        };
        field(dpdk_sys::WP_ACL_BITMASK, 1, 0, 0);
        field(dpdk_sys::WP_ACL_BITMASK, 2, 1, 4);
        field(dpdk_sys::WP_ACL_BITMASK, 2, 1, 6);
        let words = 2 * self.words() as u8;
        for word in 0..words {
            field(dpdk_sys::WP_ACL_MASK, 4, 2 + word, 8 + 4 * u32::from(word));
        }
        let ports = self.ports_at() as u32;
        field(dpdk_sys::WP_ACL_RANGE, 2, 2 + words, ports);
        field(dpdk_sys::WP_ACL_RANGE, 2, 2 + words, ports + 2);
        config
    }

    /// Whether a rule with this prefix can match.
    const fn may_have(self, prefix: Option<Prefix>) -> bool {
        match prefix {
            None => true,
            Some(prefix) => {
                matches!((self, prefix.addr), (Self::V4, IpAddr::V4(_)) | (Self::V6, IpAddr::V6(_)))
            }
        }
    }
}

/// A rule as `rte_acl` reads it.
#[repr(C)]
struct AclRule<const FIELDS: usize> {
    category_mask: u32,
    priority: i32,
    userdata: u32,
    fields: [rte_acl_field; FIELDS],
}

/// Value and mask, or first and last, in the place of any of the union's types: they all begin at
/// its first byte, and this is little-endian.
fn field(value: u64, mask_or_last: u64) -> rte_acl_field {
    let mut field = rte_acl_field::default();
    field.value.u64_ = value;
    field.mask_range.u64_ = mask_or_last;
    field
}

/// A field that matches what it names, everything if it names nothing.
fn exactly(value: Option<u64>, mask: u64) -> rte_acl_field {
    value.map_or_else(|| field(0, 0), |value| field(value, mask))
}

impl<const FIELDS: usize> AclRule<FIELDS> {
    /// `index` is its place in the file's rules for this table.
    fn new(version: Version, rule: &Rule, index: usize) -> Self {
        let mut fields = [field(0, 0); FIELDS];
        fields[0] = exactly(rule.protocol.map(u64::from), 0xff);
        fields[1] = exactly(rule.vlan.map(u64::from), 0xffff);
        // A rule that names a port matches only packets whose ports are known.
        let needs_ports = u64::from(rule.src_port.is_some() || rule.dst_port.is_some());
        let dscp_mask = if rule.dscp.is_some() { 0xff } else { 0 };
        fields[2] = field(
            u64::from(rule.dscp.unwrap_or(0)) << 8 | needs_ports,
            dscp_mask << 8 | needs_ports,
        );
        let words = version.words();
        for (i, prefix) in [rule.src, rule.dst].into_iter().enumerate() {
            for word in 0..words {
                fields[3 + i * words + word] = prefix_word(prefix, word);
            }
        }
        for (i, range) in [rule.src_port, rule.dst_port].into_iter().enumerate() {
            let (first, last) = range.unwrap_or((0, u16::MAX));
            fields[3 + 2 * words + i] = field(first.into(), last.into());
        }
        Self {
            category_mask: 1,
            priority: dpdk_sys::WP_ACL_MAX_PRIORITY - index as i32,
            // 0 is "no match".
            userdata: index as u32 + 1,
            fields,
        }
    }
}

/// The `word`-th 32 bits of a prefix: their value, and how many of them count.
fn prefix_word(prefix: Option<Prefix>, word: usize) -> rte_acl_field {
    let Some(prefix) = prefix else { return field(0, 0) };
    let bits = u32::from(prefix.bits).saturating_sub(32 * word as u32).min(32);
    let network = match prefix.addr {
        IpAddr::V4(v4) => u32::from(v4),
        IpAddr::V6(v6) => (u128::from(v6) >> (96 - 32 * word)) as u32,
    };
    let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
    field(u64::from(network & mask), u64::from(bits))
}

/// A compiled table.
struct Table {
    raw: NonNull<rte_acl_ctx>,
    _eal: Arc<Eal>,
}

// SAFETY: the table is memory that is only read after it was built.
unsafe impl Send for Table {}

impl Table {
    fn build<const FIELDS: usize>(
        eal: &Arc<Eal>,
        name: &str,
        version: Version,
        rules: &[&Rule],
    ) -> Result<Self, AclError> {
        let name_error = || AclError::Name(name.to_owned());
        let c_name = CString::new(name)
            .ok()
            .filter(|n| (1..=26).contains(&n.as_bytes().len()))
            .ok_or_else(name_error)?;
        let failed =
            |operation| move |source| AclError::Dpdk { rules: rules.len(), operation, source };
        let compiled: Vec<AclRule<FIELDS>> =
            rules.iter().enumerate().map(|(i, rule)| AclRule::new(version, rule, i)).collect();
        let parameters = dpdk_sys::rte_acl_param {
            name: c_name.as_ptr(),
            socket_id: dpdk_sys::WP_SOCKET_ID_ANY,
            rule_size: size_of::<AclRule<FIELDS>>() as u32,
            max_rule_num: rules.len() as u32,
        };
        let config = version.config::<FIELDS>();
        // SAFETY: EAL is up; the name lives through the calls. A name that is taken would give out
        // the table of another owner, so it is looked for first.
        let table = unsafe {
            if !dpdk_sys::rte_acl_find_existing(c_name.as_ptr()).is_null() {
                return Err(name_error());
            }
            let raw = NonNull::new(dpdk_sys::rte_acl_create(&parameters))
                .ok_or_else(|| failed("rte_acl_create")(Errno::of_thread()))?;
            Self { raw, _eal: Arc::clone(eal) }
        };
        // SAFETY: the table is ours; the rules have the size that it was made for, one behind the
        // other, and they and the config are copied.
        unsafe {
            let raw = table.raw.as_ptr();
            let added =
                dpdk_sys::rte_acl_add_rules(raw, compiled.as_ptr().cast(), rules.len() as u32);
            Errno::check(added).map_err(failed("rte_acl_add_rules"))?;
            Errno::check(dpdk_sys::rte_acl_build(raw, &config)).map_err(failed("rte_acl_build"))?;
        }
        Ok(table)
    }

    /// For each input the number of the rule that matches first, from 1; 0 = none.
    fn classify(&self, inputs: &[[u8; INPUT_BYTES]], results: &mut [u32]) {
        debug_assert!(inputs.len() <= results.len() && inputs.len() <= BATCH_PACKETS_MAX);
        let mut pointers = [std::ptr::null::<u8>(); BATCH_PACKETS_MAX];
        let n = inputs.len().min(results.len()).min(BATCH_PACKETS_MAX);
        for (pointer, input) in pointers.iter_mut().zip(&inputs[..n]) {
            *pointer = input.as_ptr();
        }
        // SAFETY: the table is built; the first `n` pointers are to inputs that hold every field, and
        // there is room for `n` results of one category. It fails for other numbers of categories
        // only.
        unsafe {
            dpdk_sys::rte_acl_classify(
                self.raw.as_ptr(),
                pointers.as_mut_ptr(),
                results.as_mut_ptr(),
                n as u32,
                1,
            );
        }
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        // SAFETY: the table is live and has no other owner.
        unsafe { dpdk_sys::rte_acl_free(self.raw.as_ptr()) }
    }
}

/// A table and what its rules say. Without a rule there is no table.
struct Part {
    table: Option<Table>,
    verdicts: Box<[Verdict]>,
}

impl Part {
    fn compile<const FIELDS: usize>(
        eal: &Arc<Eal>,
        name: &str,
        version: Version,
        rules: &[&Rule],
    ) -> Result<Self, AclError> {
        let of_version: Vec<&Rule> = rules
            .iter()
            .copied()
            .filter(|rule| version.may_have(rule.src) && version.may_have(rule.dst))
            .collect();
        Ok(Self {
            table: if of_version.is_empty() {
                None
            } else {
                Some(Table::build::<FIELDS>(eal, name, version, &of_version)?)
            },
            verdicts: of_version
                .iter()
                .map(|rule| Verdict { class: rule.class, label: rule.label })
                .collect(),
        })
    }
}

/// See the module.
pub struct Acl {
    parts: [Part; 2],
    default: Verdict,
    inputs: Box<[[u8; INPUT_BYTES]]>,
    /// Which packet an input is of.
    packets: Box<[u16]>,
    results: Box<[u32]>,
}

impl Acl {
    /// Compiles the rules for packets that come from `from`. `name` is not taken and has up to 24
    /// bytes.
    ///
    /// # Errors
    /// See [`AclError`].
    pub fn compile(
        eal: &Arc<Eal>,
        name: &str,
        rules: &Rules,
        from: Side,
    ) -> Result<Self, AclError> {
        let mine: Vec<&Rule> = rules.rules.iter().filter(|rule| rule.from == from).collect();
        let (v4, v6) = (format!("{name}-4"), format!("{name}-6"));
        Ok(Self {
            parts: [
                Part::compile::<FIELDS_IPV4>(eal, &v4, Version::V4, &mine)?,
                Part::compile::<FIELDS_IPV6>(eal, &v6, Version::V6, &mine)?,
            ],
            default: Verdict { class: rules.default_class[from as usize], label: 0 },
            inputs: vec![[0; INPUT_BYTES]; BATCH_PACKETS_MAX].into(),
            packets: vec![0; BATCH_PACKETS_MAX].into(),
            results: vec![0; BATCH_PACKETS_MAX].into(),
        })
    }

    /// What the first rule that matches says of each of up to [`BATCH_PACKETS_MAX`] packets, else the
    /// side's default. Looks at as many as the shorter of the two slices has.
    pub fn classify(&mut self, packets: &[Parsed], verdicts: &mut [Verdict]) {
        for (part, version) in self.parts.iter().zip([Version::V4, Version::V6]) {
            let mut n = 0;
            for (i, packet) in packets.iter().enumerate() {
                if (packet.key.ip_version == 6) == matches!(version, Version::V6) {
                    self.inputs[n] = input(version, packet);
                    self.packets[n] = i as u16;
                    n += 1;
                }
            }
            let results = &mut self.results[..n];
            match &part.table {
                Some(table) if n > 0 => table.classify(&self.inputs[..n], results),
                _ => results.fill(0),
            }
            for (&i, &rule) in self.packets.iter().zip(results.iter()) {
                if let Some(verdict) = verdicts.get_mut(usize::from(i)) {
                    let found = (rule as usize).checked_sub(1).map(|rule| part.verdicts[rule]);
                    *verdict = found.unwrap_or(self.default);
                }
            }
        }
    }
}

fn input(version: Version, packet: &Parsed) -> [u8; INPUT_BYTES] {
    let key = &packet.key;
    let mut input = [0; INPUT_BYTES];
    input[0] = key.protocol;
    input[4..6].copy_from_slice(&key.vlan.to_be_bytes());
    input[6] = packet.dscp;
    input[7] = u8::from(packet.has_ports());
    let (bytes, ports) = (4 * version.words(), version.ports_at());
    input[8..8 + bytes].copy_from_slice(&key.src[..bytes]);
    input[8 + bytes..ports].copy_from_slice(&key.dst[..bytes]);
    input[ports..ports + 2].copy_from_slice(&key.src_port.to_be_bytes());
    input[ports + 2..ports + 4].copy_from_slice(&key.dst_port.to_be_bytes());
    input
}
