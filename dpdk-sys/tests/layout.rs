//! The bindings against literals: the data plane reads these fields at these places.

use core::mem::{align_of, offset_of, size_of};

use dpdk_sys::{rte_eth_link, rte_mbuf};

#[test]
fn mbuf_fields_are_where_dpdk_22_11_has_them() {
    assert_eq!((size_of::<rte_mbuf>(), align_of::<rte_mbuf>()), (128, 64));
    let fields = [
        (offset_of!(rte_mbuf, buf_addr), 0),
        (offset_of!(rte_mbuf, buf_iova), 8),
        (offset_of!(rte_mbuf, data_off), 16),
        (offset_of!(rte_mbuf, refcnt), 18),
        (offset_of!(rte_mbuf, nb_segs), 20),
        (offset_of!(rte_mbuf, port), 22),
        (offset_of!(rte_mbuf, ol_flags), 24),
        (offset_of!(rte_mbuf, pkt_len), 36),
        (offset_of!(rte_mbuf, data_len), 40),
        (offset_of!(rte_mbuf, vlan_tci), 42),
        (offset_of!(rte_mbuf, buf_len), 54),
        (offset_of!(rte_mbuf, pool), 56),
        (offset_of!(rte_mbuf, next), 64),
        (offset_of!(rte_mbuf, shinfo), 80),
        (offset_of!(rte_mbuf, priv_size), 88),
        (offset_of!(rte_mbuf, timesync), 90),
        (offset_of!(rte_mbuf, dynfield1), 92),
    ];
    for (index, (found, expected)) in fields.into_iter().enumerate() {
        assert_eq!(found, expected, "field number {index}");
    }
}

#[test]
fn a_link_fits_the_word_that_dpdk_swaps_atomically() {
    assert_eq!((size_of::<rte_eth_link>(), align_of::<rte_eth_link>()), (8, 8));
}

#[test]
fn the_library_that_is_loaded_is_the_one_compiled_against() {
    // SAFETY: neither function has a precondition; rte_version gives a static string.
    let (compiled, loaded) =
        unsafe { (dpdk_sys::wp_version_num(), core::ffi::CStr::from_ptr(dpdk_sys::rte_version())) };
    assert_eq!(compiled >> 16, 22 << 8 | 11);
    assert!(loaded.to_bytes().starts_with(b"DPDK 22.11"), "{loaded:?}");
}

#[test]
fn drivers_unmap_by_way_of_this_program() {
    // SAFETY: no precondition.
    assert_eq!(unsafe { dpdk_sys::wp_unmaps_here() }, 1);
}
