//! Whom a request says that it is for.
//!
//! A page from elsewhere may give its own name a loopback address and have the browser of somebody on this
//! host ask here under that name (DNS rebinding): for the browser the answer belongs to that page then. A name
//! that stands for this host alone cannot be given so.

use std::net::IpAddr;

use axum::http::uri::Authority;
use axum::http::{HeaderMap, header};

/// Whether each `Host` of a request is a loopback address or `localhost`, with any port: a tunnel has its own.
/// A request without one is not from a browser.
pub(super) fn is_this(headers: &HeaderMap) -> bool {
    headers.get_all(header::HOST).iter().all(|host| {
        Authority::try_from(host.as_bytes()).is_ok_and(|authority| is_loopback(authority.host()))
    })
}

fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_address = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    is_address || host.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn only_names_of_this_host_alone_are_served() {
        let is_this = |hosts: &[&'static str]| {
            let hosts = hosts.iter().map(|host| (header::HOST, HeaderValue::from_static(host)));
            super::is_this(&hosts.collect())
        };
        for host in [
            "127.0.0.1",
            "127.0.0.1:9477",
            "127.8.9.1:1",
            "[::1]:9477",
            "localhost",
            "LocalHost:80",
        ] {
            assert!(is_this(&[host]), "{host}");
        }
        assert!(is_this(&[]), "HTTP/1.0");
        for host in [
            "",
            "x",
            "evil.example:9477",
            "10.0.0.1",
            "localhost.evil.example",
            "[::2]",
            "127.0.0.1.evil.example",
            "::1:x",
            "a b",
        ] {
            assert!(!is_this(&[host]), "{host:?}");
        }
        assert!(!is_this(&["localhost", "evil.example"]));
    }
}
