//! What speaks against a choice of CPUs, in words.

use std::collections::{BTreeMap, BTreeSet};

use super::{Cpu, Machine, Wanted};

/// What speaks against polling `pairs` on `cores`, their CPUs in the same order, with control on
/// `control_cpu` (`None` = wherever nothing polls). Empty = nothing.
pub fn findings(
    machine: &Machine,
    pairs: &[Wanted],
    cores: &[usize],
    control_cpu: Option<usize>,
) -> Vec<String> {
    let data = polling(pairs, cores);
    let mut found = Vec::new();
    outside(machine, &data, &mut found);
    siblings(machine, &data, control_cpu, &mut found);
    far(machine, pairs, cores, &mut found);
    shared(machine, &data, control_cpu, &mut found);
    found
}

/// Why a gateway with the same arguments could not start on `machine`. Empty = nothing.
pub fn obstacles(
    machine: &Machine,
    pairs: &[Wanted],
    cores: &[usize],
    control_cpu: Option<usize>,
) -> Vec<String> {
    let known: Vec<usize> = machine.cpus.iter().map(|cpu| cpu.id).collect();
    let absent = |id: &usize| {
        machine
            .cpu(*id)
            .is_none()
            .then(|| format!("CPU {id} is not one of this machine's: {known:?}"))
    };
    let data = polling(pairs, cores);
    let mut found: Vec<String> = data.iter().chain(&control_cpu).filter_map(absent).collect();
    // A data core asks the kernel for its CPU; control only stays where the process may be.
    let control = control_cpu.and_then(|id| machine.cpu(id)).filter(|cpu| !cpu.usable);
    found.extend(control.map(|cpu| {
        format!("control_cpu {} is outside the CPUs that this process was given", cpu.id)
    }));
    found
}

/// Every CPU that polls.
fn polling(pairs: &[Wanted], cores: &[usize]) -> Vec<usize> {
    cores.iter().chain(pairs.iter().flat_map(|pair| &pair.rx_cores)).copied().collect()
}

fn outside(machine: &Machine, data: &[usize], found: &mut Vec<String>) {
    for cpu in data.iter().filter_map(|id| machine.cpu(*id)).filter(|cpu| !cpu.usable) {
        found.push(format!("CPU {} is outside the CPUs that this process was given", cpu.id));
    }
}

/// Threads of one physical core share its execution units and its first caches.
fn siblings(machine: &Machine, data: &[usize], control: Option<usize>, found: &mut Vec<String>) {
    let mut by_core: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for cpu in data.iter().filter_map(|id| machine.cpu(*id)) {
        by_core.entry(cpu.core).or_default().insert(cpu.id);
    }
    for threads in by_core.values().filter(|threads| threads.len() > 1) {
        found.push(format!(
            "data cores {:?} are threads of one physical core: each slows the other down",
            threads.iter().collect::<Vec<_>>()
        ));
    }
    let Some(control) = control.and_then(|id| machine.cpu(id)) else { return };
    // Control on a data core itself is said where the config is checked.
    let neighbour = by_core.get(&control.core).filter(|threads| !threads.contains(&control.id));
    if let Some(data) = neighbour.and_then(BTreeSet::first) {
        found.push(format!(
            "control_cpu {} is a thread of the same physical core as data core {data}: choose a CPU \
             of another core",
            control.id
        ));
    }
}

fn far(machine: &Machine, pairs: &[Wanted], cores: &[usize], found: &mut Vec<String>) {
    for (pair, core) in pairs.iter().zip(cores) {
        for cpu in pair.rx_cores.iter().chain([core]).filter_map(|id| machine.cpu(*id)) {
            if !pair.nodes.is_empty() && !pair.nodes.contains(&cpu.node) {
                found.push(format!(
                    "data core {} is on NUMA node {}, the NICs of {} are on {:?}: every packet \
                     crosses between them",
                    cpu.id, cpu.node, pair.name, pair.nodes
                ));
            }
        }
        if pair.nodes.len() > 1 {
            found.push(format!(
                "the NICs of {} are on NUMA nodes {:?}: one of them is far from every core",
                pair.name, pair.nodes
            ));
        }
    }
}

/// Who else may run on a data core.
fn shared(machine: &Machine, data: &[usize], control: Option<usize>, found: &mut Vec<String>) {
    let isolated: Vec<usize> = machine.cpus.iter().filter(|c| c.isolated).map(|c| c.id).collect();
    if !isolated.is_empty() {
        let others = data.iter().filter_map(|id| machine.cpu(*id)).filter(|cpu| !cpu.isolated);
        for cpu in others {
            found.push(format!(
                "data core {} is none of the CPUs that the kernel keeps free, {isolated:?}: other \
                 work may take it",
                cpu.id
            ));
        }
    }
    let left = |cpu: &&Cpu| cpu.usable && !cpu.isolated && !data.contains(&cpu.id);
    if control.is_none() && !data.is_empty() && !machine.cpus.iter().any(|cpu| left(&cpu)) {
        found.push(
            "no CPU is left that does not poll: control, signals and everything else of this host \
             run on the data cores"
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::config::CoreChoice;

    fn machine(threads_of: &[&[usize]]) -> Machine {
        let cpus = threads_of.iter().enumerate().flat_map(|(core, threads)| {
            threads.iter().map(move |id| Cpu {
                id: *id,
                core,
                node: core / 2,
                isolated: false,
                usable: true,
            })
        });
        let mut cpus: Vec<Cpu> = cpus.collect();
        cpus.sort_by_key(|cpu| cpu.id);
        Machine { cpus }
    }

    fn pair(nodes: &[usize], rx_cores: &[usize]) -> Wanted {
        Wanted {
            name: "in <-> out".to_owned(),
            core: CoreChoice::Auto,
            rx_cores: rx_cores.to_vec(),
            nodes: nodes.to_vec(),
        }
    }

    fn judge(machine: &Machine, cores: &[usize], control: Option<usize>) -> Vec<String> {
        findings(machine, &vec![pair(&[], &[]); cores.len()], cores, control)
    }

    #[test]
    fn threads_of_one_core_and_absent_cpus_are_named() {
        let machine = machine(&[&[0, 4], &[1, 5], &[2, 6], &[3, 7]]);
        assert_eq!(judge(&machine, &[1, 2], Some(0)), Vec::<String>::new());
        assert_eq!(judge(&machine, &[1, 2], None), Vec::<String>::new());
        assert!(judge(&machine, &[1, 5], None)[0].contains("[1, 5] are threads of one"));
        assert!(judge(&machine, &[1], Some(5))[0].contains("control_cpu 5"));
        assert_eq!(judge(&machine, &[9], None), Vec::<String>::new(), "an obstacle");
        let stopped = |cores: &[usize], control| obstacles(&machine, &[], cores, control);
        assert!(stopped(&[1, 9], None)[0].contains("CPU 9 is not"));
        assert!(stopped(&[1], Some(9))[0].contains("CPU 9 is not"));
        assert_eq!(stopped(&[1], Some(0)), Vec::<String>::new());
        assert_eq!(
            judge(&machine, &[1], Some(1)),
            Vec::<String>::new(),
            "said by the config check"
        );
        let receiving = findings(&machine, &[pair(&[], &[5])], &[1], None);
        assert!(receiving[0].contains("[1, 5] are threads of one"), "{receiving:?}");
    }

    #[test]
    fn a_core_far_from_its_nic_is_named() {
        let machine = machine(&[&[0], &[1], &[2], &[3]]);
        assert_eq!(findings(&machine, &[pair(&[0], &[])], &[1], None), Vec::<String>::new());
        let found = findings(&machine, &[pair(&[1], &[3])], &[1], None);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("data core 1 is on NUMA node 0, the NICs of in <-> out"));
        let found = findings(&machine, &[pair(&[0, 1], &[])], &[1], None);
        assert!(found.len() == 1 && found[0].contains("far from every core"), "{found:?}");
    }

    #[test]
    fn who_else_runs_on_a_data_core_is_named() {
        let mut machine = machine(&[&[0], &[1], &[2]]);
        assert!(judge(&machine, &[0, 1, 2], None)[0].contains("no CPU is left"));
        machine.cpus[2].isolated = true;
        assert!(judge(&machine, &[1], None)[0].contains("none of the CPUs that the kernel keeps"));
        assert_eq!(judge(&machine, &[2], None), Vec::<String>::new());
        machine.cpus[1].usable = false;
        assert!(judge(&machine, &[1], Some(0))[0].contains("outside the CPUs"));
        assert_eq!(obstacles(&machine, &[], &[1], Some(0)), Vec::<String>::new());
        assert!(obstacles(&machine, &[], &[2], Some(1))[0].contains("control_cpu 1 is outside"));
    }
}
