//! Hugepages.

use model::config::Hugepages;

use super::finding::{Check, Finding, Mend};
use super::host::Host;
use super::subject::Subject;

const HUGEPAGES: Check = Check {
    name: "hugepages",
    why: "a PCI device reads and writes packet buffers in hugepages of its NUMA node; without them its port \
          does not start",
};
const PAGE: &str = "hugepages-2048kB";
const PAGE_BYTES: u64 = 2 << 20;

/// Pages of a node.
struct Node {
    name: String,
    /// Directory of its pages, by size.
    dir: String,
    /// Size, all, free: bytes and pages.
    sizes: Vec<(u64, u64, u64)>,
}

impl Node {
    fn free_bytes(&self) -> u64 {
        self.sizes.iter().map(|(bytes, _, free)| bytes * free).sum()
    }

    fn in_words(&self) -> String {
        let sizes = self
            .sizes
            .iter()
            .map(|(bytes, all, free)| format!("{free} of {all} pages of {} MiB free", bytes >> 20));
        format!("{}: {}", self.name, sizes.collect::<Vec<_>>().join(", "))
    }
}

/// Enough of them on each node that a NIC is on.
pub fn hugepages(host: &Host, subject: &Subject) -> Vec<Finding> {
    let nodes = nodes(host);
    if nodes.is_empty() {
        return HUGEPAGES.skipped("this kernel has no hugepages");
    }
    let found = nodes.iter().map(Node::in_words).collect::<Vec<_>>().join("; ");
    let is_needed = match subject.hugepages {
        Hugepages::Require => true,
        Hugepages::Never => false,
        Hugepages::Auto => subject.has_pci(),
    };
    let near: Vec<String> = super::devices::nodes_of(host, subject);
    let wanted = |node: &&Node| near.is_empty() || near.contains(&node.name);
    let short: Vec<&Node> =
        nodes.iter().filter(wanted).filter(|node| node.free_bytes() < subject.memory).collect();
    if short.is_empty() {
        return HUGEPAGES.good(found);
    }
    if !is_needed {
        let said = if subject.is_given {
            "this config runs without them"
        } else {
            "PCI devices need them"
        };
        return HUGEPAGES.note(format!("{found}; {said}"));
    }
    let pages = subject.memory.div_ceil(PAGE_BYTES);
    let command = |node: &&Node| format!("echo {pages} > {}/{PAGE}/nr_hugepages", node.dir);
    let names: Vec<&str> = short.iter().map(|node| node.name.as_str()).collect();
    let wanted = subject.memory >> 20;
    let found = format!("{found}; {wanted} MiB are needed on {}", names.join(" and "));
    HUGEPAGES.bad(found, Some(Mend::Now(short.iter().map(command).collect())))
}

fn nodes(host: &Host) -> Vec<Node> {
    const NODES: &str = "/sys/devices/system/node";
    let names = host.names(NODES);
    let of_node = names.iter().filter(|name| {
        name.strip_prefix("node").is_some_and(|number| number.parse::<u32>().is_ok())
    });
    let mut nodes: Vec<Node> =
        of_node.filter_map(|name| node(host, name, format!("{NODES}/{name}/hugepages"))).collect();
    if nodes.is_empty() {
        nodes.extend(node(host, "this host", "/sys/kernel/mm/hugepages".to_owned()));
    }
    nodes
}

fn node(host: &Host, name: &str, dir: String) -> Option<Node> {
    let sizes = host.names(&dir).into_iter().filter_map(|size| {
        let kib: u64 = size.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
        let pages = |file: &str| host.number(&format!("{dir}/{size}/{file}"));
        Some((kib << 10, pages("nr_hugepages")?, pages("free_hugepages")?))
    });
    let sizes: Vec<_> = sizes.collect();
    (!sizes.is_empty()).then(|| Node { name: name.to_owned(), dir, sizes })
}
