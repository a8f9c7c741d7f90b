//! Reads what the gateway advises a class, without a call into the kernel but for the clock.
//!
//! ```text
//! advice_reader FILE SCOPE SECONDS
//! advice_reader /run/wirepace/gw1-advice class:orders 10
//! ```
//!
//! FILE is `[control] advice_shm` of the gateway's config. Prints every change.
#![allow(unsafe_code, reason = "a file is mapped with a system call")]

use std::env;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::ptr;
use std::slice;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use intent::advice::{Advice, Page};

/// A strategy would look before each decision; this one only prints.
const LOOK_EVERY: Duration = Duration::from_millis(1);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [path, scope, seconds] = args.as_slice() else {
        return Err("advice_reader FILE SCOPE SECONDS".into());
    };
    let page = Page::attach(map(Path::new(path))?)?;
    let place = page.find(scope).ok_or("the gateway advises no such scope")?;
    let until = Instant::now() + Duration::from_secs(seconds.parse()?);
    let mut last = None;
    while Instant::now() < until {
        let advice = page.read(place, tai_ns()?);
        if last.replace(said(&advice)) != Some(said(&advice)) {
            println!("{} {}", advice.sequence, said(&advice));
        }
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// What a strategy makes of it: here, a line.
fn said(advice: &Advice) -> String {
    let mut said = vec![if advice.regime().is_empty() { "clean" } else { advice.regime() }];
    let flags = [
        ("backpressure", advice.backpressure),
        ("completion_critical", advice.completion_critical),
        ("completion_priority", advice.completion_priority),
        ("queue_preserving", advice.queue_preserving),
        ("slippage_budget", advice.slippage_budget),
        ("write_batching", advice.write_batching),
    ];
    said.extend(flags.iter().filter(|(_, on)| *on).map(|(name, _)| *name));
    let factors = [
        ("aggression", advice.aggression),
        ("child_granularity", advice.child_granularity),
        ("replace_churn", advice.replace_churn),
        ("signal_weight", advice.signal_weight),
        ("tactic_switch_cap", advice.tactic_switch_cap),
        ("urgency", advice.urgency),
        ("less_route", 1.0 - advice.route_penalty),
    ];
    let factors = factors.iter().filter(|(_, factor)| *factor != 1.0);
    let factors: Vec<String> = factors.map(|(name, factor)| format!("{name}={factor}")).collect();
    said.extend(factors.iter().map(String::as_str));
    said.join(" ")
}

/// The page in our memory, for reading. It stays mapped for as long as the process lives.
fn map(path: &Path) -> io::Result<&'static [AtomicU64]> {
    let file = File::open(path)?;
    let bytes = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    // SAFETY: a new mapping of an open file; the kernel chooses where.
    let start = unsafe {
        let flags = libc::MAP_SHARED | libc::MAP_POPULATE;
        libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, flags, file.as_raw_fd(), 0)
    };
    if start == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the mapping is `bytes` long, aligned to a page, and never unmapped; it is only loaded from,
    // as atomics, for which every bit pattern is valid. The gateway never cuts the file short.
    Ok(unsafe { slice::from_raw_parts(start.cast(), bytes / size_of::<AtomicU64>()) })
}

/// Gateway time: CLOCK_TAI.
fn tai_ns() -> io::Result<u64> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live timespec.
    if unsafe { libc::clock_gettime(libc::CLOCK_TAI, &raw mut now) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

    use std::sync::atomic::Ordering;

    use intent::advice::{Writer, page_bytes, page_words};

    use super::*;

    #[test]
    fn reads_what_stands_in_a_file() {
        let words: Vec<AtomicU64> = (0..page_words(1)).map(|_| AtomicU64::new(0)).collect();
        let writer = Writer::initialise(&words, 1).unwrap();
        let mut advice =
            Advice { at_ns: tai_ns().unwrap(), backpressure: true, ..Advice::default() };
        advice.urgency = 0.5;
        writer.write(&words, 0, "class:orders", &advice);
        let path = env::temp_dir().join(format!("advice-reader-{}", std::process::id()));
        let bytes: Vec<u8> =
            words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect();
        assert_eq!(bytes.len(), page_bytes(1));
        std::fs::write(&path, bytes).unwrap();
        let page = Page::attach(map(&path).unwrap()).unwrap();
        std::fs::remove_file(&path).unwrap();
        let read = page.read(page.find("class:orders").unwrap(), advice.at_ns);
        assert_eq!(read, advice);
        assert_eq!(said(&read), "clean backpressure urgency=0.5");
        assert_eq!(said(&Advice::default()), "clean");
    }
}
