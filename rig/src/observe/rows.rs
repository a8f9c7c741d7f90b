//! From captured frames to what a gateway's core would have counted of them.

use std::collections::HashMap;

use control::controller::Kpis;
use control::kpis::PacketKpis;
use control::timeline::Recorder;
use model::config::{Config, Observe};
use model::frame::FlowKey;
use model::inflight::Serializer;
use model::kind::{Kind, Side};
use model::kpi::{Block, CoreAggregates, Departure, FlowKpi, KpiPlan};
use model::meta::{IntentSource, StampSource, wire_len};
use model::rules::{Rules, Verdict};
use model::sample::{DepartureSource, End, Mode, Release, Sample, TcpSeen};
use model::time::Nanos;

use super::matching::Matcher;
use super::seen::{Place, Seen};

/// The number of the flow of all that found no place of their own.
const FLOW_OF_THE_REST: u32 = u32::MAX;

/// Counts and rows of captured frames.
pub struct Rows {
    rules: Rules,
    kinds: Vec<Kind>,
    aggregates: CoreAggregates,
    spare: Option<Box<Block>>,
    flows: HashMap<FlowKey, (u32, FlowKpi)>,
    flows_max: usize,
    /// On a host that forwards: what came in, towards the venue and towards the strategies.
    matching: Option<[Matcher; 2]>,
    link: Option<Serializer>,
    packets: u64,
    unmatched: u64,
}

/// A frame whose hand-over is known, on its way out.
struct Leaving<'a> {
    seen: &'a Seen,
    from: Side,
    verdict: Verdict,
    dispatch: Nanos,
}

impl Rows {
    /// Nothing yet.
    pub fn new(config: &Config, observe: &Observe, plan: &KpiPlan) -> Self {
        Self {
            rules: config.rules.clone(),
            kinds: config.classes.iter().map(|class| class.kind).collect(),
            aggregates: CoreAggregates::new(plan),
            spare: Some(Box::new(Block::new(plan))),
            flows: HashMap::new(),
            flows_max: config.gateway.flows_max as usize,
            matching: observe.ingress.is_some().then(Default::default),
            link: observe.link_bps.map(Serializer::new),
            packets: 0,
            unmatched: 0,
        }
    }

    /// Frames that left, and on a host that forwards had not come in: its own.
    pub const fn unmatched(&self) -> u64 {
        self.unmatched
    }

    /// Counts a frame. Call it in the order of time.
    pub fn add(&mut self, seen: &Seen, kpis: &mut PacketKpis, timeline: &mut Option<Recorder>) {
        let (from, dispatch) = match (seen.place, &mut self.matching) {
            (Place::EgressOut, None) => (Side::Inside, Some(seen.at)),
            // Delivered here: the tap in front of the sockets is as near as a capture comes.
            (Place::EgressIn, None) => (Side::Venue, Some(seen.at)),
            (Place::IngressIn, Some([out, _])) => return out.arrived(seen),
            (Place::EgressIn, Some([_, back])) => return back.arrived(seen),
            (Place::EgressOut, Some([out, _])) => (Side::Inside, out.left(seen)),
            (Place::IngressOut, Some([_, back])) => (Side::Venue, back.left(seen)),
            (Place::IngressIn | Place::IngressOut, None) => return,
        };
        let Some(dispatch) = dispatch else {
            self.unmatched += 1;
            return;
        };
        let verdict = self.rules.classify(from, &seen.parsed);
        self.leave(&Leaving { seen, from, verdict, dispatch }, kpis, timeline);
    }

    fn leave(&mut self, l: &Leaving<'_>, kpis: &mut PacketKpis, timeline: &mut Option<Recorder>) {
        let (seen, class) = (l.seen, l.verdict.class);
        let port = if l.from == Side::Inside { Observe::EGRESS } else { Observe::INGRESS };
        let header_bytes = seen.header_bytes;
        let segments = seen.segments();
        self.aggregates.on_arrival(port, Some(class), seen.len, l.dispatch);
        if segments.clone().count() > 1 {
            let lens = segments.clone().map(|payload| header_bytes + payload);
            self.aggregates.on_segmented(port, class, seen.len, lens);
        }
        let (number, mut flow) = self.flow(seen.parsed.key);
        let mut sent = 0;
        for payload in segments {
            let len = header_bytes + payload;
            let t_wire = match &mut self.link {
                Some(link) if l.from == Side::Inside => link.send(seen.at, wire_len(len)).start,
                _ => seen.at,
            };
            let mut meta = seen.meta(class, l.verdict.label, l.dispatch, len);
            meta.set_sources(StampSource::Kernel, IntentSource::Implicit);
            let departure = Departure {
                meta: &meta,
                port,
                t_eligible: l.dispatch,
                t_tx: seen.at,
                t_wire,
                release: Release::Governed,
                bucket_held: false,
                link_wait: Nanos::ZERO,
            };
            self.aggregates.on_departure(&departure, &mut flow);
            sent += payload;
            let row = self.row(l, number, &departure, payload, sent);
            kpis.sample(0, &row);
            if let Some(timeline) = timeline {
                timeline.packet(0, &row);
            }
        }
        if let Some((_, known)) = self.flows.get_mut(&seen.parsed.key) {
            *known = flow;
        }
    }

    /// The number of a flow and what is remembered of it.
    fn flow(&mut self, key: FlowKey) -> (u32, FlowKpi) {
        let next = self.flows.len();
        if next >= self.flows_max && !self.flows.contains_key(&key) {
            return (FLOW_OF_THE_REST, FlowKpi::default());
        }
        let number = u32::try_from(next).unwrap_or(FLOW_OF_THE_REST);
        *self.flows.entry(key).or_insert((number, FlowKpi::default()))
    }

    /// The row of a frame with `payload` bytes, with which `sent` of the super-frame's have left.
    fn row(
        &mut self,
        l: &Leaving<'_>,
        flow: u32,
        departure: &Departure<'_>,
        payload: u32,
        sent: u32,
    ) -> Sample {
        let (seen, meta) = (l.seen, departure.meta);
        let tcp = seen.is_tcp().then(|| TcpSeen {
            connection: seen.parsed.key.connection(),
            ack: seen.ack,
            payload_bytes: u16::try_from(payload).unwrap_or(u16::MAX),
        });
        let is_modelled = self.link.is_some() && l.from == Side::Inside;
        self.packets += 1;
        Sample {
            packet_id: self.packets,
            correlation_id: None,
            flow,
            tcp_end_seq: tcp.map(|_| seen.parsed.tcp_seq.wrapping_add(sent)),
            tcp,
            class: meta.class,
            label: meta.label,
            kind: self.kinds.get(usize::from(meta.class)).copied().unwrap_or(Kind::Other),
            urgency: 0,
            len: meta.len,
            messages: 0,
            t_decision: None,
            t_dispatch: l.dispatch,
            t_due: l.dispatch,
            t_sched: None,
            t_normal: None,
            t_eligible: None,
            t_tx: Some(seen.at),
            t_wire: Some(departure.t_wire),
            t_ingress: l.dispatch,
            t_carried: None,
            t_delivery: (l.from == Side::Venue).then_some(seen.at),
            clock_error_ns: None,
            intent: IntentSource::Implicit,
            ingress_source: StampSource::Kernel,
            departure_source: if is_modelled {
                DepartureSource::Modelled
            } else {
                DepartureSource::Kernel
            },
            simulated_link: false,
            from: l.from,
            port: departure.port,
            queue: 0,
            backlog_bytes: 0,
            end: End::Sent(Release::Governed),
            regime: None,
            profile: 0,
            mode: Mode::Observe,
            canary: None,
            weight: 1,
        }
    }

    /// Hands what was counted until `now` to `kpis`; `last`: everything that is still open too.
    pub fn settle(&mut self, now: Nanos, last: bool, kpis: &mut PacketKpis) {
        if last {
            self.aggregates.flush();
        }
        if let Some(spare) = self.spare.take() {
            let mut block = self.aggregates.swap(now, spare);
            kpis.merge(0, &mut block);
            self.spare = Some(block);
        }
    }
}
