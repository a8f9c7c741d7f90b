//! `wirepace doctor` on recorded hosts: trees of `/proc` and `/sys`, good and bad.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod host_setup;
mod tree;

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use tree::Tree;

/// A pair between two devices that polls on CPU 2 and receives on CPU 3.
fn config(dir: &Path, inside: &str, venue: &str) -> String {
    let path = dir.join("gw.toml");
    let text = format!(
        r#"
[gateway]
name = "doctored"
start_state = "running"
control_cpu = 0
[dpdk]
memory = "256MiB"
[[port]]
name = "in"
side = "inside"
device = "{inside}"
[[port]]
name = "out"
side = "venue"
device = "{venue}"
[[pair]]
inside = "in"
venue = "out"
arrangement = "pipeline"
core = 2
rx_cores = [3]
[default_class]
inside = "a"
venue = "b"
[[class]]
name = "a"
[[class]]
name = "b"
from = "venue"
"#
    );
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn doctor(tree: &Tree, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wirepace"))
        .arg("doctor")
        .arg("--root")
        .arg(tree.root())
        .args(arguments)
        .output()
        .unwrap()
}

fn findings(output: &Output) -> Vec<Value> {
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&output.stderr)));
    said["findings"].as_array().unwrap().clone()
}

/// Names of the checks with findings of that level, each once.
fn of_level(findings: &[Value], level: &str) -> Vec<String> {
    let mut names: Vec<String> = findings
        .iter()
        .filter(|finding| finding["level"] == level)
        .map(|finding| finding["check"].as_str().unwrap().to_owned())
        .collect();
    names.dedup();
    names
}

#[test]
fn a_host_that_is_set_up_has_nothing_bad_with_or_without_a_config() {
    let tree = Tree::read(include_str!("good.tree"));
    let config = config(tree.root(), "0000:81:00.0", "0000:81:00.1");
    for arguments in [&["--json"][..], &["--json", "--config", &config]] {
        let output = doctor(&tree, arguments);
        let findings = findings(&output);
        assert_eq!(of_level(&findings, "bad"), [""; 0], "{findings:#?}");
        assert_eq!(output.status.code(), Some(0));
        let good = of_level(&findings, "good");
        for check in
            ["isolation", "nohz_full", "rcu_nocbs", "governor", "c-states", "smt", "irqs", "tsc"]
        {
            assert!(good.iter().any(|name| name == check), "{check}: {findings:#?}");
        }
    }
    let findings = findings(&doctor(&tree, &["--json", "--config", &config]));
    let good = of_level(&findings, "good");
    for check in ["hugepages", "iommu", "nic-binding", "nic-numa", "memlock"] {
        assert!(good.iter().any(|name| name == check), "{check}: {findings:#?}");
    }
}

#[test]
fn what_is_wrong_is_named_with_what_mends_it() {
    let tree = Tree::read(include_str!("bad.tree"));
    let config = config(tree.root(), "0000:81:00.0", "net_af_xdp0,iface=eth9");
    let output = doctor(&tree, &["--json", "--config", &config]);
    assert_eq!(output.status.code(), Some(3));
    let findings = findings(&output);
    let mend = |check: &str| -> Vec<Value> {
        let of = findings.iter().filter(|f| f["check"] == check && f["level"] == "bad");
        of.map(|finding| finding["mend"].clone()).collect()
    };
    let now = |commands: &[&str]| vec![json!({"when": "now", "commands": commands})];
    let boot = |parameters: &str| vec![json!({"when": "boot", "parameters": parameters})];
    assert_eq!(
        mend("hugepages"),
        now(&[
            "echo 128 > /sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages",
            "echo 128 > /sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages",
        ])
    );
    assert_eq!(mend("isolation"), boot("isolcpus=managed_irq,domain,2-3"));
    assert_eq!(mend("nohz_full"), boot("nohz_full=2-3"));
    assert_eq!(mend("rcu_nocbs"), boot("rcu_nocbs=2-3"));
    assert_eq!(
        mend("governor"),
        now(&["echo performance > /sys/devices/system/cpu/cpu2/cpufreq/scaling_governor"])
    );
    assert_eq!(
        mend("c-states"),
        now(&["echo 1 > /sys/devices/system/cpu/cpu2/cpuidle/state3/disable"])
    );
    assert_eq!(
        mend("smt"),
        now(&[
            "echo 0 > /sys/devices/system/cpu/cpu6/online",
            "echo 0 > /sys/devices/system/cpu/cpu7/online",
        ])
    );
    assert_eq!(mend("irqs"), now(&["echo 0-1,4-7 > /proc/irq/24/smp_affinity_list"]));
    assert_eq!(
        mend("clocksource"),
        now(&["echo tsc > /sys/devices/system/clocksource/clocksource0/current_clocksource"])
    );
    assert_eq!(mend("iommu"), boot("intel_iommu=on amd_iommu=on iommu=pt"));
    assert_eq!(
        mend("nic-binding"),
        now(&["modprobe vfio-pci", "dpdk-devbind.py -b vfio-pci 0000:81:00.0"])
    );
    assert_eq!(mend("nic-offloads"), now(&["ethtool -K eth9 rx-gro off rx-lro off"]));
    for by_hand in ["tsc", "memlock", "nofile", "nic-numa", "dpdk-plugins"] {
        assert_eq!(mend(by_hand)[0]["when"], "by_hand", "{by_hand}");
    }
    assert_eq!(of_level(&findings, "note"), ["rt-throttling"]);
    for finding in &findings {
        let says = |key: &str| finding[key].as_str().is_some_and(|text| text.len() > 2);
        assert!(says("found") && says("why"), "{finding}");
    }

    let said = String::from_utf8(doctor(&tree, &["--config", &config]).stdout).unwrap();
    assert!(said.contains("mend: ethtool -K eth9 rx-gro off rx-lro off"), "{said}");
    assert!(said.contains("bad      irqs"), "{said}");
}

#[test]
fn what_mends_it_is_a_script_for_a_shell() {
    let tree = Tree::read(include_str!("bad.tree"));
    let config = config(tree.root(), "0000:81:00.0", "net_af_xdp0,iface=eth9");
    let said = |which: &str| {
        String::from_utf8(doctor(&tree, &["--config", &config, "--commands", which]).stdout)
            .unwrap()
    };
    let now = said("now");
    assert!(now.lines().any(|line| line == "modprobe vfio-pci"), "{now}");
    let parses = Command::new("bash").args(["-n", "-c", &now]).status().unwrap();
    assert!(parses.success(), "{now}");
    assert_eq!(
        said("boot").trim(),
        "isolcpus=managed_irq,domain,2-3 nohz_full=2-3 rcu_nocbs=2-3 intel_iommu=on amd_iommu=on iommu=pt"
    );
    let nothing = doctor(&Tree::read(include_str!("good.tree")), &["--commands", "now"]);
    assert_eq!((nothing.status.code(), nothing.stdout.len()), (Some(0), 0));
}

#[test]
fn a_host_that_says_nothing_is_skipped_and_not_called_good() {
    let tree = Tree::read("");
    let output = doctor(&tree, &["--json"]);
    let findings = findings(&output);
    assert_eq!(of_level(&findings, "good"), [""; 0], "{findings:#?}");
    assert_eq!(of_level(&findings, "bad"), ["isolation", "dpdk-plugins"]);
    assert_eq!(output.status.code(), Some(3));
}

#[test]
fn this_host_is_examined_too() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_wirepace")).args(["doctor", "--json"]).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 3)), "{output:?}");
    assert!(findings(&output).len() >= 15);
}
