//! What the kernel answers: netlink messages, socket options, frames of a ring, files of /proc.

#[path = "../../../rig/tests/kernel/reads.rs"]
mod reads;

/// What kernels have said, as it was recorded.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    let recorded = "rig/tests/kernel/recorded";
    let kernels =
        ["linux-5.10", "linux-6.1", "linux-6.12"].map(|kernel| format!("{recorded}/{kernel}"));
    let mut places = vec![recorded];
    places.extend(kernels.iter().map(String::as_str));
    let bytes = |(path, bytes): (std::path::PathBuf, Vec<u8>)| {
        let is_hex = path.extension().is_some_and(|extension| extension == "hex");
        if is_hex { reads::of_hex(&String::from_utf8_lossy(&bytes)) } else { bytes }
    };
    super::files(&places).into_iter().map(bytes).collect()
}

pub(super) fn run(bytes: &[u8]) -> String {
    let letters = |bits: u32| format!("{bits:b}").replace('0', "-").replace('1', "+");
    let text = String::from_utf8_lossy(bytes);
    format!("{} {}", letters(reads::read(bytes)), letters(reads::read_text(&text)))
}
