//! A host as its files say: this one, or a recorded tree of `/proc` and `/sys`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use dataplane::placement::listed_cpus;
use rig::kernel::ethtool;
use rig::kernel::netlink::{Family, Netlink};

/// Files below a root directory. What is not there is `None`, and whoever asks says what that means.
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The host whose files lie below `root`.
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Whether it is the one that this process runs on.
    pub fn is_this(&self) -> bool {
        self.root == Path::new("/")
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// What stands in a file, without the blanks around it.
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.path(path)).ok().map(|text| text.trim().to_owned())
    }

    /// The number in a file.
    pub fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.parse().ok()
    }

    /// The CPUs that a file lists; none where it lists none.
    pub fn cpus(&self, path: &str) -> Option<BTreeSet<usize>> {
        self.read(path).map(|text| listed_cpus(&text))
    }

    /// The names in a directory, in their order.
    pub fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        names
    }

    /// Whether there is a file or directory.
    pub fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The last name of what a link leads to.
    pub fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;
        Some(target.file_name()?.to_string_lossy().into_owned())
    }

    /// A parameter of the kernel, such as `rcu_nocbs=`.
    pub fn kernel_parameter(&self, name: &str) -> Option<String> {
        let line = self.read("/proc/cmdline")?;
        let value =
            line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.map(str::to_owned)
    }

    /// The offloads of an interface that are on, by the names of `ethtool -k`. Of a recorded tree: those in
    /// `features/INTERFACE`.
    pub fn features_on(&self, interface: &str) -> Option<Vec<String>> {
        if !self.is_this() {
            let listed = self.read(&format!("/features/{interface}"))?;
            return Some(listed.lines().map(str::to_owned).collect());
        }
        let mut generic = Netlink::open(Family::Generic).ok()?;
        let features = ethtool::ask(&mut generic, interface).ok()?.features?;
        Some(features.into_iter().filter(|(_, on)| *on).map(|(name, _)| name.to_owned()).collect())
    }
}

/// The kernel's way to list CPUs: `2-3,6`.
pub fn cpu_list(cpus: impl IntoIterator<Item = usize>) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for cpu in cpus {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == cpu => *last = cpu,
            _ => ranges.push((cpu, cpu)),
        }
    }
    let written = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    written.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_are_listed_as_the_kernel_does_and_read_back() {
        for (cpus, list) in [(&[2, 3, 6][..], "2-3,6"), (&[1], "1"), (&[], ""), (&[0, 1, 2], "0-2")]
        {
            assert_eq!(cpu_list(cpus.iter().copied()), list);
            assert_eq!(listed_cpus(list), cpus.iter().copied().collect());
        }
    }
}
