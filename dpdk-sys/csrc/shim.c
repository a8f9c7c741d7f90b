/*
 * The part of DPDK that exists only as static inline functions, macros and thread-local variables,
 * as ordinary functions. One line each; the layout that the Rust side relies on is asserted here
 * against the headers and in tests/layout.rs against the bindings.
 */
#define _GNU_SOURCE
#include "wrapper.h"

#include <assert.h>
#include <stddef.h>
#include <stdio.h>

#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <rte_hash_crc.h>
#include <rte_interrupts.h>
#include <rte_log.h>

_Static_assert(RTE_VER_YEAR == 22 && RTE_VER_MONTH == 11, "DPDK 22.11 is needed");
_Static_assert(sizeof(struct rte_mbuf) == 128, "rte_mbuf is two cache lines");
_Static_assert(_Alignof(struct rte_mbuf) == 64, "rte_mbuf is aligned to a cache line");
_Static_assert(offsetof(struct rte_mbuf, buf_addr) == 0, "buf_addr");
_Static_assert(offsetof(struct rte_mbuf, data_off) == 16, "data_off");
_Static_assert(offsetof(struct rte_mbuf, refcnt) == 18, "refcnt");
_Static_assert(offsetof(struct rte_mbuf, nb_segs) == 20, "nb_segs");
_Static_assert(offsetof(struct rte_mbuf, ol_flags) == 24, "ol_flags");
_Static_assert(offsetof(struct rte_mbuf, pkt_len) == 36, "pkt_len");
_Static_assert(offsetof(struct rte_mbuf, data_len) == 40, "data_len");
_Static_assert(offsetof(struct rte_mbuf, buf_len) == 54, "buf_len");
_Static_assert(offsetof(struct rte_mbuf, pool) == 56, "pool");
_Static_assert(offsetof(struct rte_mbuf, next) == 64, "next");
_Static_assert(offsetof(struct rte_mbuf, priv_size) == 88, "priv_size");
_Static_assert(offsetof(struct rte_mbuf, dynfield1) == 92, "dynfield1");

int wp_errno(void) { return rte_errno; }

uint32_t wp_lcore_id(void) { return rte_lcore_id(); }

uint32_t wp_version_num(void) { return RTE_VERSION; }

int wp_log_to_stderr(void) { return rte_openlog_stream(stderr); }

static void (*before_unmap)(void);

void wp_before_unmap(void (*hook)(void))
{
	__atomic_store_n(&before_unmap, hook, __ATOMIC_RELEASE);
}

/*
 * In the place of libc's. When the peer of a net_memif port goes, DPDK 22.11 marks the port as not
 * connected and unmaps in its interrupt thread what both shared (memif_free_regions), whoever is in
 * the middle of a burst over it.
 */
int munmap(void *address, size_t bytes)
{
	void (*hook)(void) = __atomic_load_n(&before_unmap, __ATOMIC_ACQUIRE);

	if (hook != NULL && rte_thread_is_intr())
		hook();
	return (int)syscall(SYS_munmap, address, bytes);
}

int wp_unmaps_here(void) { return dlsym(RTLD_DEFAULT, "munmap") == (void *)munmap; }

uint16_t wp_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_rx_burst(port, queue, pkts, n);
}

uint16_t wp_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_tx_burst(port, queue, pkts, n);
}

uint16_t wp_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n)
{
	return rte_eth_tx_prepare(port, queue, pkts, n);
}

int wp_tx_descriptor_status(uint16_t port, uint16_t queue, uint16_t offset)
{
	return rte_eth_tx_descriptor_status(port, queue, offset);
}

struct rte_mempool *wp_pktmbuf_pool_create(const char *name, uint32_t mbufs, uint32_t cache,
					   uint16_t private_bytes, uint16_t data_room_bytes,
					   int socket, uint32_t flags)
{
	struct rte_pktmbuf_pool_private sizes = {
		.mbuf_data_room_size = data_room_bytes,
		.mbuf_priv_size = private_bytes,
	};
	const uint32_t object_bytes = sizeof(struct rte_mbuf) + private_bytes + data_room_bytes;
	struct rte_mempool *pool = rte_mempool_create_empty(name, mbufs, object_bytes, cache,
							    sizeof(sizes), socket, flags);
	int failed;

	if (pool == NULL)
		return NULL;
	failed = rte_mempool_set_ops_byname(pool, rte_mbuf_best_mempool_ops(), NULL);
	if (failed == 0) {
		rte_pktmbuf_pool_init(pool, &sizes);
		failed = rte_mempool_populate_default(pool);
	}
	if (failed < 0) {
		rte_mempool_free(pool);
		rte_errno = -failed;
		return NULL;
	}
	rte_mempool_obj_iter(pool, rte_pktmbuf_init, NULL);
	return pool;
}

struct rte_mbuf *wp_pktmbuf_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }

int wp_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **pkts, uint32_t n)
{
	return rte_pktmbuf_alloc_bulk(pool, pkts, n);
}

void wp_pktmbuf_free(struct rte_mbuf *m) { rte_pktmbuf_free(m); }

uint16_t wp_mbuf_refcnt_read(const struct rte_mbuf *m) { return rte_mbuf_refcnt_read(m); }

void wp_pktmbuf_refcnt_update(struct rte_mbuf *m, int16_t v) { rte_pktmbuf_refcnt_update(m, v); }

void wp_mempool_cache_flush(struct rte_mempool *pool)
{
	struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());

	if (cache != NULL)
		rte_mempool_cache_flush(cache, pool);
}

uint32_t wp_mempool_free_here(struct rte_mempool *pool)
{
	const struct rte_mempool_cache *cache = rte_mempool_default_cache(pool, rte_lcore_id());

	/* rte_mempool_ops_get_count is not exported. */
	return rte_mempool_get_ops(pool->ops_index)->get_count(pool) + (cache != NULL ? cache->len : 0);
}

uint32_t wp_ring_count(const struct rte_ring *r) { return rte_ring_count(r); }

uint32_t wp_ring_sp_enqueue_burst(struct rte_ring *r, struct rte_mbuf *const *pkts, uint32_t n)
{
	return rte_ring_sp_enqueue_burst(r, (void *const *)pkts, n, NULL);
}

uint32_t wp_ring_sc_dequeue_burst(struct rte_ring *r, struct rte_mbuf **pkts, uint32_t n)
{
	return rte_ring_sc_dequeue_burst(r, (void **)pkts, n, NULL);
}

uint32_t wp_hash_crc(const void *key, uint32_t key_len, uint32_t init)
{
	return rte_hash_crc(key, key_len, init);
}

void wp_mbuf_set_tx_lengths(struct rte_mbuf *m, uint32_t l2, uint32_t l3, uint32_t l4, uint32_t tso)
{
	m->tx_offload = rte_mbuf_tx_offload(l2, l3, l4, tso, 0, 0, 0);
}

uint64_t wp_mbuf_tx_lengths(const struct rte_mbuf *m) { return m->tx_offload; }

int wp_gso_tcp4(struct rte_mbuf *m, struct rte_mempool *direct, struct rte_mempool *indirect,
		uint16_t frame_bytes, struct rte_mbuf **out, uint16_t n)
{
	const struct rte_gso_ctx ctx = {
		.direct_pool = direct,
		.indirect_pool = indirect,
		.gso_types = RTE_ETH_TX_OFFLOAD_TCP_TSO,
		.gso_size = frame_bytes,
	};

	m->ol_flags |= RTE_MBUF_F_TX_TCP_SEG | RTE_MBUF_F_TX_IPV4;
	return rte_gso_segment(m, &ctx, out, n);
}

int wp_validate_tx_offload(const struct rte_mbuf *m) { return rte_validate_tx_offload(m); }

uint16_t wp_ipv4_cksum(const void *ip) { return rte_ipv4_cksum(ip); }

uint16_t wp_ipv4_udptcp_cksum(const void *ip, const void *transport)
{
	return rte_ipv4_udptcp_cksum(ip, transport);
}

uint16_t wp_ipv6_udptcp_cksum(const void *ip, const void *transport)
{
	return rte_ipv6_udptcp_cksum(ip, transport);
}

int wp_hash_lookup_bulk_data(const struct rte_hash *table, const void **keys, uint32_t n,
			     uint64_t *hits, void **data)
{
	hash_sig_t hashes[RTE_HASH_LOOKUP_BULK_MAX];

	for (uint32_t i = 0; i < n; i++)
		hashes[i] = rte_hash_crc(keys[i], WP_HASH_KEY_BYTES, 0);
	return rte_hash_lookup_with_hash_bulk_data(table, keys, hashes, n, hits, data);
}
