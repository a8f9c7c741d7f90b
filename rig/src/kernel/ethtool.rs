//! What a device coalesces, how long its rings are, and which features are on: generic netlink,
//! family `ethtool`.

use super::bytes::{ReadError, at_least, text, u16_at, u32_at};
use super::netlink::{
    AskError, Attribute, Attributes, Netlink, Request, attributes, attributes_behind,
};

const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// `genlmsghdr`.
const GENERIC_BYTES: usize = 4;

const HEADER: u16 = 1;
const HEADER_NAME: u16 = 2;
const FEATURES_GET: u8 = 11;
const FEATURES_SET: u8 = 12;
const RINGS_GET: u8 = 15;
const COALESCE_GET: u8 = 19;

/// Attributes of COALESCE_GET that are read, and their names.
const COALESCE: [(u16, &str); 10] = [
    (2, "rx_usecs"),
    (3, "rx_frames"),
    (4, "rx_usecs_irq"),
    (5, "rx_frames_irq"),
    (6, "tx_usecs"),
    (7, "tx_frames"),
    (8, "tx_usecs_irq"),
    (9, "tx_frames_irq"),
    (11, "adaptive_rx"),
    (12, "adaptive_tx"),
];
/// The same of RINGS_GET.
const RINGS: [(u16, &str); 4] = [(2, "rx_max"), (5, "tx_max"), (6, "rx"), (9, "tx")];

/// The offloads that change what leaves, or what a capture sees of it.
const FEATURES: [&str; 8] = [
    "tx-tcp-segmentation",
    "tx-tcp6-segmentation",
    "tx-generic-segmentation",
    "tx-udp-segmentation",
    "rx-gro",
    "rx-gro-hw",
    "rx-lro",
    "tx-checksum-ip-generic",
];

/// Numbers by name. A device tells those that it has.
pub type Numbers = Vec<(&'static str, u32)>;

/// Reads the numbers of `names` out of the payload of an answer.
///
/// # Errors
/// It is cut off.
fn numbers(payload: &[u8], names: &[(u16, &'static str)]) -> Result<Numbers, ReadError> {
    let mut found = Numbers::new();
    for attribute in attributes_behind("genlmsghdr", payload, GENERIC_BYTES)? {
        let Attribute { kind, payload } = attribute?;
        let Some((_, name)) = names.iter().find(|(number, _)| *number == kind) else { continue };
        let value = match payload {
            // A switch.
            [byte] => u32::from(*byte),
            wide => u32_at(at_least("ethtool number", wide, 4)?, 0).unwrap_or_default(),
        };
        found.push((*name, value));
    }
    Ok(found)
}

/// Reads the answer to COALESCE_GET.
///
/// # Errors
/// It is cut off.
pub fn coalesce(payload: &[u8]) -> Result<Numbers, ReadError> {
    numbers(payload, &COALESCE)
}

/// Reads the answer to RINGS_GET.
///
/// # Errors
/// It is cut off.
pub fn rings(payload: &[u8]) -> Result<Numbers, ReadError> {
    numbers(payload, &RINGS)
}

/// Reads the answer to FEATURES_GET: the offloads that matter here, and whether each is on.
///
/// # Errors
/// It is cut off.
pub fn features(payload: &[u8]) -> Result<Vec<(&'static str, bool)>, ReadError> {
    const ACTIVE: u16 = 4;
    let mut on = Vec::new();
    for attribute in attributes_behind("genlmsghdr", payload, GENERIC_BYTES)? {
        let attribute = attribute?;
        if attribute.kind == ACTIVE {
            on = names_of_bits(attribute.payload)?;
        }
    }
    Ok(FEATURES.map(|name| (name, on.iter().any(|known| known == name))).to_vec())
}

/// The names of the bits that are set in a bit set written out bit by bit.
fn names_of_bits(payload: &[u8]) -> Result<Vec<String>, ReadError> {
    const NO_MASK: u16 = 1;
    const BITS: u16 = 3;
    const BIT_NAME: u16 = 2;
    const BIT_VALUE: u16 = 3;
    let mut all_listed_are_set = false;
    let mut names = Vec::new();
    for attribute in attributes(payload) {
        let attribute = attribute?;
        all_listed_are_set |= attribute.kind == NO_MASK;
        if attribute.kind != BITS {
            continue;
        }
        for bit in attributes(attribute.payload) {
            let (mut name, mut is_set) = (None, all_listed_are_set);
            for part in attributes(bit?.payload) {
                let part = part?;
                match part.kind {
                    BIT_NAME => name = Some(text("name of a feature", part.payload)?),
                    BIT_VALUE => is_set = true,
                    _ => {}
                }
            }
            names.extend(name.filter(|_| is_set));
        }
    }
    Ok(names)
}

/// Reads the number of a generic family.
///
/// # Errors
/// It is cut off, or has no number.
pub fn family(payload: &[u8]) -> Result<u16, ReadError> {
    for attribute in attributes_behind("genlmsghdr", payload, GENERIC_BYTES)? {
        let attribute = attribute?;
        if attribute.kind == FAMILY_ID {
            let bytes = at_least("number of a family", attribute.payload, 2)?;
            return Ok(u16_at(bytes, 0).unwrap_or_default());
        }
    }
    Err(ReadError::text("generic family", "no number"))
}

/// What a device is set to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Device {
    /// `None`: the device has no coalescing to tell of.
    pub coalesce: Option<Numbers>,
    /// `None`: it has no rings to tell of.
    pub rings: Option<Numbers>,
    /// `None`: the kernel is too old to ask so.
    pub features: Option<Vec<(&'static str, bool)>>,
}

/// Asks for everything about `interface`; `generic` is a socket to the generic family.
///
/// # Errors
/// The kernel does not answer as it should. That a device lacks something is no error.
pub fn ask(generic: &mut Netlink, interface: &str) -> Result<Device, AskError> {
    let Some(number) = number(generic)? else { return Ok(Device::default()) };
    let get = |command| about(number, command, interface);
    Ok(Device {
        coalesce: one(generic, get(COALESCE_GET), coalesce)?,
        rings: one(generic, get(RINGS_GET), rings)?,
        features: one(generic, get(FEATURES_GET), features)?,
    })
}

/// Switches features of `interface` on or off, by their names; what the device cannot change stays as it
/// is, so read it back.
///
/// # Errors
/// The kernel has no such family, or refuses.
pub fn set_features(
    generic: &mut Netlink,
    interface: &str,
    wanted: &[(&str, bool)],
) -> Result<(), AskError> {
    const WANTED: u16 = 3;
    const BITS: u16 = 3;
    const BIT: u16 = 1;
    const BIT_NAME: u16 = 2;
    const BIT_VALUE: u16 = 3;
    let unknown = || AskError::Refused(std::io::Error::from_raw_os_error(libc::EOPNOTSUPP));
    let number = number(generic)?.ok_or_else(unknown)?;
    let bits = wanted.iter().fold(Attributes::default(), |bits, (name, is_on)| {
        let name = [name.as_bytes(), &[0]].concat();
        let bit = Attributes::default().attribute(BIT_NAME, &name);
        let bit = if *is_on { bit.attribute(BIT_VALUE, &[]) } else { bit };
        bits.nest(BIT, &bit)
    });
    let wanted = Attributes::default().nest(BITS, &bits);
    generic.ask(about(number, FEATURES_SET, interface).nest(WANTED, &wanted), |_| Ok(()))?;
    Ok(())
}

/// The number of the family; `None`: the kernel has none of this name.
fn number(generic: &mut Netlink) -> Result<Option<u16>, AskError> {
    let of_family = Request::new(CONTROLLER, false)
        .with(&[GET_FAMILY, 1, 0, 0])
        .attribute(FAMILY_NAME, b"ethtool\0");
    one(generic, of_family, family)
}

/// A request of the family with `number` about `interface`.
fn about(number: u16, command: u8, interface: &str) -> Request {
    let name = [interface.as_bytes(), &[0]].concat();
    let header = Attributes::default().attribute(HEADER_NAME, &name);
    Request::new(number, false).with(&[command, 1, 0, 0]).nest(HEADER, &header)
}

/// The one answer to `request`; `None`: there is no such thing.
fn one<T>(
    generic: &mut Netlink,
    request: Request,
    read: impl Fn(&[u8]) -> Result<T, ReadError>,
) -> Result<Option<T>, AskError> {
    let mut found = None;
    let asked = generic.ask(request, |message| {
        found = Some(read(message.payload)?);
        Ok(())
    });
    match asked {
        Ok(_) => Ok(found),
        Err(error) if error.is_unknown() => Ok(None),
        Err(error) => Err(error),
    }
}
