//! The packet store of the tests: the packets are their metadata.

use model::meta::PacketMeta;
use model::pacer::Fifo;
use std::collections::VecDeque;

#[derive(Default)]
pub struct Queue(VecDeque<PacketMeta>);

impl Fifo for Queue {
    type Packet = PacketMeta;

    fn meta(packet: &PacketMeta) -> &PacketMeta {
        packet
    }
    fn meta_mut(packet: &mut PacketMeta) -> &mut PacketMeta {
        packet
    }
    fn push_back(&mut self, packet: PacketMeta) {
        self.0.push_back(packet);
    }
    fn push_front(&mut self, packet: PacketMeta) {
        self.0.push_front(packet);
    }
    fn pop_front(&mut self) -> Option<PacketMeta> {
        self.0.pop_front()
    }
    fn front(&self) -> Option<&PacketMeta> {
        self.0.front()
    }
}
