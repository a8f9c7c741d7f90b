//! Which bytes of TCP connections are on their way: what was sent to the venue, and what came back as
//! acknowledged.
//!
//! Flows are those of the lane towards the venue. Acknowledgements come in by the other lane, which
//! knows a connection only by its hash.

/// Connections that share a bucket. One that finds it full is not followed, and its flow stays.
const WAYS: usize = 8;
/// A flow without an entry.
const NONE: u32 = u32::MAX;
/// A flow that carries more than one connection, or one that is not followed.
const UNKNOWN: u32 = u32::MAX - 1;

#[derive(Clone, Copy, Default)]
struct Slot {
    /// Hash of the connection, 0 = free.
    connection: u64,
    sent_end: u32,
    acked: u32,
    has_sent: bool,
    has_acked: bool,
}

/// What is known of the bytes of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It has sent no TCP segment.
    Nothing,
    /// Every byte that it has sent is acknowledged.
    Acknowledged,
    /// Some byte is not.
    Unacknowledged,
    /// Several connections, or one that found no room.
    Unknown,
}

/// See the module.
pub struct Connections {
    /// By flow.
    slot_of: Box<[u32]>,
    slots: Box<[Slot]>,
}

impl Connections {
    /// Room for the connections of `flows` flows.
    pub fn new(flows: u32) -> Self {
        let buckets = (flows as usize).div_ceil(WAYS / 2).next_power_of_two();
        Self {
            slot_of: vec![NONE; flows as usize].into(),
            slots: vec![Slot::default(); buckets * WAYS].into(),
        }
    }

    fn bucket(&self, connection: u64) -> std::ops::Range<usize> {
        let buckets = self.slots.len() / WAYS;
        let from = (connection as usize & (buckets - 1)) * WAYS;
        from..from + WAYS
    }

    fn find(&self, connection: u64) -> Option<usize> {
        self.bucket(connection).find(|at| self.slots[*at].connection == connection)
    }

    /// `flow` is about to send a segment of `connection` with payload up to `end`.
    pub fn sending(&mut self, flow: u32, connection: u64, end: u32) {
        let connection = connection.max(1);
        let at = match self.slot_of[flow as usize] {
            UNKNOWN => return,
            NONE => {
                // Another flow may have it: rules that look at the DSCP tell packets of a 5-tuple apart.
                let is_new = self.find(connection).is_none();
                let mut free = self.bucket(connection).filter(|at| self.slots[*at].connection == 0);
                let Some(at) = free.next().filter(|_| is_new) else {
                    self.slot_of[flow as usize] = UNKNOWN;
                    return;
                };
                self.slots[at] = Slot { connection, ..Slot::default() };
                self.slot_of[flow as usize] = at as u32;
                at
            }
            at => at as usize,
        };
        let slot = &mut self.slots[at];
        if slot.connection != connection {
            *slot = Slot::default();
            self.slot_of[flow as usize] = UNKNOWN;
            return;
        }
        if !slot.has_sent || is_before(slot.sent_end, end) {
            (slot.sent_end, slot.has_sent) = (end, true);
        }
    }

    /// The venue has acknowledged everything before `ack`.
    pub fn acknowledged(&mut self, connection: u64, ack: u32) {
        if let Some(at) = self.find(connection.max(1)) {
            let slot = &mut self.slots[at];
            if !slot.has_acked || is_before(slot.acked, ack) {
                (slot.acked, slot.has_acked) = (ack, true);
            }
        }
    }

    /// What is known of `flow`.
    pub fn sent(&self, flow: u32) -> Sent {
        match self.slot_of[flow as usize] {
            NONE => Sent::Nothing,
            UNKNOWN => Sent::Unknown,
            at => {
                let slot = &self.slots[at as usize];
                if slot.has_acked && !is_before(slot.acked, slot.sent_end) {
                    Sent::Acknowledged
                } else {
                    Sent::Unacknowledged
                }
            }
        }
    }

    /// `flow` is given back, or its connection begins anew.
    pub fn forget(&mut self, flow: u32) {
        let at = std::mem::replace(&mut self.slot_of[flow as usize], NONE);
        if let Some(slot) = self.slots.get_mut(at as usize) {
            *slot = Slot::default();
        }
    }
}

/// Sequence numbers of one window (RFC 9293, 3.4).
const fn is_before(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_on_their_way_until_they_are_acknowledged() {
        let mut c = Connections::new(16);
        assert_eq!(c.sent(3), Sent::Nothing);
        c.sending(3, 99, u32::MAX - 5);
        assert_eq!(c.sent(3), Sent::Unacknowledged);
        c.acknowledged(99, u32::MAX - 5);
        assert_eq!(c.sent(3), Sent::Acknowledged);
        // Beyond the wrap, then a retransmission of old bytes and an old acknowledgement.
        c.sending(3, 99, 10);
        c.sending(3, 99, u32::MAX - 5);
        c.acknowledged(99, u32::MAX - 5);
        assert_eq!(c.sent(3), Sent::Unacknowledged);
        c.acknowledged(99, 9);
        assert_eq!(c.sent(3), Sent::Unacknowledged, "one byte is missing");
        c.acknowledged(99, 10);
        assert_eq!(c.sent(3), Sent::Acknowledged);
        c.acknowledged(98, 11);
        assert_eq!(c.sent(3), Sent::Acknowledged, "another connection");
        c.forget(3);
        assert_eq!(c.sent(3), Sent::Nothing);
    }

    #[test]
    fn a_flow_of_several_connections_and_one_without_room_are_not_known() {
        let mut c = Connections::new(4);
        c.sending(0, 7, 1);
        c.sending(0, 8, 1);
        assert_eq!(c.sent(0), Sent::Unknown);
        c.acknowledged(7, 1);
        assert_eq!(c.sent(0), Sent::Unknown);
        c.forget(0);
        c.sending(0, 7, 1);
        c.sending(1, 7, 1);
        assert_eq!((c.sent(0), c.sent(1)), (Sent::Unacknowledged, Sent::Unknown));
        // One bucket of eight.
        let mut c = Connections::new(16);
        let buckets = c.slots.len() as u64 / WAYS as u64;
        (0..9).for_each(|flow| c.sending(flow, (u64::from(flow) + 1) * buckets, 1));
        assert_eq!((c.sent(7), c.sent(8)), (Sent::Unacknowledged, Sent::Unknown));
    }
}
