//! The choice of a CPU for each pair that wants one chosen.

use std::collections::BTreeSet;

use model::config::CoreChoice;

use super::{Cpu, Machine, Wanted};

/// A pair is left without a CPU.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "no CPU is left to poll {pair}: of {usable:?}, which this process may use, {taken:?} poll \
     already or run control"
)]
pub struct NoCpuLeft {
    /// The pair.
    pub pair: String,
    /// The CPUs that may be used.
    pub usable: Vec<usize>,
    /// Those that are taken.
    pub taken: Vec<usize>,
}

/// The CPU that paces each pair. Those that the config names are taken as they are; the others are
/// chosen one after the other among the CPUs that are usable, poll nothing and do not run control.
/// Of these the best is the first by
///
/// 1. no thread of a core that polls already;
/// 2. on the NUMA node of one of the pair's NICs, where that is known;
/// 3. isolated by the kernel;
/// 4. no thread of the core that runs control;
/// 5. not on the core of CPU 0, where a kernel does its own work unless it is told otherwise;
/// 6. the lowest number.
///
/// # Errors
/// [`NoCpuLeft`].
pub fn choose(
    machine: &Machine,
    pairs: &[Wanted],
    control_cpu: Option<usize>,
) -> Result<Vec<usize>, NoCpuLeft> {
    let named = pairs.iter().filter_map(|pair| pair.core.cpu());
    let mut polling: BTreeSet<usize> =
        named.chain(pairs.iter().flat_map(|pair| pair.rx_cores.iter().copied())).collect();
    let core_of = |id: usize| machine.cpu(id).map(|cpu| cpu.core);
    let mut chosen = Vec::new();
    for pair in pairs {
        if let CoreChoice::Cpu(cpu) = pair.core {
            chosen.push(cpu);
            continue;
        }
        let polls: Vec<usize> = polling.iter().filter_map(|id| core_of(*id)).collect();
        let rank = |cpu: &&Cpu| {
            (
                polls.contains(&cpu.core),
                !pair.nodes.is_empty() && !pair.nodes.contains(&cpu.node),
                !cpu.isolated,
                control_cpu.and_then(core_of) == Some(cpu.core),
                core_of(0) == Some(cpu.core),
                cpu.id,
            )
        };
        let free =
            |cpu: &&Cpu| cpu.usable && !polling.contains(&cpu.id) && control_cpu != Some(cpu.id);
        let Some(best) = machine.cpus.iter().filter(free).min_by_key(rank) else {
            return Err(NoCpuLeft {
                pair: pair.name.clone(),
                usable: machine.cpus.iter().filter(|c| c.usable).map(|c| c.id).collect(),
                taken: polling.into_iter().chain(control_cpu).collect(),
            });
        };
        polling.insert(best.id);
        chosen.push(best.id);
    }
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sockets of four cores with two threads each, numbered as Linux does: 0 to 3 and 8 to 11
    /// on node 0, a thread and its sibling 8 apart.
    fn two_sockets() -> Machine {
        let cpu = |id: usize| {
            let core = id % 8;
            Cpu { id, core, node: core / 4, isolated: false, usable: true }
        };
        Machine { cpus: (0..16).map(cpu).collect() }
    }

    fn flat(count: usize) -> Machine {
        let cpu = |id| Cpu { id, core: id, node: 0, isolated: false, usable: true };
        Machine { cpus: (0..count).map(cpu).collect() }
    }

    fn auto(nodes: &[usize]) -> Wanted {
        Wanted {
            name: "in <-> out".to_owned(),
            core: CoreChoice::Auto,
            rx_cores: Vec::new(),
            nodes: nodes.to_vec(),
        }
    }

    fn fixed(cpu: usize, rx_cores: &[usize]) -> Wanted {
        Wanted { core: CoreChoice::Cpu(cpu), rx_cores: rx_cores.to_vec(), ..auto(&[]) }
    }

    #[test]
    fn a_core_near_the_nic_is_taken_and_the_first_ones_are_left_to_the_kernel() {
        let machine = two_sockets();
        assert_eq!(choose(&machine, &[auto(&[0])], None), Ok(vec![1]));
        assert_eq!(choose(&machine, &[auto(&[1])], None), Ok(vec![4]));
        assert_eq!(choose(&machine, &[auto(&[])], None), Ok(vec![1]));
        // NICs on either node: both are near.
        assert_eq!(choose(&machine, &[auto(&[0, 1])], Some(1)), Ok(vec![2]));
    }

    #[test]
    fn no_two_pairs_share_a_physical_core_while_there_is_another() {
        let machine = two_sockets();
        let pairs = vec![auto(&[0]); 5];
        // Four cores on the node, that of CPU 0 last; the fifth goes to the other node.
        assert_eq!(choose(&machine, &pairs, None), Ok(vec![1, 2, 3, 0, 4]));
        let taken = [fixed(9, &[10]), auto(&[0])];
        assert_eq!(choose(&machine, &taken, None), Ok(vec![9, 3]), "siblings of 9 and 10 poll");
    }

    #[test]
    fn a_pair_named_later_in_the_file_keeps_its_core() {
        assert_eq!(choose(&flat(4), &[auto(&[]), fixed(1, &[])], None), Ok(vec![2, 1]));
    }

    #[test]
    fn isolated_cpus_come_first_on_a_node_but_not_before_the_node() {
        let mut machine = two_sockets();
        for id in [3, 6, 7] {
            machine.cpus[id].isolated = true;
        }
        assert_eq!(choose(&machine, &[auto(&[0]), auto(&[0])], None), Ok(vec![3, 1]));
        assert_eq!(choose(&machine, &[auto(&[1])], None), Ok(vec![6]));
        assert_eq!(choose(&machine, &[auto(&[])], None), Ok(vec![3]));
    }

    #[test]
    fn control_keeps_its_cpu_and_if_possible_its_core() {
        let machine = two_sockets();
        assert_eq!(choose(&machine, &[auto(&[0])], Some(9)), Ok(vec![2]));
        assert_eq!(choose(&flat(2), &[auto(&[])], Some(1)), Ok(vec![0]));
        let error = choose(&flat(2), &[auto(&[]), auto(&[])], Some(1)).unwrap_err();
        assert_eq!((error.usable, error.taken), (vec![0, 1], vec![0, 1]));
    }

    #[test]
    fn one_core_is_all_that_some_machines_have() {
        assert_eq!(choose(&flat(1), &[auto(&[])], None), Ok(vec![0]));
        assert!(choose(&flat(1), &[auto(&[])], Some(0)).is_err());
        assert!(choose(&Machine::default(), &[auto(&[])], None).is_err());
    }

    #[test]
    fn threads_of_one_core_are_shared_where_nothing_else_is_left() {
        let machine = Machine {
            cpus: (0..2)
                .map(|id| Cpu { id, core: 0, node: 0, isolated: false, usable: true })
                .collect(),
        };
        assert_eq!(choose(&machine, &[auto(&[]), auto(&[])], None), Ok(vec![0, 1]));
    }

    #[test]
    fn what_this_process_may_not_use_is_not_chosen() {
        let mut machine = flat(4);
        machine.cpus[1].usable = false;
        assert_eq!(choose(&machine, &[auto(&[])], None), Ok(vec![2]));
    }
}
