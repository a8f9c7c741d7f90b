//! What the flow table says of the flows that were seen last, one cache line for each look.
//!
//! In front of [`crate::flow_hash`]: IPv4 flows only, whose key fits into 16 bytes. Two places for
//! each hash value, the later one first; whoever finds both taken pushes the older one out, which is
//! then found in the table again. So it is right whatever it holds, and what a sender makes up costs
//! a look into the table at most. [`FlowCache::locate`] comes well before [`FlowCache::get`], so that
//! the line can be fetched meanwhile.

use model::frame::{FlowKey, Quick, VLAN_NONE};

/// Fewest and most sets, of one line each. Beyond, flows compete for places.
const SETS_MIN: usize = 64;
const SETS_MAX: usize = 1 << 17;

/// The key of an IPv4 flow: addresses and ports in network order as they lie in the packet, VLAN,
/// protocol and DSCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShortKey {
    addresses: u64,
    rest: u64,
}

impl ShortKey {
    /// No flow: protocol 255 has no ports, and this has.
    pub const NONE: Self = Self { addresses: u64::MAX, rest: u64::MAX };

    /// Of a packet of the usual kind.
    #[inline(always)]
    pub const fn quick(packet: &Quick, dscp: u8) -> Self {
        Self::new(packet.addresses, packet.ports, VLAN_NONE, packet.protocol, dscp)
    }

    /// Of an IPv4 flow; `None` for any other.
    #[inline]
    pub fn of(key: &FlowKey, dscp: u8) -> Option<Self> {
        if key.ip_version != 4 {
            return None;
        }
        let mut addresses = [0; 8];
        addresses[..4].copy_from_slice(&key.src[..4]);
        addresses[4..].copy_from_slice(&key.dst[..4]);
        let (src, dst) = (key.src_port.to_be_bytes(), key.dst_port.to_be_bytes());
        let ports = [src[0], src[1], dst[0], dst[1]];
        Some(Self::new(addresses, ports, key.vlan, key.protocol, dscp))
    }

    #[inline(always)]
    const fn new(addresses: [u8; 8], ports: [u8; 4], vlan: u16, protocol: u8, dscp: u8) -> Self {
        Self {
            addresses: u64::from_le_bytes(addresses),
            rest: u32::from_le_bytes(ports) as u64
                | (vlan as u64) << 32
                | (protocol as u64) << 48
                | (dscp as u64) << 56,
        }
    }

    /// The key in full.
    pub fn flow_key(self) -> FlowKey {
        let mut key = FlowKey {
            src_port: (self.rest as u16).swap_bytes(),
            dst_port: ((self.rest >> 16) as u16).swap_bytes(),
            vlan: (self.rest >> 32) as u16,
            protocol: (self.rest >> 48) as u8,
            ip_version: 4,
            ..FlowKey::default()
        };
        let addresses = self.addresses.to_le_bytes();
        key.src[..4].copy_from_slice(&addresses[..4]);
        key.dst[..4].copy_from_slice(&addresses[4..]);
        key
    }

    /// The DSCP that it was made with.
    pub const fn dscp(self) -> u8 {
        (self.rest >> 56) as u8
    }

    /// All bits of the key in 64, by one wide multiplication.
    #[inline(always)]
    fn mixed(self) -> u64 {
        let a = self.addresses ^ 0x9e37_79b9_7f4a_7c15;
        let b = self.rest ^ 0xd1b5_4a32_d192_ed03;
        let wide = u128::from(a) * u128::from(b);
        (wide >> 64) as u64 ^ wide as u64
    }
}

#[derive(Clone, Copy)]
struct Way<T> {
    key: ShortKey,
    value: T,
}

#[derive(Clone, Copy)]
#[repr(align(64))]
struct Set<T> {
    ways: [Way<T>; 2],
}

/// See the module. `T` of 16 bytes makes a set one cache line.
pub struct FlowCache<T> {
    sets: Box<[Set<T>]>,
    mask: usize,
}

impl<T: Copy + Default> FlowCache<T> {
    /// An empty cache with a set for each of `flows` flows, at most 131,072 (8 MiB); all of its
    /// memory is touched here.
    pub fn new(flows: u32) -> Self {
        const { assert!(size_of::<Set<T>>() == 64, "a set is a cache line") };
        let sets = (flows as usize).next_power_of_two().clamp(SETS_MIN, SETS_MAX);
        let none = Way { key: ShortKey::NONE, value: T::default() };
        Self { sets: vec![Set { ways: [none; 2] }; sets].into(), mask: sets - 1 }
    }

    /// Where `key` is if it is here.
    #[inline(always)]
    pub fn locate(&self, key: ShortKey) -> u32 {
        (key.mixed() as usize & self.mask) as u32
    }

    /// The line behind [`FlowCache::locate`], to fetch it early.
    #[inline(always)]
    pub fn line(&self, at: u32) -> &impl Sized {
        &self.sets[at as usize & self.mask]
    }

    /// What is known of `key`, which [`FlowCache::locate`] puts at `at`.
    #[inline(always)]
    pub fn get(&self, at: u32, key: ShortKey) -> Option<T> {
        let [first, second] = &self.sets[at as usize & self.mask].ways;
        if first.key == key {
            Some(first.value)
        } else if second.key == key {
            Some(second.value)
        } else {
            None
        }
    }

    /// Remembers `value` of `key`, which is not here.
    #[inline]
    pub fn put(&mut self, key: ShortKey, value: T) {
        let at = self.locate(key) as usize;
        let ways = &mut self.sets[at].ways;
        *ways = [Way { key, value }, ways[0]];
    }

    /// Forgets `key`.
    pub fn forget(&mut self, key: ShortKey) {
        let at = self.locate(key) as usize;
        for way in &mut self.sets[at].ways {
            if way.key == key {
                way.key = ShortKey::NONE;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, Default, PartialEq)]
    struct Value(u128);

    fn flow(n: u32) -> FlowKey {
        let mut key = FlowKey {
            src_port: n as u16,
            dst_port: 7_000 + n as u16 % 9,
            vlan: n as u16 % 4_096,
            protocol: 6,
            ip_version: 4,
            ..FlowKey::default()
        };
        key.src[..4].copy_from_slice(&(0x0a00_0000 + n).to_be_bytes());
        key.dst[..4].copy_from_slice(&[10, 9, 0, n as u8]);
        key
    }

    #[test]
    fn a_short_key_is_the_whole_key() {
        for n in (0..100_000).step_by(97) {
            let key = ShortKey::of(&flow(n), n as u8 % 64).unwrap();
            assert_eq!((key.flow_key(), key.dscp()), (flow(n), n as u8 % 64));
        }
        assert!(ShortKey::of(&FlowKey { ip_version: 6, ..flow(1) }, 0).is_none());
    }

    #[test]
    fn it_never_says_what_it_was_not_told_and_forgets_on_demand() {
        // Far more flows than places.
        let mut cache = FlowCache::<Value>::new(1);
        let keys: Vec<_> = (0..2_000).map(|n| ShortKey::of(&flow(n), 0).unwrap()).collect();
        for (n, &key) in keys.iter().enumerate() {
            let at = cache.locate(key);
            assert_eq!(cache.get(at, key), None);
            cache.put(key, Value(n as u128));
            assert_eq!(cache.get(at, key), Some(Value(n as u128)));
        }
        let kept = |cache: &FlowCache<Value>| -> Vec<_> {
            let look = |(n, &key): (usize, &ShortKey)| {
                let value = cache.get(cache.locate(key), key)?;
                assert_eq!(value, Value(n as u128));
                Some(n)
            };
            keys.iter().enumerate().filter_map(look).collect()
        };
        let before = kept(&cache);
        assert!(before.len() > SETS_MIN, "both places are used: {}", before.len());
        cache.forget(keys[before[5]]);
        assert_eq!(kept(&cache).len(), before.len() - 1);
    }
}
