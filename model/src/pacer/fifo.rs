//! What the pacer needs of a packet store. The data plane links mbufs through themselves; tests use
//! a `VecDeque`. Static dispatch: the pacer is generic over it.

use std::collections::VecDeque;

use crate::meta::PacketMeta;

/// A first-in, first-out queue that owns its packets.
pub trait Fifo: Default {
    /// An owned packet.
    type Packet;

    /// The metadata of a packet.
    fn meta(packet: &Self::Packet) -> &PacketMeta;
    /// The metadata of a packet, to write the deadlines at entry.
    fn meta_mut(packet: &mut Self::Packet) -> &mut PacketMeta;
    /// Adds at the tail.
    fn push_back(&mut self, packet: Self::Packet);
    /// Gives back to the head what a port did not take.
    fn push_front(&mut self, packet: Self::Packet);
    /// Takes the head.
    fn pop_front(&mut self) -> Option<Self::Packet>;
    /// Looks at the head.
    fn front(&self) -> Option<&PacketMeta>;
    /// Whether there is nothing in it.
    fn is_empty(&self) -> bool {
        self.front().is_none()
    }
}

/// Packets that are nothing but their metadata.
impl Fifo for VecDeque<PacketMeta> {
    type Packet = PacketMeta;

    fn meta(packet: &PacketMeta) -> &PacketMeta {
        packet
    }

    fn meta_mut(packet: &mut PacketMeta) -> &mut PacketMeta {
        packet
    }

    fn push_back(&mut self, packet: PacketMeta) {
        Self::push_back(self, packet);
    }

    fn push_front(&mut self, packet: PacketMeta) {
        Self::push_front(self, packet);
    }

    fn pop_front(&mut self) -> Option<PacketMeta> {
        Self::pop_front(self)
    }

    fn front(&self) -> Option<&PacketMeta> {
        Self::front(self)
    }
}
