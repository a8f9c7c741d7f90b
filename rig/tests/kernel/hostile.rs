//! Whatever the bytes are, a reader answers or gives an error: it never panics, and it ends.

use proptest::prelude::*;
use rig::kernel::inet_diag::Socket;
use rig::kernel::qdisc::{Particular, Qdisc};
use rig::kernel::ring::frames;

use crate::built::block;
use crate::reads::{read, read_text};
use crate::recorded::{bytes, names};

/// What a kernel gave, cut off at every place: an error, or what stands in front of the cut.
#[test]
fn every_cut_of_what_was_recorded_is_survived() {
    for name in names() {
        let whole = bytes(&name);
        (0..whole.len()).for_each(|len| _ = read(&whole[..len]));
    }
    let whole = block(&[(1, true, 0, &[7; 200]), (2, false, 1_448, &[7; 100])]);
    for len in 0..whole.len() {
        read(&whole[..len]);
        let found: Vec<_> = frames(&whole[..len]).collect();
        assert!(found.iter().any(Result::is_err) || len >= 48 + 280 + 180, "cut at {len}");
    }
}

/// The counters of fq, cut off at every place: what the kernels reach, or an error.
#[test]
fn counters_of_fq_that_are_cut_off_are_not_zeros() {
    let whole = bytes("linux-6.1/qdisc-fq");
    let ends = 20..whole.len();
    let read = ends.filter_map(|len| Qdisc::read(&whole[..len]).ok()?.particular);
    for particular in read {
        let Particular::Fq(fq) = particular else { panic!("{particular:?}") };
        assert!(fq.throttled > 0, "{fq:?}");
    }
}

/// A record that is cut inside of what every kernel gives is an error, not a record of zeros.
#[test]
fn a_record_that_is_cut_off_is_an_error() {
    let socket = bytes("diag-socket");
    assert!((0..72).all(|len| Socket::read(&socket[..len]).is_err()));
    // Inside of the attributes, but not between two of them.
    let cuts = 73..socket.len();
    let errors = cuts.filter(|len| Socket::read(&socket[..*len]).is_err()).count();
    assert!(errors > (socket.len() - 73) * 3 / 4, "{errors} of {}", socket.len() - 73);
    let tbf = bytes("qdisc-tbf");
    assert!((0..20).all(|len| Qdisc::read(&tbf[..len]).is_err()));
}

proptest! {
    #[test]
    fn any_bytes_are_survived(b in prop::collection::vec(any::<u8>(), 0..600)) {
        read(&b);
    }

    /// Bytes of a kernel with some of them changed: lengths that lead out, kinds that do not fit.
    #[test]
    fn changed_bytes_are_survived(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
    ) {
        let names = names();
        let mut b = match names.get(which.index(names.len() + 1)) {
            Some(name) => bytes(name),
            None => block(&[(1, true, 0, &[7; 60]), (2, false, 1_448, &[7; 90]), (3, true, 0, &[])]),
        };
        for (at, byte) in changes {
            let at = at.index(b.len());
            b[at] = byte;
        }
        read(&b);
        read(&b[..cut.index(b.len())]);
    }

    #[test]
    fn any_text_is_survived(text in "[ -~\n]{0,200}") {
        read_text(&text);
    }

    #[test]
    fn any_numbers_are_survived(text in "([0-9a-f]{1,20}[ :\n]){0,60}") {
        read_text(&text);
        read_text(&format!("cpu  {text}"));
        read_text(&format!("softirq {text}"));
    }
}
