//! The schedule that the operator-confirmed caps would have given while another profile is in force:
//! `t_normal`, from which KPIs are told what a profile did on purpose.
//!
//! Flow and class are asked at arrival as for `t_sched`, without jitter and release windows. It begins with
//! what flow and class owe when `normal` is left, and costs nothing as long as `normal` is in force.

use super::class::ClassNode;
use super::gcra::{Level, LevelParams};
use crate::meta::PacketMeta;
use crate::time::Nanos;

/// See the module.
pub(super) struct Normal {
    /// Another profile is in force.
    active: bool,
    /// How often `normal` was left; what a flow had the time before is void.
    turn: u32,
    classes: Box<[OfClass]>,
    flows: Box<[OfFlow]>,
}

#[derive(Clone, Default)]
struct OfClass {
    flow_params: LevelParams,
    params: LevelParams,
    level: Level,
}

#[derive(Clone, Default)]
struct OfFlow {
    level: Level,
    turn: u32,
    class: u8,
}

impl Normal {
    /// For so many classes and flows. All memory is taken here.
    pub fn new(classes: usize, flows: usize) -> Self {
        Self {
            active: false,
            turn: 0,
            classes: vec![OfClass::default(); classes].into(),
            flows: vec![OfFlow::default(); flows].into(),
        }
    }

    /// Whether another profile is in force, and `normal` was before.
    #[inline]
    pub const fn is_active(&self) -> bool {
        self.active
    }

    /// `normal`, under which `classes` still are, is about to be left.
    pub fn leave(&mut self, classes: &[ClassNode]) {
        self.active = true;
        self.turn = self.turn.wrapping_add(1).max(1);
        for (mine, c) in self.classes.iter_mut().zip(classes) {
            (mine.flow_params, mine.params) = (c.flow_params, c.class_params);
            mine.level = if c.is_apart { c.sched } else { c.level };
        }
    }

    /// `normal` is in force again.
    pub const fn come_back(&mut self) {
        self.active = false;
    }

    /// `flow` is nobody's any more.
    pub fn forget(&mut self, flow: u32) {
        if let Some(flow) = self.flows.get_mut(flow as usize) {
            flow.turn = 0;
        }
    }

    /// When the packet that `meta` describes would have been due. Its flow, of class `class`, owes `owed`
    /// under the caps `params` in force.
    #[cold]
    pub fn schedule(
        &mut self,
        flow: u32,
        class: usize,
        (mut owed, params): (Level, &LevelParams),
        meta: &PacketMeta,
    ) -> Nanos {
        let (Some(f), Some(c)) = (self.flows.get_mut(flow as usize), self.classes.get_mut(class))
        else {
            return meta.wanted();
        };
        if (f.turn, usize::from(f.class)) != (self.turn, class) {
            owed.rescale(params, &c.flow_params, meta.arrival);
            // A class number comes from a table of at most 256.
            *f = OfFlow { level: owed, turn: self.turn, class: class as u8 };
        }
        let (wire_len, messages) = (meta.wire_len(), u32::from(meta.messages));
        let of_flow = f.level.ask(&c.flow_params, wire_len, messages);
        let of_class = c.level.ask(&c.params, wire_len, messages);
        let at = match meta.is_exempt() {
            true => meta.wanted(),
            false => meta.wanted().max(of_flow.at).max(of_class.at),
        };
        f.level.take(&c.flow_params, &of_flow, at);
        c.level.take(&c.params, &of_class, at);
        at
    }
}
