//! The records of a checked config, table by table.

mod class;
mod gateway;
mod port;
mod regime;

pub use class::{Class, Derivation, Derived, HaltMixed, Level, LimitDerivation};
pub use gateway::{
    Access, ClockKind, Control, Dpdk, Gateway, Hugepages, Intent, IntentLabel, SocketMode,
};
pub use port::{
    Arrangement, BenchFlows, Completion, CoreChoice, Device, Faults, LaunchTime, LinkModel, Pair,
    Port, PortIntent, RxQueue, SecondPath,
};
pub use regime::{Regime, StartMode};
