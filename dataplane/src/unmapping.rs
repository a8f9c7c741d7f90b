//! Memory that a driver takes away is waited for: no data core is in the middle of a burst over it.
//!
//! When the peer of a net_memif port goes, DPDK 22.11 unmaps in EAL's interrupt thread what both shared. It
//! marks the port as not connected before, and every burst begins with a look at that mark, but one that
//! has begun would end the process with SIGSEGV. `dpdk-sys` stands before `munmap` and asks here; the answer
//! comes once each core has turned. It costs a core nothing: the mark of its turns is there anyway.
//!
//! [`wait_for_turns_of`] each core, before it polls.
#![allow(unsafe_code)]

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::channel::ControlLink;

/// Says where a core stands; `None` = it does not poll.
type Pulse = Box<dyn Fn() -> Option<u64> + Send>;

static CORES: Mutex<Vec<Pulse>> = Mutex::new(Vec::new());

/// Between two looks, and how many there are at most: what stands still for longer than half a second is
/// beyond `core_stall`.
const LOOK_EVERY: Duration = Duration::from_micros(50);
const LOOKS_MAX: u32 = 10_000;

/// Memory is unmapped by drivers only between two turns of this core.
pub fn wait_for_turns_of<B: Send + 'static>(core: &ControlLink<B>) {
    CORES.lock().unwrap_or_else(PoisonError::into_inner).push(Box::new(core.pulse()));
    // SAFETY: the hook is a function, so it is there as long as the process, and it does not unwind.
    unsafe { dpdk_sys::wp_before_unmap(Some(wait_for_turns)) };
}

extern "C" fn wait_for_turns() {
    let cores = CORES.lock().unwrap_or_else(PoisonError::into_inner);
    let stood_at: Vec<_> = cores.iter().map(|pulse| pulse()).collect();
    for (pulse, stood_at) in cores.iter().zip(stood_at) {
        let mut looks = 0;
        while stood_at.is_some() && pulse() == stood_at && looks < LOOKS_MAX {
            std::thread::sleep(LOOK_EVERY);
            looks += 1;
        }
    }
}
