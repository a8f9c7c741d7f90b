//! What of a machine the placement looks at, and the thin reader of it.

use std::collections::BTreeSet;

use hwlocality::Topology;
use hwlocality::object::TopologyObject;
use hwlocality::object::types::ObjectType;
use model::config::Device;

/// A CPU: what the kernel numbers, a hardware thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu {
    /// The kernel's number.
    pub id: usize,
    /// Its physical core; threads of one core have the same.
    pub core: usize,
    /// Its NUMA node.
    pub node: usize,
    /// The kernel keeps other work off it (`isolcpus`).
    pub isolated: bool,
    /// This process may run there.
    pub usable: bool,
}

/// A machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// Its CPUs by their number.
    pub cpus: Vec<Cpu>,
}

impl Machine {
    /// The machine as hwloc sees it. `isolated` are the CPUs that the kernel keeps free, which are in
    /// no mask unless somebody puts them there; `mask` is that of this process, `None` = no limit.
    pub fn of(
        topology: &Topology,
        isolated: &BTreeSet<usize>,
        mask: Option<&BTreeSet<usize>>,
    ) -> Self {
        let mut cpus: Vec<Cpu> = topology
            .objects_with_type(ObjectType::PU)
            .filter_map(|thread| {
                let id = thread.os_index()?;
                // A virtual machine may show no cores: then each thread is one.
                let core = thread
                    .first_ancestor_with_type(ObjectType::Core)
                    .map_or(id, TopologyObject::logical_index);
                let isolated = isolated.contains(&id);
                let usable = isolated || mask.is_none_or(|mask| mask.contains(&id));
                Some(Cpu { id, core, node: node(thread).unwrap_or(0), isolated, usable })
            })
            .collect();
        cpus.sort_by_key(|cpu| cpu.id);
        Self { cpus }
    }

    /// The CPU with the kernel's number `id`.
    pub fn cpu(&self, id: usize) -> Option<&Cpu> {
        self.cpus.iter().find(|cpu| cpu.id == id)
    }
}

fn node(object: &TopologyObject) -> Option<usize> {
    object.nodeset()?.first_set().map(usize::from)
}

/// The NUMA node of a device: of a PCI address, or of the interface that a vdev takes. `None` where
/// there is no NIC behind it, or the machine does not say.
pub(super) fn node_of(topology: &Topology, device: &Device) -> Option<usize> {
    let object = match device {
        Device::Capture => None,
        Device::Pci(text) => {
            let address = text.split(',').next()?;
            topology.pci_device_by_bus_id_string(address).ok()?
        }
        Device::Vdev(text) => {
            let interface = text.split(',').find_map(|arg| arg.strip_prefix("iface="))?;
            topology.os_devices().find(|object| {
                object.name().is_some_and(|name| name.to_bytes() == interface.as_bytes())
            })
        }
    }?;
    node(object.first_non_io_ancestor()?)
}

/// The CPUs that the kernel keeps free of other work; none where it does not say.
pub(super) fn isolated() -> BTreeSet<usize> {
    let listed = std::fs::read_to_string("/sys/devices/system/cpu/isolated").unwrap_or_default();
    listed_cpus(&listed)
}

/// The CPUs that this process may run on.
pub(super) fn mask() -> Option<BTreeSet<usize>> {
    let mask = rustix::thread::sched_getaffinity(None).ok()?;
    Some((0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu)).collect())
}

/// The kernel's way to list CPUs: `2-3,6`. What is not such a list lists nothing.
pub fn listed_cpus(text: &str) -> BTreeSet<usize> {
    text.trim()
        .split(',')
        .filter_map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn synthetic(description: &str) -> Machine {
        let topology = Topology::builder().from_synthetic(description).unwrap().build().unwrap();
        Machine::of(&topology, &BTreeSet::new(), None)
    }

    #[test]
    fn two_sockets_with_threads_are_read() {
        let machine = synthetic("[numa] pack:2 [numa] core:2 pu:2");
        assert_eq!(machine.cpus.len(), 8);
        let cores: Vec<usize> = machine.cpus.iter().map(|cpu| cpu.core).collect();
        assert_eq!(cores, [0, 0, 1, 1, 2, 2, 3, 3]);
    }

    #[test]
    fn nodes_are_told_apart() {
        let machine = synthetic("pack:2 [numa] core:2 pu:1");
        let nodes: Vec<usize> = machine.cpus.iter().map(|cpu| cpu.node).collect();
        assert_eq!(nodes, [0, 0, 1, 1]);
    }

    #[test]
    fn a_machine_without_cores_has_one_for_each_thread() {
        let machine = synthetic("pu:3");
        let cores: Vec<usize> = machine.cpus.iter().map(|cpu| cpu.core).collect();
        assert_eq!(cores, [0, 1, 2]);
    }

    #[test]
    fn isolated_cpus_are_usable_though_no_mask_has_them() {
        let topology = Topology::builder().from_synthetic("core:4 pu:1").unwrap().build().unwrap();
        let machine = Machine::of(&topology, &[2, 3].into(), Some(&[0].into()));
        let usable: Vec<bool> = machine.cpus.iter().map(|cpu| cpu.usable).collect();
        assert_eq!(usable, [true, false, true, true]);
        assert!(machine.cpu(2).unwrap().isolated && machine.cpu(4).is_none());
    }

    #[test]
    fn lists_of_the_kernel_are_read() {
        assert_eq!(listed_cpus("2-4,7\n"), [2, 3, 4, 7].into());
        assert_eq!(listed_cpus("\n"), BTreeSet::new());
        assert_eq!(listed_cpus("(null)"), BTreeSet::new());
    }
}
