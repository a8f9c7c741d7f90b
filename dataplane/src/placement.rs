//! Is the choice of CPUs a good one? Asks hwloc; answers in words.

use std::collections::BTreeSet;

use hwlocality::Topology;
use hwlocality::object::types::ObjectType;

/// The CPUs of this machine as hwloc sees them could not be read.
#[derive(Debug, thiserror::Error)]
#[error("hwloc cannot read this machine's topology: {0}")]
pub struct PlacementError(String);

/// What speaks against the data cores `data_cpus`, with control on `control_cpu` (`None` =
/// anywhere): a CPU that is not there, and CPUs that are threads of one core, where a polling
/// neighbour takes execution units and cache from the other. Empty = nothing.
///
/// # Errors
/// [`PlacementError`].
pub fn findings(
    data_cpus: &[usize],
    control_cpu: Option<usize>,
) -> Result<Vec<String>, PlacementError> {
    let topology = Topology::new().map_err(|error| PlacementError(error.to_string()))?;
    let cores: Vec<BTreeSet<usize>> = topology
        .objects_with_type(ObjectType::Core)
        .filter_map(|core| core.cpuset())
        .map(|cpus| cpus.iter_set().map(usize::from).collect())
        .collect();
    Ok(judge(&cores, data_cpus, control_cpu))
}

fn judge(
    cores: &[BTreeSet<usize>],
    data_cpus: &[usize],
    control_cpu: Option<usize>,
) -> Vec<String> {
    let known: BTreeSet<usize> = cores.iter().flatten().copied().collect();
    let mut findings: Vec<String> = data_cpus
        .iter()
        .chain(&control_cpu)
        .filter(|cpu| !known.contains(cpu))
        .map(|cpu| format!("CPU {cpu} is not one of this machine's: {known:?}"))
        .collect();
    for core in cores {
        let data: Vec<usize> = data_cpus.iter().filter(|cpu| core.contains(cpu)).copied().collect();
        if data.len() > 1 {
            findings.push(format!(
                "data cores {data:?} are threads of one physical core: each slows the other down"
            ));
        }
        if let (Some(cpu), Some(data)) = (control_cpu, data.first())
            && core.contains(&cpu)
            && cpu != *data
        {
            findings.push(format!(
                "control_cpu {cpu} is a thread of the same physical core as data core {data}: \
                 choose a CPU of another core"
            ));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cores(of: &[&[usize]]) -> Vec<BTreeSet<usize>> {
        of.iter().map(|cpus| cpus.iter().copied().collect()).collect()
    }

    #[test]
    fn threads_of_one_core_and_absent_cpus_are_named() {
        let machine = cores(&[&[0, 4], &[1, 5], &[2, 6], &[3, 7]]);
        assert_eq!(judge(&machine, &[1, 2], Some(0)), Vec::<String>::new());
        assert_eq!(judge(&machine, &[1, 2], None), Vec::<String>::new());
        assert!(judge(&machine, &[1, 5], None)[0].contains("[1, 5] are threads of one"));
        assert!(judge(&machine, &[1], Some(5))[0].contains("control_cpu 5"));
        assert!(judge(&machine, &[9], None)[0].contains("CPU 9 is not"));
        assert_eq!(
            judge(&machine, &[1], Some(1)),
            Vec::<String>::new(),
            "said by the config check"
        );
    }

    #[test]
    fn this_machine_has_its_own_first_cpu() {
        let allowed = rustix::thread::sched_getaffinity(None).unwrap();
        let first = (0..1024).find(|&cpu| allowed.is_set(cpu)).unwrap();
        assert_eq!(findings(&[first], None).unwrap(), Vec::<String>::new());
    }
}
