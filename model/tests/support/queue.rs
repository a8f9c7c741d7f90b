//! Packets of tests are nothing but their metadata.

use model::meta::PacketMeta;
use std::collections::VecDeque;

pub type Queue = VecDeque<PacketMeta>;
