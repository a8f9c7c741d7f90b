//! The router behind a venue port: it answers ARP (RFC 826), whoever asks for whom.

const ARP: [u8; 2] = [0x08, 0x06];
const REQUEST: [u8; 2] = [0, 1];
/// Its hardware address.
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];

/// The answer to a frame that is a request.
pub fn answer(frame: &[u8]) -> Option<Vec<u8>> {
    let is_request = frame.get(12..14) == Some(&ARP) && frame.get(20..22) == Some(&REQUEST);
    if !is_request || frame.len() < 42 {
        return None;
    }
    let (asker, asked) = (&frame[22..32], &frame[38..42]);
    let mut answer = frame.to_vec();
    answer[..6].copy_from_slice(&asker[..6]);
    answer[6..12].copy_from_slice(&MAC);
    answer[21] = 2;
    answer[22..28].copy_from_slice(&MAC);
    answer[28..32].copy_from_slice(asked);
    answer[32..42].copy_from_slice(asker);
    Some(answer)
}
