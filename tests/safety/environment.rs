//! What DPDK's environment leaves behind: nothing, however it ends.

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::gateway::{Home, socket_of};

/// The directories that DPDK has made for gateways of this home.
fn runtime_dirs(home: &Home) -> Vec<String> {
    let names = fs::read_dir(home.path("runtime/dpdk")).into_iter().flatten();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn a_gateway_whose_dpdk_does_not_start_says_so_and_leaves_nothing() {
    let mut home = Home::unprivileged();
    home.edits.push(("memory = \"64MiB\"", "memory = \"8GiB\"".to_owned()));
    // The child inherits it. Not enough for the memory that DPDK is told to map, and for all else.
    let own = getrlimit(Resource::As);
    setrlimit(Resource::As, Rlimit { current: Some(4 << 30), ..own }).unwrap();
    let mut refused = home.spawn(&home.fed("running", "orders"));
    setrlimit(Resource::As, own).unwrap();
    assert_eq!(refused.wait(), Some(1));
    let said = refused.said();
    let last = said.lines().last().unwrap_or_default();
    assert!(last.starts_with("wirepace: rte_eal_init(") && last.contains("failed: "), "{said}");
    assert!(!said.contains("panicked"), "{said}");
    drop(refused);
    assert_eq!(runtime_dirs(&home), [""; 0]);
    assert!(!socket_of(&home).exists());
    // Nothing that it took stands in the way of the next one.
    home.edits.clear();
    let gateway = home.start(&home.fed("running", "orders"));
    assert!(gateway.flows("orders"));
    gateway.end();
}

#[test]
fn a_gateway_with_telemetry_leaves_no_directory_of_dpdk() {
    let mut home = Home::unprivileged();
    home.edits.push(("[dpdk]\n", "[dpdk]\ntelemetry = true\n".to_owned()));
    let gateway = home.start(&home.fed("running", "orders"));
    assert_eq!(runtime_dirs(&home), ["wirepace-gw-safety"]);
    gateway.end();
    assert_eq!(runtime_dirs(&home), [""; 0]);
}
