//! A client of DPDK's telemetry socket, as `dpdk-telemetry.py` is one: SOCK_SEQPACKET, one packet for
//! each request and each reply.

use std::path::Path;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketType, connect, recv, send, socket,
};
use serde_json::Value;

/// See the module.
pub struct Client {
    socket: OwnedFd,
    /// What the server says first.
    pub greeting: Value,
    reply_bytes_max: usize,
}

impl Client {
    pub fn connect(path: &Path) -> Self {
        let socket = socket(AddressFamily::UNIX, SocketType::SEQPACKET, None).unwrap();
        set_socket_timeout(&socket, Timeout::Recv, Some(Duration::from_secs(30))).unwrap();
        connect(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
        let mut client = Self { socket, greeting: Value::Null, reply_bytes_max: 1_024 };
        client.greeting = client.receive();
        client.reply_bytes_max =
            usize::try_from(client.greeting["max_output_len"].as_u64().unwrap()).unwrap();
        client
    }

    /// Sends `/command,parameters` and gives the reply.
    pub fn ask(&mut self, request: &str) -> Value {
        send(&self.socket, request.as_bytes(), SendFlags::empty()).unwrap();
        self.receive()
    }

    fn receive(&self) -> Value {
        let mut buffer = vec![0; self.reply_bytes_max];
        let (bytes, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty()).unwrap();
        serde_json::from_slice(&buffer[..bytes])
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&buffer[..bytes])))
    }
}
