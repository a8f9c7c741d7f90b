//! Readers of devices, addresses, prefixes, ports and protocols.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use toml::de::DeValue;

use super::raw::CPU_MAX;
use super::values::{Refused, as_text, duration, found, integer, text};
use super::{CoreChoice, Device, Prefix};
use crate::time::Nanos;

/// A slot, a power of two: the wheel turns a time into a slot with a shift.
pub(super) fn power_of_two_slot(value: &DeValue<'_>) -> Result<Nanos, Refused> {
    let allowed = "a power of two in ns, 64ns to 1048576ns";
    let slot = duration(Nanos::ZERO..=Nanos::MAX)(value)?;
    if slot.0.is_power_of_two() && (64..=1_048_576).contains(&slot.0) {
        return Ok(slot);
    }
    Err(Refused::new(format!("{slot} is not a slot"), allowed))
}

/// A CPU, or `auto`.
pub(super) fn core_choice(value: &DeValue<'_>) -> Result<CoreChoice, Refused> {
    match value {
        DeValue::String(text) if text == "auto" => Ok(CoreChoice::Auto),
        DeValue::Integer(_) => integer(0..=CPU_MAX)(value).map(CoreChoice::Cpu),
        other => Err(Refused::new(found(other), format!("a CPU, 0 to {CPU_MAX}, or \"auto\""))),
    }
}

/// A path from the root.
pub(super) fn absolute_path(value: &DeValue<'_>) -> Result<String, Refused> {
    let path = text(value)?;
    if path.starts_with('/') && !path.contains('\0') {
        return Ok(path);
    }
    Err(Refused::new(format!("{path:?} is not an absolute path"), "an absolute path"))
}

/// An address that only this host reaches, or `off` as `None`.
pub(super) fn loopback(value: &DeValue<'_>) -> Result<Option<SocketAddr>, Refused> {
    let allowed =
        r#"a loopback address and port such as "127.0.0.1:9477" or "[::1]:9477", or "off""#;
    let text = text(value)?;
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_loopback() => Ok(Some(address)),
        Ok(address) => {
            Err(Refused::new(format!("{} is not a loopback address", address.ip()), allowed))
        }
        Err(_) => Err(Refused::new(format!("{text:?} is not an address"), allowed)),
    }
}

/// What a port is made of; whether it exists is for EAL to say.
pub(super) fn device(value: &DeValue<'_>) -> Result<Device, Refused> {
    let allowed = r#""capture", a vdev such as "net_af_xdp0,iface=eth1", or a PCI address such as "0000:01:00.0""#;
    let text = text(value)?;
    if text == "capture" {
        return Ok(Device::Capture);
    }
    let stem = text.split(',').next().unwrap_or("");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    // EAL is given the text as it is: a control character or a space would only hide a mistake.
    let plain = text.chars().all(|c| c.is_ascii_graphic());
    if plain && stem.starts_with("net_") && stem.len() > 4 && stem.chars().all(word) {
        return Ok(Device::Vdev(text));
    }
    if plain && is_pci_address(stem) {
        return Ok(Device::Pci(text));
    }
    Err(Refused::new(format!("{text:?} is not a device"), allowed))
}

/// `[domain:]bus:device.function` in hex.
fn is_pci_address(text: &str) -> bool {
    let hex = |part: &str, digits: usize| {
        part.len() == digits && part.chars().all(|c| c.is_ascii_hexdigit())
    };
    let Some((bus, function)) = text.rsplit_once('.') else { return false };
    let parts: Vec<&str> = bus.split(':').collect();
    let address = match parts[..] {
        [domain, bus, device] => hex(domain, 4) && hex(bus, 2) && hex(device, 2),
        [bus, device] => hex(bus, 2) && hex(device, 2),
        _ => false,
    };
    address && matches!(function.as_bytes(), [b'0'..=b'7'])
}

/// The name of a network interface (`IFNAMSIZ`).
pub(super) fn interface(value: &DeValue<'_>) -> Result<String, Refused> {
    let allowed = "the name of an interface: 1 to 15 characters, no `/` and no space";
    let text = as_text(value, allowed)?;
    let fits = (1..=15).contains(&text.len()) && ![".", ".."].contains(&text);
    if fits && text.chars().all(|c| c.is_ascii_graphic() && c != '/') {
        return Ok(text.to_owned());
    }
    Err(Refused::new(format!("{text:?} is not the name of an interface"), allowed))
}

/// A prefix without host bits; an address alone is one of its full width.
pub(super) fn prefix(value: &DeValue<'_>) -> Result<Prefix, Refused> {
    let allowed = r#"a prefix such as "10.9.0.0/24" or "2001:db8::/32", or one address"#;
    let text = text(value)?;
    let refused = || Refused::new(format!("{text:?} is not a prefix"), allowed);
    let (addr, bits) = match text.split_once('/') {
        Some((addr, bits)) => (addr, Some(bits.parse::<u8>().map_err(|_| refused())?)),
        None => (text.as_str(), None),
    };
    let addr: IpAddr = addr.parse().map_err(|_| refused())?;
    let width = if addr.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(width);
    if bits > width {
        return Err(refused());
    }
    let network = network_address(addr, bits);
    if network != addr {
        let problem = format!("{text:?} has bits set beyond the first {bits}");
        return Err(Refused::new(problem, format!("\"{network}/{bits}\"")));
    }
    Ok(Prefix { addr, bits })
}

/// `addr` with all but its first `bits` bits cleared; `bits` is within the address's width.
pub(super) fn network_address(addr: IpAddr, bits: u8) -> IpAddr {
    match addr {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    }
}

/// An IPv4 address.
pub(super) fn ipv4(value: &DeValue<'_>) -> Result<Ipv4Addr, Refused> {
    let text = text(value)?;
    text.parse().map_err(|_| {
        Refused::new(
            format!("{text:?} is not an IPv4 address"),
            "an address such as \"10.9.0.254\"",
        )
    })
}

/// A hardware address of one host.
pub(super) fn mac(value: &DeValue<'_>) -> Result<[u8; 6], Refused> {
    let allowed = r#"the address of one host such as "02:00:00:00:00:07""#;
    let text = text(value)?;
    let refused = || Refused::new(format!("{text:?} is not a hardware address"), allowed);
    let parts: Vec<&str> = text.split(':').collect();
    let mut bytes = [0; 6];
    if parts.len() != bytes.len() {
        return Err(refused());
    }
    for (byte, part) in bytes.iter_mut().zip(parts) {
        let digits = part.len() == 2 && part.bytes().all(|digit| digit.is_ascii_hexdigit());
        let read = u8::from_str_radix(part, 16).ok().filter(|_| digits);
        *byte = read.ok_or_else(refused)?;
    }
    // Of a group, or of nobody.
    if bytes[0] & 1 == 1 || bytes == [0; 6] { Err(refused()) } else { Ok(bytes) }
}

/// One port or a range, both ends included.
pub(super) fn port_range(value: &DeValue<'_>) -> Result<(u16, u16), Refused> {
    if let DeValue::Integer(_) = value {
        let port = integer(0..=u16::MAX)(value)?;
        return Ok((port, port));
    }
    let allowed = r#"one port such as 7010, or a range such as "7000-7009""#;
    let text = as_text(value, allowed)?;
    let refused = || Refused::new(format!("{text:?} is not a port or a range"), allowed);
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let low: u16 = low.trim().parse().map_err(|_| refused())?;
    let high: u16 = high.trim().parse().map_err(|_| refused())?;
    if low > high {
        return Err(Refused::new(format!("{text:?} ends before it begins"), allowed));
    }
    Ok((low, high))
}

/// IP protocol number of TCP.
pub(super) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(super) const UDP: u8 = 17;

/// An IP protocol by name or number.
pub(super) fn protocol(value: &DeValue<'_>) -> Result<u8, Refused> {
    let allowed = r#""udp", "tcp" or an IP protocol number, 0 to 255"#;
    let problem = match value {
        DeValue::String(text) if text == "udp" => return Ok(UDP),
        DeValue::String(text) if text == "tcp" => return Ok(TCP),
        DeValue::Integer(_) => return integer(0..=255)(value),
        DeValue::String(text) => format!("{text:?} is not known"),
        other => found(other),
    };
    Err(Refused::new(problem, allowed))
}
