//! When packets would be due under the operator-confirmed caps while another profile is in force: what
//! `t_normal` is made of, so that a profile is not the cause of its own verdict.
//!
//! Buckets of flows and classes are charged at arrival, as those of `t_sched` are. They begin as those
//! stood when the confirmed profile was left, and are not kept up while it is in force: there both
//! times are the same.

use super::class::ClassNode;
use super::gcra::{Level, LevelParams};
use crate::meta::PacketMeta;
use crate::profile::Profile;
use crate::time::Nanos;

#[derive(Clone, Copy, Debug, Default)]
struct OfFlow {
    level: Level,
    /// When it was last brought up to date: another number is an old stretch of time.
    stretch: u32,
    /// The class whose buckets it counts in.
    class: u8,
}

struct OfClass {
    flow_params: LevelParams,
    /// As they were before the last [`Confirmed::replace`].
    flow_params_before: LevelParams,
    class_params: LevelParams,
    level: Level,
}

/// See the module's text.
pub(super) struct Confirmed {
    flows: Box<[OfFlow]>,
    /// Empty while no confirmed profile has been seen.
    classes: Vec<OfClass>,
    /// Number of the stretch of time under other profiles.
    stretch: u32,
    /// The stretch before this one ended here, by a [`Confirmed::replace`].
    replaced_at: Option<Nanos>,
}

impl Confirmed {
    /// All memory is taken here.
    pub fn new(flows: usize, profile: &Profile) -> Self {
        let classes = Vec::with_capacity(profile.classes.len());
        let flows = vec![OfFlow::default(); flows].into_boxed_slice();
        let mut new = Self { flows, classes, stretch: 0, replaced_at: None };
        if profile.index == 0 {
            new.take(profile);
        }
        new
    }

    /// The confirmed profile is in force.
    pub fn take(&mut self, profile: &Profile) {
        self.classes.clear();
        self.classes.extend(profile.classes.iter().map(|class| OfClass {
            flow_params: class.flow.into(),
            flow_params_before: LevelParams::default(),
            class_params: class.class.into(),
            level: Level::default(),
        }));
    }

    /// Another one is confirmed while it is not in force: buckets keep their TAT. That of a flow is carried
    /// over at its next packet; of two changes between two packets of a flow only the last is known, and
    /// the flow begins again.
    pub fn replace(&mut self, now: Nanos, profile: &Profile) {
        self.stretch += 1;
        self.replaced_at = Some(now);
        for (mine, class) in self.classes.iter_mut().zip(&profile.classes) {
            let class_params = LevelParams::from(class.class);
            mine.level.rescale(&mine.class_params, &class_params, now);
            mine.flow_params_before = std::mem::replace(&mut mine.flow_params, class.flow.into());
            mine.class_params = class_params;
        }
    }

    /// It is left; `classes` are as they stood under it.
    pub fn leave(&mut self, classes: &[ClassNode]) {
        self.stretch += 1;
        self.replaced_at = None;
        for (mine, class) in self.classes.iter_mut().zip(classes) {
            mine.level = if class.is_apart { class.sched } else { class.level };
        }
    }

    /// When the packet of `flow`, whose class is `class`, would be due. `before` is what `t_sched` was
    /// asked of, with its parameters. `None` while no confirmed profile has been seen.
    #[cold]
    pub fn schedule(
        &mut self,
        flow: u32,
        class: u8,
        meta: &PacketMeta,
        (before, params): (&Level, &LevelParams),
    ) -> Option<Nanos> {
        let c = self.classes.get_mut(usize::from(class))?;
        let f = &mut self.flows[flow as usize];
        if (f.stretch, f.class) != (self.stretch, class) {
            let follows = (f.stretch.wrapping_add(1), f.class) == (self.stretch, class);
            if let Some(at) = self.replaced_at.filter(|_| follows) {
                f.level.rescale(&c.flow_params_before, &c.flow_params, at);
                f.stretch = self.stretch;
            } else {
                *f = OfFlow { level: *before, stretch: self.stretch, class };
                f.level.rescale(params, &c.flow_params, meta.arrival);
            }
        }
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        let of_flow = f.level.ask(&c.flow_params, wire_len, messages);
        let of_class = c.level.ask(&c.class_params, wire_len, messages);
        let wanted = meta.wanted();
        let at = if meta.is_exempt() { wanted } else { wanted.max(of_flow.at).max(of_class.at) };
        f.level.take(&c.flow_params, &of_flow, at);
        c.level.take(&c.class_params, &of_class, at);
        Some(at)
    }

    /// `flow` is nobody's any more: whoever has it next owes nothing.
    pub fn forget(&mut self, flow: u32) {
        if let Some(flow) = self.flows.get_mut(flow as usize) {
            *flow = OfFlow::default();
        }
    }

    /// What was late is given up, here too.
    pub fn re_anchor(&mut self, flow: u32, class: u8, now: Nanos) {
        let f = &mut self.flows[flow as usize];
        if let Some(c) = self.classes.get_mut(usize::from(class))
            && (f.stretch, f.class) == (self.stretch, class)
        {
            f.level.re_anchor(&c.flow_params, now);
            c.level.re_anchor(&c.class_params, now);
        }
    }
}
