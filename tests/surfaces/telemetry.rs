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

    /// All names, however many answers they take.
    pub fn names(&mut self) -> Vec<String> {
        let (mut names, mut from) = (Vec::new(), String::new());
        loop {
            let reply = self.ask(&format!("/wirepace/kpis{from}"))["/wirepace/kpis"].clone();
            let mut page: Vec<String> = serde_json::from_value(reply).unwrap();
            let next = page.pop_if(|last| last.starts_with(','));
            names.append(&mut page);
            let Some(next) = next else { return names };
            from = format!(",{next}");
        }
    }

    /// The points of a name: labels and value. None where there is no such name, or no longer.
    pub fn points(&mut self, name: &str) -> Vec<(String, Value)> {
        let (mut points, mut from) = (Vec::new(), 0);
        loop {
            let reply = self.ask(&format!("/wirepace/kpis,{name},{from}"));
            let answer = &reply["/wirepace/kpis"];
            let list = |key: &str| answer[key].as_array().cloned();
            let Some((labels, values)) = list("labels").zip(list("values")) else { return points };
            assert_eq!(labels.len(), values.len(), "{reply}");
            let labels = labels.iter().map(|labels| labels.as_str().unwrap().to_owned());
            points.extend(labels.zip(values));
            let Some(next) = answer.get("next") else { return points };
            from = next.as_u64().unwrap();
        }
    }

    fn receive(&self) -> Value {
        let mut buffer = vec![0; self.reply_bytes_max];
        let (bytes, _) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::empty()).unwrap();
        serde_json::from_slice(&buffer[..bytes])
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&buffer[..bytes])))
    }
}
