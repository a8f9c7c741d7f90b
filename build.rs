//! Stamps the commit and the DPDK version of the build into the binary: `wirepace --version`.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=.git/HEAD");
    println!("cargo:rerun-if-changed=.git/index");
    println!("cargo:rerun-if-changed=build.rs");
    let commit = output("git", &["describe", "--always", "--dirty", "--abbrev=12"]);
    let dpdk = output("pkg-config", &["--modversion", "libdpdk"]);
    println!("cargo:rustc-env=WIREPACE_COMMIT={}", commit.as_deref().unwrap_or("unknown"));
    println!("cargo:rustc-env=WIREPACE_DPDK={}", dpdk.as_deref().unwrap_or("unknown"));
}

/// What a tool prints; a build from a source archive has no commit, and that is no error.
fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
