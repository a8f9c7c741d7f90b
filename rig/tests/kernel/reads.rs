//! Everything that reads what a kernel says, on any bytes.

use rig::kernel::inet_diag::{Socket, SocketMemory};
use rig::kernel::link::Link;
use rig::kernel::qdisc::{FqCodelStats, FqStats, Qdisc};
use rig::kernel::ring::frames;
use rig::kernel::tcp_info::TcpInfo;
use rig::kernel::{ethtool, files, netlink, own_socket};

/// All readers of bytes. A bit for each that answered.
pub fn read(b: &[u8]) -> u32 {
    let answered = [
        TcpInfo::read(b).is_ok(),
        SocketMemory::read(b).is_ok(),
        Socket::read(b).is_ok(),
        Link::read(b).is_ok(),
        Qdisc::read(b).is_ok(),
        FqStats::read(b).is_ok(),
        FqCodelStats::read(b).is_ok(),
        ethtool::coalesce(b).is_ok(),
        ethtool::rings(b).is_ok(),
        ethtool::features(b).is_ok(),
        ethtool::family(b).is_ok(),
        own_socket::software_time(b).is_ok(),
        own_socket::origin(b).is_ok(),
        netlink::messages(b).all(|message| message.is_ok()),
        netlink::attributes(b).all(|attribute| attribute.is_ok()),
    ];
    // Each step takes a header at least.
    assert!(netlink::messages(b).count() <= b.len() / 16 + 1);
    assert!(netlink::attributes(b).count() <= b.len() / 4 + 1);
    for frame in frames(b).flatten() {
        assert!(frame.bytes.len() <= b.len());
    }
    bits(&answered)
}

/// All readers of files of /proc and /sys. A bit for each that answered.
pub fn read_text(text: &str) -> u32 {
    bits(&[
        files::softnet(text).is_ok(),
        files::schedstat(text).is_ok(),
        files::cpu_ticks(text).is_ok(),
        files::interrupts(text).is_ok(),
        files::receive_runs(text).is_ok(),
        files::bql(|_| Some(text.to_owned())).is_ok(),
    ])
}

/// The bytes of a recording.
pub fn of_hex(text: &str) -> Vec<u8> {
    text.split_whitespace().filter_map(|hex| u8::from_str_radix(hex, 16).ok()).collect()
}

fn bits(answered: &[bool]) -> u32 {
    answered.iter().fold(0, |bits, answered| bits << 1 | u32::from(*answered))
}
