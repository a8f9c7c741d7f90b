//! The frame parser. What it says must agree with etherparse wherever both read the frame in full.

use model::frame::{Frame, parse};

#[path = "../../../model/tests/frame_oracle/oracle.rs"]
mod oracle;

/// The frames of the hostile captures.
pub(super) fn corpus() -> Vec<Vec<u8>> {
    super::capture::frames()
}

pub(super) fn run(bytes: &[u8]) -> String {
    let answer = oracle::compare(bytes);
    assert_eq!(answer.differs, None);
    // On the wire it may have been longer than what is held of it.
    let held = bytes.len() as u32;
    let (frame, longer) = (parse(bytes, held), parse(bytes, held + 9));
    if let (Frame::Ip(short), Frame::Ip(long)) = (&frame, &longer) {
        assert_eq!(short.key, long.key, "the same bytes, another flow");
        assert!(short.payload_len < held && long.payload_len < held + 9);
    }
    match frame {
        Frame::Malformed(reason) => reason.name().to_owned(),
        Frame::NonIp { .. } => "not IP".to_owned(),
        Frame::Ip(parsed) => {
            let tagged = parsed.key.vlan != model::frame::VLAN_NONE;
            let protocol = match parsed.key.protocol {
                6 => "TCP",
                17 => "UDP",
                _ => "another",
            };
            let (fragment, in_full) = (parsed.is_fragment, answer.in_full);
            format!("{protocol}, fragment {fragment}, tagged {tagged}, in full {in_full}")
        }
    }
}
