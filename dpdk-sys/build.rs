//! Finds DPDK 22.11 with pkg-config, compiles the shim and generates the bindings.
//!
//! DPDK's own flags go to both the compiler and bindgen, unchanged: the headers need
//! `-include rte_config.h`, and `-march=corei7` keeps wider SIMD paths out of a portable binary.

use std::env;
use std::path::PathBuf;
use std::process::{Command, exit};

/// Everything the Rust side names. A function that is missing here does not exist for it.
const FUNCTIONS: &[&str] = &[
    "rte_acl_add_rules",
    "rte_acl_build",
    "rte_acl_classify",
    "rte_acl_create",
    "rte_acl_find_existing",
    "rte_acl_free",
    "rte_dev_name",
    "rte_eal_cleanup",
    "rte_eal_get_runtime_dir",
    "rte_eal_hotplug_add",
    "rte_eal_hotplug_remove",
    "rte_eal_init",
    "rte_eth_allmulticast_enable",
    "rte_eth_dev_adjust_nb_rx_tx_desc",
    "rte_eth_dev_close",
    "rte_eth_dev_configure",
    "rte_eth_dev_get_mtu",
    "rte_eth_dev_get_port_by_name",
    "rte_eth_dev_info_get",
    "rte_eth_dev_is_removed",
    "rte_eth_dev_set_link_down",
    "rte_eth_dev_set_link_up",
    "rte_eth_dev_socket_id",
    "rte_eth_dev_start",
    "rte_eth_dev_stop",
    "rte_eth_link_get_nowait",
    "rte_eth_promiscuous_disable",
    "rte_eth_promiscuous_enable",
    "rte_eth_read_clock",
    "rte_eth_rx_queue_setup",
    "rte_eth_stats_get",
    "rte_eth_timesync_disable",
    "rte_eth_timesync_enable",
    "rte_eth_timesync_read_time",
    "rte_eth_timesync_read_tx_timestamp",
    "rte_eth_tx_queue_setup",
    "rte_hash_add_key_data",
    "rte_hash_count",
    "rte_hash_create",
    "rte_hash_del_key",
    "rte_hash_free",
    "rte_hash_reset",
    "rte_mbuf_dyn_rx_timestamp_register",
    "rte_mbuf_dyn_tx_timestamp_register",
    "rte_mbuf_dynfield_register",
    "rte_mempool_avail_count",
    "rte_mempool_free",
    "rte_mempool_in_use_count",
    "rte_pktmbuf_free_bulk",
    "rte_pktmbuf_pool_create",
    "rte_ring_create",
    "rte_ring_free",
    "rte_ring_lookup",
    "rte_sched_pipe_config",
    "rte_sched_port_config",
    "rte_sched_port_dequeue",
    "rte_sched_port_enqueue",
    "rte_sched_port_free",
    "rte_sched_port_get_memory_footprint",
    "rte_sched_port_pkt_write",
    "rte_sched_subport_config",
    "rte_strerror",
    "rte_tel_data_add_array_string",
    "rte_tel_data_add_array_u64",
    "rte_tel_data_add_dict_container",
    "rte_tel_data_add_dict_string",
    "rte_tel_data_add_dict_u64",
    "rte_tel_data_alloc",
    "rte_tel_data_free",
    "rte_tel_data_start_array",
    "rte_tel_data_start_dict",
    "rte_telemetry_register_cmd",
    "rte_thread_register",
    "rte_thread_unregister",
    "rte_version",
    "wp_.*",
];

const TYPES: &[&str] = &[
    "rte_acl_config",
    "rte_acl_field",
    "rte_acl_param",
    "rte_acl_rule_data",
    "rte_eth_conf",
    "rte_eth_dev_info",
    "rte_eth_link",
    "rte_eth_stats",
    "rte_hash_parameters",
    "rte_mbuf",
    "rte_mbuf_dynfield",
    "rte_sched_pipe_params",
    "rte_sched_port_params",
    "rte_sched_subport_params",
    "rte_sched_subport_profile_params",
    "rte_tel_value_type",
    "timespec",
];

/// Only pointers to these are ever held.
const OPAQUE: &[&str] = &[
    "rte_acl_ctx",
    "rte_mempool",
    "rte_device",
    "rte_eth_rxtx_callback",
    "rte_ring",
    "rte_hash",
    "rte_sched_cman_params",
    "rte_sched_port",
    "rte_tel_data",
];

/// Linked because their symbols are named above. Drivers are not: EAL loads them at start from its
/// plugin directory.
const LIBRARIES: &[&str] = &[
    "rte_acl",
    "rte_eal",
    "rte_ethdev",
    "rte_gso",
    "rte_hash",
    "rte_mbuf",
    "rte_mempool",
    "rte_ring",
    "rte_telemetry",
    // Only the benches call it: a linker that drops what is not needed leaves it out of the product.
    "rte_sched",
];

fn main() {
    for file in ["build.rs", "csrc/wrapper.h", "csrc/shim.c"] {
        println!("cargo:rerun-if-changed={file}");
    }
    println!("cargo:rerun-if-env-changed=PKG_CONFIG_PATH");

    let version = pkg_config("--modversion");
    if !accepted(&version) {
        fail(&format!("found DPDK {version}"));
    }
    let cflags: Vec<String> =
        pkg_config("--cflags").split_whitespace().map(str::to_owned).collect();

    compile_shim(&cflags);
    generate_bindings(&cflags);

    for dir in pkg_config("--libs-only-L").split_whitespace() {
        println!("cargo:rustc-link-search=native={}", dir.trim_start_matches("-L"));
    }
    for library in LIBRARIES {
        println!("cargo:rustc-link-lib=dylib={library}");
    }
}

/// 22.11.x only: layouts and several inline functions change with every feature release.
fn accepted(version: &str) -> bool {
    let mut parts = version.split('.');
    parts.next() == Some("22") && parts.next() == Some("11")
}

fn pkg_config(what: &str) -> String {
    let output = match Command::new("pkg-config").args([what, "libdpdk"]).output() {
        Ok(output) => output,
        Err(e) => fail(&format!("pkg-config could not be run ({e})")),
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        fail(&format!("pkg-config does not know libdpdk: {}", said.trim().replace('\n', " ")));
    }
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn fail(found: &str) -> ! {
    println!("cargo:warning=dpdk-sys: {found}.");
    println!("cargo:warning=dpdk-sys: accepted is DPDK >= 22.11 and < 23 with its headers.");
    println!(
        "cargo:warning=dpdk-sys: on Debian 12: apt-get install libdpdk-dev dpdk pkg-config clang \
         libclang-dev"
    );
    println!(
        "cargo:warning=dpdk-sys: another place: set PKG_CONFIG_PATH to where libdpdk.pc lies."
    );
    exit(1)
}

fn compile_shim(cflags: &[String]) {
    let mut build = cc::Build::new();
    build.file("csrc/shim.c").opt_level(3).define("ALLOW_EXPERIMENTAL_API", None);
    for flag in cflags {
        build.flag(flag);
    }
    build.compile("wirepace_dpdk_shim");
}

fn generate_bindings(cflags: &[String]) {
    let mut builder = bindgen::Builder::default()
        .header("csrc/wrapper.h")
        .clang_args(cflags)
        .clang_arg("-DALLOW_EXPERIMENTAL_API")
        .use_core()
        .rust_edition(bindgen::RustEdition::Edition2024)
        .wrap_unsafe_ops(true)
        // DPDK's comments would become failing doctests.
        .generate_comments(false)
        .layout_tests(true)
        .derive_debug(false)
        .derive_default(true)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .allowlist_var("WP_.*")
        // Thread-local variables would come out as ordinary statics: wrong addresses.
        .blocklist_item("per_lcore_.*");
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    let bindings = match builder.generate() {
        Ok(bindings) => bindings,
        Err(e) => fail(&format!("bindgen could not read the headers of DPDK ({e})")),
    };
    let out = PathBuf::from(env::var_os("OUT_DIR").unwrap_or_default()).join("bindings.rs");
    if let Err(e) = bindings.write_to_file(&out) {
        fail(&format!("{} could not be written ({e})", out.display()));
    }
}
