//! What a bundle of containment has beside what control knows: packets of the scope, the host, its sockets.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use control::bundle::Beside;
use control::request::CaptureWhat;
use model::config::Config;
use rig::kernel::inet_diag::{self, Socket};
use rig::kernel::netlink::{AskError, Family, Netlink};
use serde_json::{Value, json};

/// Packets are captured for so long from the decision on, or until there are [`PACKETS`].
const CAPTURE: Duration = Duration::from_secs(2);
/// Packets of a capture.
const PACKETS: u64 = 1_000;
/// Bytes that are kept of each.
const SNAPLEN: u16 = 256;
/// Sockets that are listed.
const SOCKETS_MAX: usize = 1_024;

/// The collectors of a gateway that answers on `socket`.
pub fn collectors(config: &Config, socket: PathBuf) -> Vec<Beside> {
    let examined = config.clone();
    vec![
        Beside {
            file: "doctor.json",
            collect: Box::new(move |_, path| write(path, &crate::doctor::report(Some(&examined)))),
        },
        Beside {
            file: "sockets.json",
            collect: Box::new(|_, path| {
                sockets().map_err(|e| e.to_string()).and_then(|listed| write(path, &listed))
            }),
        },
        Beside {
            file: "capture.pcapng",
            collect: Box::new(move |scope, path| {
                let what = of_scope(scope);
                // The gateway's end ends it.
                let stop = AtomicBool::new(false);
                let told = crate::capture::to_file(&socket, what, path, CAPTURE, &stop);
                told.map(|_| ()).map_err(|e| e.to_string())
            }),
        },
    ]
}

/// The packets of a scope: of its class, or of the port of its queue; else all.
fn of_scope(scope: &str) -> CaptureWhat {
    let name = |kind: &str| scope.strip_prefix(kind).map(str::to_owned);
    CaptureWhat {
        class: name("class:"),
        port: name("tx_queue:"),
        count: Some(PACKETS),
        snaplen: Some(SNAPLEN),
        ..CaptureWhat::default()
    }
}

fn write(path: &Path, value: &Value) -> Result<(), String> {
    fs::write(path, format!("{value:#}\n")).map_err(|error| error.to_string())
}

/// The established TCP sockets of this host, as the kernel has them.
fn sockets() -> Result<Value, AskError> {
    let mut diag = Netlink::open(Family::SockDiag)?;
    let (mut listed, mut left_off) = (Vec::new(), 0_u64);
    for v6 in [false, true] {
        diag.ask(inet_diag::list(v6), |message| {
            let socket = Socket::read(message.payload)?;
            if listed.len() < SOCKETS_MAX {
                listed.push(socket_json(&socket));
            } else {
                left_off += 1;
            }
            Ok(())
        })?;
    }
    Ok(json!({ "sockets": listed, "left_off": left_off }))
}

fn socket_json(socket: &Socket) -> Value {
    let info = socket.info.as_ref();
    json!({
        "local": socket.local.to_string(),
        "remote": socket.remote.to_string(),
        "receive_queue_bytes": socket.receive_queue_bytes,
        "out_queue_bytes": socket.out_queue_bytes,
        "not_sent_bytes": info.and_then(|info| info.notsent_bytes),
        "retransmissions": info.map(|info| info.total_retrans),
        "rtt_us": info.map(|info| info.rtt_us),
        "congestion_window_segments": info.map(|info| info.snd_cwnd),
        "unacknowledged_segments": info.map(|info| info.unacked),
        "congestion": socket.congestion,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_and_its_sockets_are_collected_and_a_capture_says_why_there_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let text = include_str!("../../configs/bench-null.toml");
        let config = Config::from_toml("f", text).unwrap();
        let all = collectors(&config, dir.path().join("nobody.sock"));
        let collect = |file: &str| {
            let collector = all.iter().find(|beside| beside.file == file).unwrap();
            let path = dir.path().join(file);
            let said = (collector.collect)("class:orders", &path);
            said.map(|()| fs::read(path).unwrap())
        };
        let json = |file| serde_json::from_slice::<Value>(&collect(file).unwrap()).unwrap();
        assert!(json("doctor.json")["findings"].as_array().unwrap().len() > 10);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = std::net::TcpStream::connect(address).unwrap();
        let sockets = json("sockets.json");
        let remotes = sockets["sockets"].as_array().unwrap();
        assert!(remotes.iter().any(|socket| socket["remote"] == address.to_string()), "{sockets}");
        let why = collect("capture.pcapng").unwrap_err();
        assert!(why.contains("no gateway runs"), "{why}");
    }

    #[test]
    fn a_scope_says_which_packets() {
        let of = |scope| {
            let what = of_scope(scope);
            (what.class, what.port)
        };
        assert_eq!(of("class:orders"), (Some("orders".to_owned()), None));
        assert_eq!(of("tx_queue:venue-a"), (None, Some("venue-a".to_owned())));
        assert_eq!(of("feed:a"), (None, None));
    }
}
