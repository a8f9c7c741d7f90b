//! Which CPUs poll: chosen where the config says `core = "auto"`, judged in words everywhere.
//!
//! [`of`] reads the machine through hwloc and answers for a config. What it does lies in
//! [`choose()`] and [`findings()`], which are pure functions of a [`Machine`] and the
//! [`Wanted`] pairs: the same machine and the same config give the same CPUs.

mod choose;
mod findings;
mod machine;
mod neighbours;

pub use choose::{NoCpuLeft, choose};
pub use findings::{findings, obstacles};
pub use machine::{Cpu, Machine, listed_cpus};
pub use neighbours::{polled_by_others, thread_name};

use hwlocality::Topology;
use hwlocality::topology::builder::TypeFilter;
use model::config::{Config, CoreChoice};

/// The CPUs for a config could not be chosen.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// The machine could not be read.
    #[error("hwloc cannot read this machine's topology: {0}")]
    Unreadable(String),
    /// There are too few CPUs.
    #[error(transparent)]
    NoCpuLeft(#[from] NoCpuLeft),
}

/// What the choice has to know of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The pair in words, for findings.
    pub name: String,
    /// The CPU that paces it, or that one is to be chosen.
    pub core: CoreChoice,
    /// CPUs that receive for it.
    pub rx_cores: Vec<usize>,
    /// NUMA nodes of its NICs, as far as they are known; empty = no NIC is nearer to any CPU.
    pub nodes: Vec<usize>,
}

/// Where the data cores run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placement {
    /// The CPU that paces each pair, in the order of the config.
    pub cores: Vec<usize>,
    /// What speaks against it, in words. Empty = nothing.
    pub findings: Vec<String>,
    /// Why a gateway could not start with it on this machine. Empty = nothing.
    pub obstacles: Vec<String>,
}

/// The CPUs of this machine for `config`, and what speaks against them.
///
/// # Errors
/// [`PlacementError`].
pub fn of(config: &Config) -> Result<Placement, PlacementError> {
    let unreadable = |error: &dyn std::fmt::Display| PlacementError::Unreadable(error.to_string());
    let topology = Topology::builder()
        .with_io_type_filter(TypeFilter::KeepImportant)
        .map_err(|error| unreadable(&error))?
        .build()
        .map_err(|error| unreadable(&error))?;
    let machine = Machine::of(&topology, &machine::isolated(), machine::mask().as_ref());
    let wanted: Vec<Wanted> = config
        .pairs
        .iter()
        .map(|pair| {
            let ports = [&config.ports[pair.inside], &config.ports[pair.venue]];
            let mut nodes: Vec<usize> =
                ports.iter().filter_map(|port| machine::node_of(&topology, &port.device)).collect();
            nodes.sort_unstable();
            nodes.dedup();
            Wanted {
                name: format!("{} <-> {}", ports[0].name, ports[1].name),
                core: pair.core,
                rx_cores: pair.rx_cores.clone(),
                nodes,
            }
        })
        .collect();
    let cores = choose(&machine, &wanted, config.gateway.control_cpu)?;
    let findings = findings(&machine, &wanted, &cores, config.gateway.control_cpu);
    let obstacles = obstacles(&machine, &wanted, &cores, config.gateway.control_cpu);
    Ok(Placement { cores, findings, obstacles })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(core: &str) -> Config {
        let text = include_str!("../../../configs/bench-null.toml");
        Config::from_toml("f", &text.replace("core = 1", &format!("core = {core}"))).unwrap()
    }

    #[test]
    fn this_machine_offers_a_core_that_it_has_and_the_same_one_each_time() {
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let chosen = of(&config("\"auto\"")).unwrap();
        let [core] = chosen.cores[..] else { panic!("{chosen:?}") };
        assert!(allowed.is_set(core), "{chosen:?}");
        assert_eq!(of(&config("\"auto\"")).unwrap(), chosen);
    }

    #[test]
    fn a_core_that_is_named_is_taken_and_one_that_is_not_there_is_named_in_words() {
        let placed = of(&config("1023")).unwrap();
        assert_eq!(placed.cores, [1023]);
        assert!(placed.obstacles[0].contains("CPU 1023 is not one of this machine's"));
    }
}
