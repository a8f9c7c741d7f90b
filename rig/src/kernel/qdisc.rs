//! Queueing disciplines and their counters, by RTM_GETQDISC.

use super::bytes::{ReadError, at_least, text, u32_at, u64_at};
use super::netlink::{Attribute, Request, attributes, attributes_behind};

const RTM_GETQDISC: u16 = 38;
const TCMSG_BYTES: usize = 20;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_XSTATS: u16 = 4;
const TCA_STATS2: u16 = 7;
const STATS_BASIC: u16 = 1;
const STATS_QUEUE: u16 = 3;
const STATS_APP: u16 = 4;
const STATS_PACKETS_64: u16 = 8;

/// Parent of the discipline at the root of an interface.
const ROOT: u32 = u32::MAX;

/// Counters of a discipline of the kind `fq`. What the kernel is too old for is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FqStats {
    /// Packets that were not yet due when the discipline looked.
    pub throttled: u64,
    /// Drops because a flow had too many packets.
    pub flows_plimit: u64,
    /// Packets with a departure time that would have been too long.
    pub pkts_too_long: u64,
    /// Drops for want of memory.
    pub allocation_errors: u64,
    /// Until the next flow that waits for its time, ns; negative: it is late.
    pub time_next_delayed_flow_ns: i64,
    /// Flows.
    pub flows: u32,
    /// Of those, without packets.
    pub inactive_flows: u32,
    /// Of those, waiting for their time.
    pub throttled_flows: u32,
    /// How late a flow gets its turn, smoothed.
    pub unthrottle_latency_ns: u32,
    /// Packets marked above the threshold.
    pub ce_mark: Option<u64>,
    /// Packets dropped because their time was beyond the horizon.
    pub horizon_drops: Option<u64>,
    /// Packets whose time was brought down to the horizon.
    pub horizon_caps: Option<u64>,
    /// Packets that passed without being queued by flow.
    pub fastpath_packets: Option<u64>,
    /// Drops of each band.
    pub band_drops: Option<[u64; 3]>,
}

impl FqStats {
    /// Reads `tc_fq_qd_stats` of any kernel from 4.4 on: 80, 88, 104, 112 or 152 bytes.
    ///
    /// # Errors
    /// Fewer than 80 bytes.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        let b = at_least("tc_fq_qd_stats", bytes, 80)?;
        let wide = |at| u64_at(b, at).unwrap_or_default();
        let number = |at| u32_at(b, at).unwrap_or_default();
        let band_drops = [u64_at(b, 112), u64_at(b, 120), u64_at(b, 128)];
        Ok(Self {
            throttled: wide(24),
            flows_plimit: wide(32),
            pkts_too_long: wide(40),
            allocation_errors: wide(48),
            time_next_delayed_flow_ns: wide(56).cast_signed(),
            flows: number(64),
            inactive_flows: number(68),
            throttled_flows: number(72),
            unthrottle_latency_ns: number(76),
            ce_mark: u64_at(b, 80),
            horizon_drops: u64_at(b, 88),
            horizon_caps: u64_at(b, 96),
            fastpath_packets: u64_at(b, 104),
            band_drops: match band_drops {
                [Some(a), Some(b), Some(c)] => Some([a, b, c]),
                _ => None,
            },
        })
    }
}

/// Counters of a discipline of the kind `fq_codel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FqCodelStats {
    /// Drops because the queue was full.
    pub drop_overlimit: u32,
    /// Packets marked instead of dropped.
    pub ecn_mark: u32,
    /// Flows that became active.
    pub new_flow_count: u32,
    /// Flows in the list of new ones.
    pub new_flows_len: u32,
    /// Flows in the list of old ones.
    pub old_flows_len: u32,
    /// Drops because the queue took too much memory.
    pub drop_overmemory: Option<u32>,
}

impl FqCodelStats {
    /// Reads `tc_fq_codel_xstats` of a discipline (not of a class).
    ///
    /// # Errors
    /// Cut off, or of a class.
    pub fn read(bytes: &[u8]) -> Result<Self, ReadError> {
        const WHAT: &str = "tc_fq_codel_xstats";
        let b = at_least(WHAT, bytes, 28)?;
        let number = |at| u32_at(b, at).unwrap_or_default();
        if number(0) != 0 {
            return Err(ReadError::text(WHAT, &format!("type {}", number(0))));
        }
        Ok(Self {
            drop_overlimit: number(8),
            ecn_mark: number(12),
            new_flow_count: number(16),
            new_flows_len: number(20),
            old_flows_len: number(24),
            drop_overmemory: u32_at(b, 36),
        })
    }
}

/// What is particular to a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Particular {
    /// Of `fq`.
    Fq(FqStats),
    /// Of `fq_codel`.
    FqCodel(FqCodelStats),
    /// Of `tbf`: its rate in bytes per second and its limit in bytes.
    Tbf {
        /// Bytes per second.
        rate: u64,
        /// Bytes that may wait.
        limit: u32,
    },
    /// Of `htb`: packets that met no class, and so no rate.
    Htb {
        /// Their number.
        direct_packets: u32,
    },
    /// Of `etf`: how far ahead of their time packets are handed over, and whether the device launches them.
    Etf {
        /// ns.
        delta_ns: i32,
        /// By the device.
        offload: bool,
    },
}

/// A discipline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qdisc {
    /// Number of its interface.
    pub interface: u32,
    /// Its own number.
    pub handle: u32,
    /// What it hangs below.
    pub parent: u32,
    /// Its kind: `fq`, `htb`, `pfifo_fast`, `noqueue` ...
    pub kind: String,
    /// Bytes that left, as the kernel counts them: with headers, super-frames as their segments.
    pub bytes: u64,
    /// Packets that left.
    pub packets: u64,
    /// Packets that wait.
    pub qlen: u32,
    /// Bytes that wait.
    pub backlog: u32,
    /// Packets that ended here.
    pub drops: u32,
    /// Packets that the device took back.
    pub requeues: u32,
    /// Times that a rate held it.
    pub overlimits: u32,
    /// What is particular to its kind; `None` = nothing, or nothing that is read here.
    pub particular: Option<Particular>,
}

/// Asks for the disciplines of every interface. A single one can be asked for too, but its answer goes to
/// everybody who listens (`tc monitor`): looking must not be noticed.
pub fn list() -> Request {
    Request::new(RTM_GETQDISC, true).with(&[0; TCMSG_BYTES])
}

impl Qdisc {
    /// Reads the payload of a message.
    ///
    /// # Errors
    /// It is cut off, or a length inside is wrong.
    pub fn read(payload: &[u8]) -> Result<Self, ReadError> {
        let b = at_least("tcmsg", payload, TCMSG_BYTES)?;
        let number = |at| u32_at(b, at).unwrap_or_default();
        let mut qdisc = Self {
            interface: number(4),
            handle: number(8),
            parent: number(12),
            kind: String::new(),
            bytes: 0,
            packets: 0,
            qlen: 0,
            backlog: 0,
            drops: 0,
            requeues: 0,
            overlimits: 0,
            particular: None,
        };
        let (mut options, mut own) = (None, None);
        for attribute in attributes_behind("tcmsg", payload, TCMSG_BYTES)? {
            let attribute = attribute?;
            match attribute.kind {
                TCA_KIND => qdisc.kind = text("qdisc kind", attribute.payload)?,
                TCA_OPTIONS => options = Some(attribute.payload),
                TCA_XSTATS => own = Some(attribute.payload),
                TCA_STATS2 => {
                    for stats in attributes(attribute.payload) {
                        let stats = stats?;
                        if stats.kind == STATS_APP {
                            own = Some(stats.payload);
                        }
                        qdisc.count(&stats)?;
                    }
                }
                _ => {}
            }
        }
        qdisc.particular = particular(&qdisc.kind, options, own)?;
        Ok(qdisc)
    }

    /// Whether it is the outermost of its interface.
    pub const fn is_root(&self) -> bool {
        self.parent == ROOT
    }

    fn count(&mut self, stats: &Attribute<'_>) -> Result<(), ReadError> {
        let b = stats.payload;
        match stats.kind {
            STATS_BASIC => {
                let b = at_least("gnet_stats_basic", b, 12)?;
                self.bytes = u64_at(b, 0).unwrap_or_default();
                // The wide number may have stood before.
                self.packets = self.packets.max(u64::from(u32_at(b, 8).unwrap_or_default()));
            }
            STATS_PACKETS_64 => {
                let b = at_least("gnet_stats packets", b, 8)?;
                self.packets = u64_at(b, 0).unwrap_or_default();
            }
            STATS_QUEUE => {
                let b = at_least("gnet_stats_queue", b, 20)?;
                let number = |n: usize| u32_at(b, 4 * n).unwrap_or_default();
                (self.qlen, self.backlog, self.drops) = (number(0), number(1), number(2));
                (self.requeues, self.overlimits) = (number(3), number(4));
            }
            _ => {}
        }
        Ok(())
    }
}

fn particular(
    kind: &str,
    options: Option<&[u8]>,
    own: Option<&[u8]>,
) -> Result<Option<Particular>, ReadError> {
    let read = match (kind, options, own) {
        ("fq", _, Some(own)) => Particular::Fq(FqStats::read(own)?),
        ("fq_codel", _, Some(own)) => Particular::FqCodel(FqCodelStats::read(own)?),
        ("tbf", Some(options), _) => match tbf(options)? {
            Some(tbf) => tbf,
            None => return Ok(None),
        },
        ("htb", Some(options), _) => match option(options, 2)? {
            Some(global) => {
                let b = at_least("tc_htb_glob", global, 20)?;
                Particular::Htb { direct_packets: u32_at(b, 16).unwrap_or_default() }
            }
            None => return Ok(None),
        },
        ("etf", Some(options), _) => match option(options, 1)? {
            Some(parameters) => {
                let b = at_least("tc_etf_qopt", parameters, 12)?;
                let number = |at| u32_at(b, at).unwrap_or_default();
                Particular::Etf { delta_ns: number(0).cast_signed(), offload: number(8) & 2 != 0 }
            }
            None => return Ok(None),
        },
        _ => return Ok(None),
    };
    Ok(Some(read))
}

/// The attribute `kind` among options.
fn option(options: &[u8], kind: u16) -> Result<Option<&[u8]>, ReadError> {
    for attribute in attributes(options) {
        let attribute = attribute?;
        if attribute.kind == kind {
            return Ok(Some(attribute.payload));
        }
    }
    Ok(None)
}

/// `tc_tbf_qopt`; a rate beyond 32 bits stands in an attribute of its own.
fn tbf(options: &[u8]) -> Result<Option<Particular>, ReadError> {
    const PARAMETERS: u16 = 1;
    const RATE_64: u16 = 4;
    let Some(parameters) = option(options, PARAMETERS)? else { return Ok(None) };
    let b = at_least("tc_tbf_qopt", parameters, 28)?;
    let narrow = u64::from(u32_at(b, 8).unwrap_or_default());
    let rate = option(options, RATE_64)?.and_then(|bytes| u64_at(bytes, 0)).unwrap_or(narrow);
    Ok(Some(Particular::Tbf { rate, limit: u32_at(b, 24).unwrap_or_default() }))
}
