//! The questions, and the arms that answer each.

use model::time::Nanos;

use super::config::Driver;
use super::fault::Fault;
use super::net::{Discipline, Forwarder, Wanted};
use super::result::{Arm, Asked, Belongs, Contract, Fact};
use super::schedule::Schedule;
use super::sender::HandOver;
use super::sockets::Options;
use super::workload::Workload;

/// Most that TCP takes and does not send, in the arm that limits it.
const LOW_WATER_BYTES: u32 = 16 << 10;

/// Bursts of a token bucket that are tried, percent of a message.
const BURSTS_PERCENT: [u64; 3] = [110, 150, 200];
/// As much as the contract has.
const FULL_FRAME: u64 = 10_000;

/// Who stands between the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Between {
    /// The kernel forwards.
    Kernel {
        /// See [`Forwarder::Kernel`].
        threaded: bool,
    },
    /// `wirepace run`.
    Wirepace {
        /// It keeps the contract; else it forwards only.
        paces: bool,
    },
}

/// Who paces on the strategy host, below the strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pacing {
    /// Nobody.
    None,
    /// A token bucket of the egress interface.
    Bucket {
        /// Which.
        discipline: Discipline,
        /// Its burst, percent of one message (of streams: of a full frame). Small, it loses rate to late
        /// timers; large, it lets the beginning of each batch go at once.
        burst_percent: u64,
    },
    /// SO_MAX_PACING_RATE: TCP by its own timer.
    Socket,
    /// SO_MAX_PACING_RATE, kept by fq.
    Fq,
}

impl Pacing {
    /// The name in reports.
    pub fn name(self) -> String {
        match self {
            Self::None => "none".to_owned(),
            Self::Bucket { discipline, burst_percent: FULL_FRAME } => {
                format!("{} with the contract's burst", discipline.name())
            }
            Self::Bucket { discipline, burst_percent } => {
                let (name, messages) = (discipline.name(), burst_percent as f64 / 100.0);
                format!("{name} with a burst of {messages} messages")
            }
            Self::Socket => "SO_MAX_PACING_RATE, TCP's own timer".to_owned(),
            Self::Fq => "SO_MAX_PACING_RATE, fq".to_owned(),
        }
    }

    const fn discipline(self) -> Discipline {
        match self {
            Self::None | Self::Socket => Discipline::None,
            Self::Bucket { discipline, .. } => discipline,
            Self::Fq => Discipline::Fq,
        }
    }
}

/// An arm, as it is set up for each of its blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Its short name.
    pub name: &'static str,
    /// When the strategy hands over.
    pub hand_over: HandOver,
    /// Who stands between the hosts.
    pub between: Between,
    /// Who paces on the strategy host.
    pub pacing: Pacing,
    /// The hosts leave checksums to their devices: without that there is no TSO.
    pub checksumming: bool,
    /// TSO and GSO of the strategy host.
    pub segmentation: bool,
    /// TCP of the strategy host waits for more to put into a segment.
    pub autocorking: bool,
    /// TCP sends each write at once.
    pub no_delay: bool,
    /// Most that TCP takes and does not send.
    pub not_sent_low_water: Option<u32>,
    /// What is wrong on purpose.
    pub fault: Option<Fault>,
}

impl Spec {
    /// What the strategy does in every arm that is about pacing: it hands over early and TCP sends each write.
    const fn early(name: &'static str, between: Between, pacing: Pacing) -> Self {
        Self {
            name,
            hand_over: HandOver::Early,
            between,
            pacing,
            checksumming: false,
            segmentation: false,
            autocorking: false,
            no_delay: true,
            not_sent_low_water: None,
            fault: None,
        }
    }

    /// The contract as it keeps it: that of all arms, or what its fault makes of it.
    pub fn kept(&self, contract: &Contract) -> Contract {
        let rate = |rate| self.fault.map_or(rate, |fault| fault.rate(rate));
        Contract {
            rate_bits_per_s: rate(contract.rate_bits_per_s),
            messages_per_s: rate(contract.messages_per_s),
            ..contract.clone()
        }
    }

    /// The burst of its bucket: never more than the contract's.
    fn burst_bytes(&self, contract: &Contract) -> u64 {
        let Pacing::Bucket { burst_percent, .. } = self.pacing else { return contract.burst_bytes };
        let message = contract.rate_bits_per_s / 8 / contract.messages_per_s.max(1);
        (message * burst_percent).div_ceil(100).min(contract.burst_bytes)
    }

    /// What hosts and gateway are to be like, for a workload with this hold.
    pub fn wanted(&self, contract: &Contract, receive_hold: Option<Nanos>) -> Wanted {
        let forwarder = match self.between {
            Between::Kernel { threaded } => Forwarder::Kernel { threaded },
            Between::Wirepace { .. } => Forwarder::Silent,
        };
        Wanted {
            forwarder,
            discipline: self.pacing.discipline(),
            rate_bits_per_s: self.kept(contract).rate_bits_per_s,
            burst_bytes: self.burst_bytes(contract),
            checksumming: self.checksumming,
            segmentation: self.segmentation,
            autocorking: self.autocorking,
            receive_hold,
        }
    }

    /// How the strategy's sockets are set.
    pub fn options(&self, contract: &Contract) -> Options {
        let paces = matches!(self.pacing, Pacing::Socket | Pacing::Fq);
        Options {
            no_delay: self.no_delay,
            not_sent_low_water: self.not_sent_low_water,
            max_pacing_rate: paces.then(|| self.kept(contract).rate_bits_per_s / 8),
        }
    }

    /// As it stands in the result.
    pub fn shown(&self, driver: Driver) -> Arm {
        let fact = |name: &str, value: String| Fact { name: name.to_owned(), value };
        let (between, title) = match self.between {
            Between::Kernel { threaded } => {
                let polls = if threaded { ", threaded NAPI" } else { "" };
                let hands =
                    if self.hand_over == HandOver::AtDue { ", the strategy spins" } else { "" };
                let paces = match self.pacing {
                    Pacing::None => String::new(),
                    other => format!(", {} on the strategy host", other.name()),
                };
                (
                    format!("kernel, IP forwarding{polls}"),
                    format!("the kernel's path{polls}{hands}{paces}"),
                )
            }
            // Not bypass: that word is for devices that the kernel does not have.
            Between::Wirepace { paces } => {
                let title = format!("wirepace over {} on veth", driver.name());
                let does = if paces { "paces" } else { "forwards only" };
                (
                    format!("{title}, {does}"),
                    if paces { title } else { format!("{title}, unpaced") },
                )
            }
        };
        let on = |is_on: bool| (if is_on { "on" } else { "off" }).to_owned();
        let mut settings = vec![
            fact("gateway", between),
            fact("pacing on the strategy host", self.pacing.name()),
            fact("TX checksumming of the hosts", on(self.checksumming)),
            fact("TSO and GSO of the strategy host", on(self.segmentation)),
            fact("tcp_autocorking", on(self.autocorking)),
            fact("TCP_NODELAY", on(self.no_delay)),
        ];
        if let Some(bytes) = self.not_sent_low_water {
            settings.push(fact("TCP_NOTSENT_LOWAT", format!("{bytes} bytes")));
        }
        if self.between == (Between::Kernel { threaded: true }) {
            let said = "on: a veth polls only while it gathers";
            settings.push(fact("GRO of the gateway", said.to_owned()));
            let said = "one for each interface, first on the CPU of the arm";
            settings.push(fact("polling threads of the gateway", said.to_owned()));
        }
        if let Some(fault) = self.fault {
            settings.push(fact("fault on purpose", fault.name().to_owned()));
        }
        let is_kernel = matches!(self.between, Between::Kernel { .. });
        Arm {
            name: self.name.to_owned(),
            title,
            paces: self.pacing != Pacing::None || self.between == Between::Wirepace { paces: true },
            is_kernel,
            settings,
        }
    }
}

/// The ways in which a kernel that has `has` can pace `schedule` on the strategy host, the best known
/// first. Where fq is there nothing else is worth a trial.
pub fn pacings(schedule: &Schedule, has: impl Fn(Discipline) -> bool) -> Vec<Pacing> {
    if has(Discipline::Fq) {
        return vec![Pacing::Fq];
    }
    let is_tcp = schedule.is_tcp();
    // A stream may leave in full frames, which a smaller bucket would never let go.
    let bursts = if is_tcp { &[FULL_FRAME][..] } else { &BURSTS_PERCENT[..] };
    let sockets = is_tcp.then_some(Pacing::Socket);
    let kinds = [Discipline::Tbf, Discipline::Htb].into_iter().filter(|kind| has(*kind));
    let buckets = kinds.flat_map(|discipline| {
        bursts.iter().map(move |percent| Pacing::Bucket { discipline, burst_percent: *percent })
    });
    sockets.into_iter().chain(buckets).collect()
}

/// The arms of a question and the one that all others are compared with. `pacing` is how the kernel paces
/// best; without it there is no such arm.
pub fn arms(asked: Asked, pacing: Option<Pacing>, quick: bool) -> (Vec<Spec>, usize) {
    let kernel = Between::Kernel { threaded: false };
    match asked {
        Asked::WhoPaces => {
            let sender =
                Spec { hand_over: HandOver::AtDue, ..Spec::early("sender", kernel, Pacing::None) };
            let mut arms = vec![sender];
            if let Some(pacing) = pacing {
                arms.push(Spec::early("kernel", kernel, pacing));
                let tuned = Between::Kernel { threaded: true };
                arms.extend((!quick).then(|| Spec::early("kernel-tuned", tuned, pacing)));
            }
            arms.push(Spec::early("kernel-none", kernel, Pacing::None));
            let wirepace = Between::Wirepace { paces: true };
            arms.push(Spec::early("wirepace", wirepace, Pacing::None));
            let reference = arms.len() - 1;
            (arms, reference)
        }
        Asked::Forwarding => {
            // One message at a time: a batch would wait for itself.
            let one = |name, between| Spec {
                hand_over: HandOver::AtDue,
                ..Spec::early(name, between, Pacing::None)
            };
            let unpaced = Between::Wirepace { paces: false };
            (vec![one("kernel-none", kernel), one("wirepace-unpaced", unpaced)], 1)
        }
        Asked::Offloads => {
            let usual = Spec {
                checksumming: true,
                segmentation: true,
                autocorking: true,
                no_delay: false,
                ..Spec::early("usual", kernel, Pacing::None)
            };
            let low_water = Spec { not_sent_low_water: Some(LOW_WATER_BYTES), ..usual };
            let arms = vec![
                usual,
                Spec { name: "no-tso-gso", segmentation: false, ..usual },
                Spec { name: "no-autocork", autocorking: false, ..usual },
                Spec { name: "nodelay", no_delay: true, ..usual },
                Spec { name: "low-water", ..low_water },
                // What they do to each other shows where their effects do not add up to this.
                Spec {
                    name: "all-four",
                    segmentation: false,
                    autocorking: false,
                    no_delay: true,
                    ..low_water
                },
            ];
            (arms, 0)
        }
    }
}

/// In words.
pub const fn text(asked: Asked) -> &'static str {
    match asked {
        Asked::WhoPaces => {
            "Who paces? The same messages are handed over early; the strategy host's kernel or the gateway \
             paces them by one contract. In the arm sender the strategy paces by spinning."
        }
        Asked::Forwarding => "What does forwarding add? Nobody paces, one message at a time.",
        Asked::Offloads => {
            "What do offloads of the strategy host do? The gateway is the same in all arms. Each arm differs \
             from the usual settings by one factor, and the last by all four: not every combination is run."
        }
    }
}

/// Whether a question is asked with this workload.
pub fn fits(asked: Asked, schedule: &Schedule) -> bool {
    match asked {
        Asked::WhoPaces => true,
        Asked::Forwarding => schedule.workload == Workload::SteadyOrders.name(),
        Asked::Offloads => schedule.is_tcp(),
    }
}

/// What belongs to an arm, and what is the same in all.
pub fn belongs(asked: Asked) -> Vec<Belongs> {
    let row = |what: &str, to_workload, value: &str| Belongs {
        what: what.to_owned(),
        to_workload,
        value: value.to_owned(),
    };
    let mut rows = vec![
        row("messages: bytes, kinds, due times", true, "from the schedule file"),
        row("contract: rate, burst, longest delay", true, "one for all arms"),
        row("GRO at the observer", true, "off"),
        row("observer, its clock, modelled link", true, "the venue's interface"),
        row("acknowledgements of the venue", true, "each segment at once"),
        row("CPUs of sender and arm", true, "one each"),
    ];
    rows.extend(match asked {
        Asked::WhoPaces => vec![
            row("hand-over", false, "early; in the arm sender when due"),
            row(
                "queueing discipline of the strategy host",
                false,
                "under test in kernel arms, else none",
            ),
            row(
                "who forwards in the gateway",
                false,
                "the kernel, or wirepace with the kernel silent",
            ),
            row("TX checksumming of the hosts", true, "off"),
            row("TSO, GSO, autocorking, NODELAY of the strategy host", true, "off, off, off, on"),
        ],
        Asked::Forwarding => vec![
            row("hand-over", true, "when due"),
            row("queueing discipline of the strategy host", true, "none"),
            row(
                "who forwards in the gateway",
                false,
                "the kernel, or wirepace with the kernel silent",
            ),
            row("TX checksumming of the hosts", true, "off"),
            row("TSO, GSO, autocorking, NODELAY of the strategy host", true, "off, off, off, on"),
        ],
        Asked::Offloads => vec![
            row("hand-over", true, "early"),
            row("queueing discipline of the strategy host", true, "none"),
            row("who forwards in the gateway", true, "the kernel"),
            row(
                "TSO, GSO, autocorking, NODELAY, low water of the strategy host",
                false,
                "one differs, in the last arm all",
            ),
        ],
    });
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_with_fq_paces_by_it_and_one_without_by_what_it_has() {
        let of = |workload: Workload| workload.schedule(1, Nanos::from_millis(10));
        let (udp, tcp) = (of(Workload::SteadyOrders), of(Workload::TcpSmallWrites));
        assert_eq!(pacings(&udp, |_| true), [Pacing::Fq]);
        let buckets = |d: Discipline| d != Discipline::Fq;
        assert_eq!(pacings(&udp, buckets).len(), 6, "two kinds, three bursts");
        let tbf = Pacing::Bucket { discipline: Discipline::Tbf, burst_percent: 110 };
        assert_eq!(pacings(&udp, buckets)[0], tbf);
        assert_eq!(pacings(&tcp, buckets).len(), 3);
        assert_eq!(pacings(&tcp, buckets)[0], Pacing::Socket);
        assert_eq!(pacings(&tcp, |_| false), [Pacing::Socket]);
        assert!(pacings(&udp, |_| false).is_empty());
    }

    #[test]
    fn a_bucket_holds_what_its_arm_says_and_no_more_than_the_contract() {
        let contract = Contract {
            rate_bits_per_s: 22_422_400,
            messages_per_s: 10_010,
            burst_bytes: 560,
            ..Contract::default()
        };
        let burst = |pacing| {
            let kernel = Between::Kernel { threaded: false };
            Spec::early("kernel", kernel, pacing).wanted(&contract, None).burst_bytes
        };
        let bucket = |burst_percent| Pacing::Bucket { discipline: Discipline::Tbf, burst_percent };
        assert_eq!((burst(bucket(150)), burst(bucket(FULL_FRAME))), (420, 560));
        assert_eq!(burst(Pacing::Fq), 560);
    }

    #[test]
    fn every_question_has_its_arms_and_differs_in_what_it_says() {
        let names = |asked, pacing, quick| {
            let (arms, reference) = arms(asked, pacing, quick);
            assert!(reference < arms.len());
            arms.iter().map(|arm| arm.name).collect::<Vec<_>>()
        };
        let tbf = Some(Pacing::Bucket { discipline: Discipline::Tbf, burst_percent: 150 });
        let quick = names(Asked::WhoPaces, tbf, true);
        assert_eq!(quick, ["sender", "kernel", "kernel-none", "wirepace"]);
        assert_eq!(names(Asked::WhoPaces, tbf, false).len(), 5);
        assert_eq!(names(Asked::WhoPaces, None, true), ["sender", "kernel-none", "wirepace"]);
        assert_eq!(names(Asked::Forwarding, None, true), ["kernel-none", "wirepace-unpaced"]);
        assert_eq!(names(Asked::Offloads, None, true).len(), 6);
        let (all, _) = arms(Asked::WhoPaces, tbf, true);
        let shown: Vec<_> = all.iter().map(|arm| arm.shown(Driver::AfXdp)).collect();
        let paces: Vec<bool> = shown.iter().map(|arm| arm.paces).collect();
        assert_eq!(paces, [false, true, false, true]);
        let (offloads, usual) = super::arms(Asked::Offloads, None, false);
        let differ = |spec: &Spec| {
            let of = |spec: &Spec| {
                let low_water = spec.not_sent_low_water.is_some();
                [spec.segmentation, spec.autocorking, spec.no_delay, low_water]
            };
            let both = of(spec).into_iter().zip(of(&offloads[usual]));
            both.filter(|(mine, theirs)| mine != theirs).count()
        };
        let differ: Vec<_> = offloads.iter().map(differ).collect();
        assert_eq!(differ, [0, 1, 1, 1, 1, 4]);
        assert_eq!(shown[3].title, "wirepace over af_xdp on veth");
        assert!(shown.iter().all(|arm| !arm.title.contains("bypass")));
    }
}
