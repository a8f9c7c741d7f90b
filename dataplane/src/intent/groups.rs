//! Which flow of the pacer an ordering group queues in.
//!
//! A record may widen the group of its packet: everything with the same group number from the same
//! source address (and VLAN) then shares one flow, and so keeps its order. It never splits a 5-tuple:
//! a 5-tuple is in one flow at a time and changes only when that flow is empty, so that nothing of it
//! can be overtaken. Until then the old one stays, and is counted.
//!
//! For each burst the lane calls [`Groups::begin_burst`], then [`Groups::place`] for every IP packet
//! that has a flow of its own, in the order of the burst, with or without a record. When the flow
//! table wants to forget a 5-tuple it asks [`Groups::forget`] first. [`Groups::give_back`] is called now
//! and then, so that flows of groups that are no more serve again, as good as new.

use model::frame::FlowKey;
use model::pacer::Seat;

use crate::flow_hash::{FlowHash, FlowHashKey};

/// [`FlowKey::ip_version`] bit that no real key has.
const GROUP_KEY: u8 = 0x80;
/// No group.
const NO_GROUP: u32 = u32::MAX;

/// Class, venue and label of the packet that founds a group; the id is that of the group.
pub type Founder = Seat;

/// The pacer, as far as groups look at it.
pub trait Queues {
    /// Whether a flow holds no packet.
    fn is_empty(&self, flow: u32) -> bool;
    /// A flow that nobody has for the group of `seat`, or `None` when all are taken.
    fn new_group(&mut self, seat: Seat) -> Option<u32>;
    /// `flow` queues elsewhere from now on.
    fn joins(&mut self, flow: u32);
}

/// What was decided, since construction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupCounters {
    /// Changes of group that waited: the old flow still held packets.
    pub changes_waiting: u64,
    /// Groups that found the table full, or no flow for them: their packets keep their 5-tuple's.
    pub full: u64,
}

/// One group.
#[derive(Clone, Copy, Debug)]
struct Group {
    key: FlowHashKey,
    flow: u32,
    /// 5-tuples whose current flow it is.
    members: u32,
}

/// See the module.
pub struct Groups {
    table: FlowHash,
    /// A group's place never changes while it exists.
    groups: Box<[Option<Group>]>,
    /// Places that are free.
    free: Vec<u32>,
    /// Flows of groups that are no more, until the pacer takes them back.
    spare_flows: Vec<u32>,
    /// By the own flow of a 5-tuple: the group that it is in.
    group_of: Box<[u32]>,
    /// By flow: the burst in which a packet was last placed on it. The pacer sees a packet only when
    /// its burst has been classified.
    placed_in: Box<[u32]>,
    burst: u32,
    counters: GroupCounters,
}

impl Groups {
    /// Room for as many groups as `table` has, over a pacer of `flows_max` flows.
    pub fn new(table: FlowHash, flows_max: u32) -> Self {
        let groups_max = table.flows_max();
        Self {
            groups: vec![None; groups_max as usize].into_boxed_slice(),
            free: (0..groups_max).rev().collect(),
            spare_flows: Vec::with_capacity(groups_max as usize),
            group_of: vec![NO_GROUP; flows_max as usize].into_boxed_slice(),
            placed_in: vec![0; flows_max as usize].into_boxed_slice(),
            burst: 0,
            counters: GroupCounters::default(),
            table,
        }
    }

    /// A new burst is classified: what was placed before is with the pacer now.
    pub fn begin_burst(&mut self) {
        self.burst = self.burst.wrapping_add(1);
        if self.burst == 0 {
            self.placed_in.fill(0);
            self.burst = 1;
        }
    }

    /// The flow that a packet queues in. `key` is its 5-tuple, `own` the flow of the 5-tuple, `wanted`
    /// the group that its record names; a packet whose record names none stays where its 5-tuple is. A group
    /// that it founds is known by `founder`.
    #[inline]
    pub fn place(
        &mut self,
        key: &FlowKey,
        own: u32,
        wanted: Option<u32>,
        founder: Founder,
        queues: &mut impl Queues,
    ) -> u32 {
        let mut flow = self.flow_of(own);
        if let Some(group) = wanted {
            flow = self.move_to(group_key(key, group), own, flow, founder, queues);
        }
        if let Some(placed) = self.placed_in.get_mut(flow as usize) {
            *placed = self.burst;
        }
        flow
    }

    /// Whether the 5-tuple with this flow may be forgotten: not while the group that it is in holds
    /// packets, because a packet that comes next would pass them. If it may, it has left its group.
    pub fn forget(&mut self, own: u32, queues: &impl Queues) -> bool {
        let flow = self.flow_of(own);
        if flow == own {
            return true;
        }
        let forgotten = queues.is_empty(flow);
        if forgotten {
            self.leave(own);
        }
        forgotten
    }

    /// The flow in which packets queue of the 5-tuple with this flow.
    pub fn flow_of(&self, own: u32) -> u32 {
        let group = self.group_of.get(own as usize).map_or(NO_GROUP, |group| *group);
        match self.groups.get(group as usize) {
            Some(Some(group)) => group.flow,
            _ => own,
        }
    }

    /// Gives one flow of a group that is no more back, if `take` takes it: once it owes nothing. After
    /// one that is not taken, another is offered next.
    pub fn give_back(&mut self, take: impl FnOnce(u32) -> bool) {
        let Some(&flow) = self.spare_flows.last() else { return };
        if take(flow) {
            self.spare_flows.pop();
        } else {
            let last = self.spare_flows.len() - 1;
            let other = (self.burst as usize) % self.spare_flows.len();
            self.spare_flows.swap(last, other);
        }
    }

    /// A group that no 5-tuple is in any more is forgotten, and its flow is spare.
    fn leave(&mut self, own: u32) {
        let Some(index) = self.group_of.get_mut(own as usize) else { return };
        let index = std::mem::replace(index, NO_GROUP);
        let Some(Some(group)) = self.groups.get_mut(index as usize) else { return };
        group.members = group.members.saturating_sub(1);
        if group.members > 0 {
            return;
        }
        let Group { key, flow, .. } = *group;
        self.groups[index as usize] = None;
        self.table.remove(&key);
        // At most as many of both as there are places (`found`): neither list grows.
        self.free.push(index);
        self.spare_flows.push(flow);
    }

    /// Groups that exist.
    pub const fn len(&self) -> u32 {
        self.table.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// See [`GroupCounters`].
    pub const fn counters(&self) -> GroupCounters {
        self.counters
    }

    fn move_to(
        &mut self,
        key: FlowHashKey,
        own: u32,
        current: u32,
        founder: Founder,
        queues: &mut impl Queues,
    ) -> u32 {
        if own as usize >= self.group_of.len() {
            return current;
        }
        let mut found = [None];
        self.table.lookup_bulk(std::slice::from_ref(&key), &mut found);
        let known = found[0].and_then(|index| self.groups.get(index as usize).copied().flatten());
        if known.is_some_and(|group| group.flow == current) {
            return current;
        }
        let is_idle = self.placed_in.get(current as usize).is_none_or(|at| *at != self.burst)
            && queues.is_empty(current);
        if !is_idle {
            self.counters.changes_waiting += 1;
            return current;
        }
        let index = match (found[0], known) {
            (Some(index), Some(_)) => index,
            _ => match self.found(key, founder, queues) {
                Some(index) => index,
                None => {
                    self.counters.full += 1;
                    return current;
                }
            },
        };
        let Some(Some(group)) = self.groups.get_mut(index as usize) else { return current };
        group.members += 1;
        let flow = group.flow;
        self.leave(own);
        self.group_of[own as usize] = index;
        queues.joins(own);
        flow
    }

    /// Makes a group without members. Returns its place.
    #[cold]
    fn found(
        &mut self,
        key: FlowHashKey,
        founder: Founder,
        queues: &mut impl Queues,
    ) -> Option<u32> {
        if self.free.len() <= self.spare_flows.len() {
            return None;
        }
        let index = *self.free.last()?;
        self.table.insert(&key, index).ok()?;
        let Some(flow) = queues.new_group(Seat { id: key.id(), ..founder }) else {
            self.table.remove(&key);
            return None;
        };
        self.free.pop();
        self.groups[index as usize] = Some(Group { key, flow, members: 0 });
        Some(index)
    }
}

/// A group is a sender's own: it cannot join the packets of another address.
fn group_key(packet: &FlowKey, group: u32) -> FlowHashKey {
    let mut dst = [0; 16];
    dst[..4].copy_from_slice(&group.to_be_bytes());
    let key = FlowKey {
        src: packet.src,
        dst,
        src_port: 0,
        dst_port: 0,
        vlan: packet.vlan,
        protocol: 0,
        ip_version: packet.ip_version | GROUP_KEY,
    };
    FlowHashKey::new(key, 0)
}
