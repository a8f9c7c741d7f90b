//! Large pages for what a data core will touch: flow records, tables and histograms lie in the heap,
//! and with small pages every other look at one of many flows misses the TLB as well.
//!
//! Called once, when everything is allocated and no data core runs yet. Where the kernel leaves large
//! pages to programs to ask for (`transparent_hugepage/enabled` = madvise) this asks; where they are
//! off nothing happens. What DPDK reserves for itself is its own affair (`[dpdk] hugepages`).
#![allow(unsafe_code)]

use std::fs;

/// The usual large page, bytes.
const LARGE_PAGE_BYTES: usize = 2 << 20;

/// Asks for large pages under all private anonymous memory of the process. Returns how many bytes the
/// kernel has put on large pages at once; the rest follows, or not, in its own time.
pub fn ask() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    maps.lines().filter_map(anonymous).map(|(start, end)| ask_for(start, end)).sum()
}

/// Start and end of the whole large pages of a mapping, if it is private, anonymous and writable.
fn anonymous(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, rights) = (fields.next()?, fields.next()?);
    let inode = fields.nth(2)?;
    let path = fields.next();
    if rights != "rw-p" || inode != "0" || path.is_some_and(|path| path != "[heap]") {
        return None;
    }
    let (start, end) = range.split_once('-')?;
    let at = |text| usize::from_str_radix(text, 16).ok();
    let start = at(start)?.checked_next_multiple_of(LARGE_PAGE_BYTES)?;
    let end = at(end)? / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
    (start < end).then_some((start, end))
}

fn ask_for(start: usize, end: usize) -> usize {
    let bytes = end - start;
    let at = std::ptr::without_provenance_mut(start);
    // SAFETY: both kinds of advice change which pages back the memory and nothing that is in it; a
    // range that has been unmapped since is refused.
    unsafe {
        if libc::madvise(at, bytes, libc::MADV_HUGEPAGE) != 0 {
            return 0;
        }
        // At once, not when the kernel finds the time: the cores start next.
        if libc::madvise(at, bytes, libc::MADV_COLLAPSE) == 0 { bytes } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_anonymous_memory_is_asked_for() {
        let whole = |line| anonymous(line);
        assert_eq!(
            whole("7f0000001000-7f0000800000 rw-p 00000000 00:00 0 "),
            Some((0x7f00_0020_0000, 0x7f00_0080_0000))
        );
        assert_eq!(
            whole("55d000000000-55d000400000 rw-p 00000000 00:00 0   [heap]"),
            Some((0x55d0_0000_0000, 0x55d0_0040_0000))
        );
        // Too small, shared, a file, a stack, not writable, not a line.
        for line in [
            "7f0000001000-7f0000200000 rw-p 00000000 00:00 0 ",
            "7f0000000000-7f0000800000 rw-s 00000000 00:00 0 ",
            "7f0000000000-7f0000800000 rw-p 00000000 fe:00 77 /lib/x.so",
            "7ffc00000000-7ffc00800000 rw-p 00000000 00:00 0  [stack]",
            "7f0000000000-7f0000800000 r--p 00000000 00:00 0 ",
            "",
        ] {
            assert_eq!(whole(line), None, "{line}");
        }
    }

    #[test]
    fn memory_keeps_what_is_in_it() {
        let mut bytes = vec![0u8; 3 * LARGE_PAGE_BYTES];
        bytes.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i % 251) as u8);
        let got = ask();
        assert!(got.is_multiple_of(LARGE_PAGE_BYTES));
        assert!(bytes.iter().enumerate().all(|(i, &byte)| byte == (i % 251) as u8));
    }
}
