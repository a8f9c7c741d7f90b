//! Comparing the kernel's path with wirepace: the same workload through both, measured alike.
//!
//! Pure: [`config`] says what is compared, [`schedule`] what the hosts do, made by [`workload`] or from a
//! file ([`source`]); [`contract`] what every arm promises; [`plan`] draws the order of the arms from a seed.
//! [`passage`] puts schedule, log and capture of a block together, [`measure`] makes KPIs of it and
//! [`series`] what plots need; [`result`] is what is recorded. [`compare`] makes a comparison of the
//! differences of pairs, [`contrast`] one of a KPI; [`holm`] corrects for several figures that gate one
//! verdict, which [`verdict`] gives; [`report`] writes it down.
//!
//! Live, in the order of a block: [`sandbox`] is the place that vanishes, [`net`] hosts and links, [`cpu`]
//! says who comes first on a CPU, [`sentinel`] looks at how idle they are, [`gateway`] is `wirepace run`,
//! [`observer`] captures, [`sockets`] and [`sender`] do what the schedule says, [`fault`] what must be found.
//! [`block`] does all that once. [`arms`] are the questions, [`run`] runs them, and [`artefacts`] keeps a
//! block of each arm.

pub mod arms;
pub mod artefacts;
pub mod block;
mod captured;
pub mod clock;
pub mod compare;
pub mod config;
pub mod contract;
pub mod contrast;
pub mod cpu;
mod direction;
pub mod environment;
pub mod fault;
pub mod gateway;
pub mod holm;
pub mod measure;
pub mod net;
pub mod observer;
mod outside;
pub mod passage;
pub mod plan;
pub mod report;
pub mod result;
pub mod run;
pub mod sandbox;
pub mod schedule;
pub mod sender;
pub mod sentinel;
pub mod series;
pub mod sockets;
pub mod source;
#[cfg(test)]
mod testing;
pub mod verdict;
pub mod workload;
