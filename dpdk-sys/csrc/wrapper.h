/*
 * What bindgen reads: the DPDK headers in use, the prototypes of the shim, and constants that
 * bindgen cannot take from macros (RTE_BIT64, casts, anonymous enums).
 */
#ifndef WIREPACE_DPDK_WRAPPER_H
#define WIREPACE_DPDK_WRAPPER_H

#include <rte_config.h>
#include <rte_version.h>
#include <rte_acl.h>
#include <rte_common.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_ethdev.h>
#include <rte_gso.h>
#include <rte_hash.h>
#include <rte_ip.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include <rte_mbuf_dyn.h>
#include <rte_mbuf_pool_ops.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include <rte_sched.h>
#include <rte_telemetry.h>

static const uint64_t WP_RX_OFFLOAD_TIMESTAMP = RTE_ETH_RX_OFFLOAD_TIMESTAMP;
static const uint64_t WP_RX_OFFLOAD_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t WP_TX_OFFLOAD_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t WP_TX_OFFLOAD_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t WP_TX_OFFLOAD_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t WP_TX_OFFLOAD_TCP_TSO = RTE_ETH_TX_OFFLOAD_TCP_TSO;
static const uint64_t WP_MBUF_F_RX_LRO = RTE_MBUF_F_RX_LRO;
static const uint64_t WP_MBUF_F_TX_TCP_SEG = RTE_MBUF_F_TX_TCP_SEG;
static const uint64_t WP_MBUF_F_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t WP_MBUF_F_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t WP_MBUF_F_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t WP_MBUF_F_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t WP_TX_OFFLOAD_SEND_ON_TIMESTAMP = RTE_ETH_TX_OFFLOAD_SEND_ON_TIMESTAMP;
static const uint64_t WP_MBUF_F_TX_IEEE1588_TMST = RTE_MBUF_F_TX_IEEE1588_TMST;
static const uint32_t WP_LINK_UP = RTE_ETH_LINK_UP;
static const uint32_t WP_LCORE_ID_ANY = LCORE_ID_ANY;
static const int32_t WP_SOCKET_ID_ANY = SOCKET_ID_ANY;
static const uint32_t WP_RING_F_SP_ENQ = RING_F_SP_ENQ;
static const uint32_t WP_RING_F_SC_DEQ = RING_F_SC_DEQ;
static const uint32_t WP_RING_F_EXACT_SZ = RING_F_EXACT_SZ;
static const uint32_t WP_ETH_MQ_RX_RSS = RTE_ETH_MQ_RX_RSS;
static const uint64_t WP_ETH_RSS_FLOWS = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;
static const uint32_t WP_MAX_LCORE = RTE_MAX_LCORE;
static const uint32_t WP_PKTMBUF_HEADROOM = RTE_PKTMBUF_HEADROOM;
static const uint32_t WP_MEMPOOL_CACHE_MAX_SIZE = RTE_MEMPOOL_CACHE_MAX_SIZE;
static const uint32_t WP_MEMPOOL_F_NO_IOVA_CONTIG = RTE_MEMPOOL_F_NO_IOVA_CONTIG;
static const uint32_t WP_ETHER_HDR_LEN = RTE_ETHER_HDR_LEN;
static const uint32_t WP_HASH_KEY_BYTES = 48;
static const uint32_t WP_HASH_LOOKUP_BULK_MAX = RTE_HASH_LOOKUP_BULK_MAX;
static const uint32_t WP_SCHED_CLASS_BEST_EFFORT = RTE_SCHED_TRAFFIC_CLASS_BE;
static const uint8_t WP_ACL_MASK = RTE_ACL_FIELD_TYPE_MASK;
static const uint8_t WP_ACL_RANGE = RTE_ACL_FIELD_TYPE_RANGE;
static const uint8_t WP_ACL_BITMASK = RTE_ACL_FIELD_TYPE_BITMASK;
static const int32_t WP_ACL_MAX_PRIORITY = RTE_ACL_MAX_PRIORITY;
static const uint8_t WP_HASH_EXTRA_FLAGS_EXT_TABLE = RTE_HASH_EXTRA_FLAGS_EXT_TABLE;

/* rte_errno of this thread; it is thread-local, which bindgen cannot express. */
int wp_errno(void);
/* EAL's id of this thread, WP_LCORE_ID_ANY when it is not registered. */
uint32_t wp_lcore_id(void);
/* The version compiled against, RTE_VERSION. */
uint32_t wp_version_num(void);
/* Sends EAL's log to stderr instead of stdout and syslog. Call before rte_eal_init. */
int wp_log_to_stderr(void);

/* Called in EAL's interrupt thread before memory is unmapped there; returns when nobody uses it any
 * more. The first time before devices are opened. */
void wp_before_unmap(void (*hook)(void));
/* Whether drivers that are loaded find the munmap of this program and not that of libc. */
int wp_unmaps_here(void);

uint16_t wp_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
uint16_t wp_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
/* Whether the driver can send the packets as they ask: how many it has looked at and found so; what
 * stops it is in rte_errno. May write into them. */
uint16_t wp_tx_prepare(uint16_t port, uint16_t queue, struct rte_mbuf **pkts, uint16_t n);
int wp_tx_descriptor_status(uint16_t port, uint16_t queue, uint16_t offset);

/* rte_pktmbuf_pool_create with flags of the mempool, which it does not take. NULL: rte_errno says why. */
struct rte_mempool *wp_pktmbuf_pool_create(const char *name, uint32_t mbufs, uint32_t cache,
					   uint16_t private_bytes, uint16_t data_room_bytes,
					   int socket, uint32_t flags);
struct rte_mbuf *wp_pktmbuf_alloc(struct rte_mempool *pool);
int wp_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **pkts, uint32_t n);
void wp_pktmbuf_free(struct rte_mbuf *m);
uint16_t wp_mbuf_refcnt_read(const struct rte_mbuf *m);
/* Adds v to the reference count of every segment. */
void wp_pktmbuf_refcnt_update(struct rte_mbuf *m, int16_t v);

/* Gives this thread's cached objects back to the pool; nothing on an unregistered thread. */
void wp_mempool_cache_flush(struct rte_mempool *pool);
/* Objects that this thread can take: the common ones and those in its own cache. A few loads;
 * rte_mempool_avail_count looks into the cache of every thread. */
uint32_t wp_mempool_free_here(struct rte_mempool *pool);

uint32_t wp_ring_count(const struct rte_ring *r);
/* Of a ring with one producer and one consumer: as many of n as there is room for, or as there are. */
uint32_t wp_ring_sp_enqueue_burst(struct rte_ring *r, struct rte_mbuf *const *pkts, uint32_t n);
uint32_t wp_ring_sc_dequeue_burst(struct rte_ring *r, struct rte_mbuf **pkts, uint32_t n);

/* Looks up n (1 to WP_HASH_LOOKUP_BULK_MAX) keys of WP_HASH_KEY_BYTES in a table whose hash function
 * is wp_hash_crc, here without a call for each key. As rte_hash_lookup_bulk_data otherwise. */
int wp_hash_lookup_bulk_data(const struct rte_hash *table, const void **keys, uint32_t n,
			     uint64_t *hits, void **data);

/* The lengths that TSO and rte_gso read: below 128, 512, 256 and 65,536 bytes. */
void wp_mbuf_set_tx_lengths(struct rte_mbuf *m, uint32_t l2, uint32_t l3, uint32_t l4, uint32_t tso);
/* The same, packed as rte_mbuf_tx_offload packs them, beginning with l2 at bit 0. */
uint64_t wp_mbuf_tx_lengths(const struct rte_mbuf *m);

/* Cuts a TCP/IPv4 packet whose lengths are set into segments of up to frame_bytes; answers as
 * rte_gso_segment, and leaves the packet to the caller as that does. */
int wp_gso_tcp4(struct rte_mbuf *m, struct rte_mempool *direct, struct rte_mempool *indirect,
		uint16_t frame_bytes, struct rte_mbuf **out, uint16_t n);

/* 0 when what a packet asks of the device does not contradict itself, else -errno. */
int wp_validate_tx_offload(const struct rte_mbuf *m);

/* DPDK's own checksums, to compare with: of an IPv4 header, and of TCP or UDP over IP in one piece. */
uint16_t wp_ipv4_cksum(const void *ip);
uint16_t wp_ipv4_udptcp_cksum(const void *ip, const void *transport);
uint16_t wp_ipv6_udptcp_cksum(const void *ip, const void *transport);

/* CRC-32C of a key, the SSE 4.2 instruction; has the type rte_hash_function. */
uint32_t wp_hash_crc(const void *key, uint32_t key_len, uint32_t init);

#endif
