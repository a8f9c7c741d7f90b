//! `wirepace bugreport`: what somebody needs who was not there, as one archive.
//!
//! Every part is asked for by itself; what cannot be had is named in the manifest with the reason, so that a
//! report of a gateway that hangs or is gone is one too. The gateway answers from what control knows: no data
//! core is asked, and forwarding goes on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control::client;
use control::request::Request;
use dataplane::eal::Eal;
use dataplane::state_dir::InstanceDir;
use flate2::Compression;
use flate2::write::GzEncoder;
use model::config::Config;
use serde_json::{Value, json};

use crate::cli::BugReport;

/// Longest part; the rest of it is cut off, which the manifest says.
const PART_BYTES_MAX: usize = 16 << 20;
/// Longest wait for one answer: a gateway that hangs must not keep the report from being written.
const WAIT: Duration = Duration::from_secs(2);
/// Flows that are listed.
const FLOWS_MAX: usize = 1_000;

/// Runs it.
pub fn main(args: &BugReport) -> u8 {
    let instance = crate::instance::find(&args.target).ok();
    let mut parts = Parts::default();
    collect(&mut parts, instance.as_ref(), args.target.config.as_deref());
    let out = args.out.clone().unwrap_or_else(default_name);
    match parts.write(&out) {
        Ok(told) if args.json => crate::print_json(&told),
        Ok(told) => {
            let missing = told["missing"].as_object();
            out!("{}: {} files", out.display(), told["files"].as_array().map_or(0, Vec::len));
            for (part, why) in missing.into_iter().flatten() {
                out!("without {part}: {}", why.as_str().unwrap_or_default());
            }
        }
        Err(error) => return crate::failed(format_args!("{}: {error}", out.display())),
    }
    crate::EXIT_DONE
}

/// Archives of different moments do not overwrite each other.
fn default_name() -> PathBuf {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    PathBuf::from(format!("wirepace-bugreport-{}.tar.gz", now.as_secs()))
}

/// What goes into the archive.
#[derive(Default)]
struct Parts {
    files: Vec<(String, Vec<u8>)>,
    missing: Vec<(String, String)>,
}

impl Parts {
    fn add(&mut self, name: &str, content: Result<Vec<u8>, String>) {
        match content {
            Ok(mut content) => {
                if content.len() > PART_BYTES_MAX {
                    let why = format!("cut off after {PART_BYTES_MAX} of {} bytes", content.len());
                    self.missing.push((name.to_owned(), why));
                    content.truncate(PART_BYTES_MAX);
                }
                self.files.push((name.to_owned(), content));
            }
            Err(why) => self.missing.push((name.to_owned(), why)),
        }
    }

    fn add_json(&mut self, name: &str, value: Result<Value, String>) {
        self.add(name, value.map(|value| format!("{value:#}\n").into_bytes()));
    }

    fn write(mut self, out: &Path) -> io::Result<Value> {
        let names: Vec<&str> = self.files.iter().map(|(name, _)| name.as_str()).collect();
        let missing: Value =
            self.missing.iter().map(|(name, why)| (name.clone(), json!(why))).collect();
        let manifest = json!({
            "out": out.display().to_string(), "files": names, "missing": missing,
        });
        let text = format!("{manifest:#}\n");
        self.files.insert(0, ("manifest.json".to_owned(), text.into_bytes()));
        let file = File::create(out)?;
        if let Err(error) = self.archive(&file) {
            // Half an archive would pass for a whole one. A pipe or a device stays.
            if file.metadata().is_ok_and(|found| found.is_file()) {
                let _ = std::fs::remove_file(out);
            }
            return Err(error);
        }
        Ok(manifest)
    }

    fn archive(&self, out: impl Write) -> io::Result<()> {
        let mut archive = tar::Builder::new(GzEncoder::new(out, Compression::default()));
        for (name, content) in &self.files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o600);
            archive.append_data(
                &mut header,
                format!("wirepace-bugreport/{name}"),
                content.as_slice(),
            )?;
        }
        archive.into_inner()?.finish()?.flush()
    }
}

fn collect(parts: &mut Parts, instance: Option<&InstanceDir>, config_file: Option<&Path>) {
    parts.add_json("version.json", Ok(version()));
    let given = config_file.and_then(|path| std::fs::read_to_string(path).ok());
    if let Some(text) = &given {
        // What is in force stands beside it: they may differ.
        parts.add("config-file.toml", Ok(text.clone().into_bytes()));
    }
    let in_force = match instance {
        Some(dir) => ask_gateway(parts, dir),
        None => {
            parts.missing.push(("gateway".to_owned(), "no gateway was found".to_owned()));
            None
        }
    };
    let config = in_force.or(given).and_then(|text| Config::from_toml("config", &text).ok());
    parts.add_json("doctor.json", Ok(crate::doctor::report(config.as_ref())));
    let environment = config.as_ref().map(crate::environment::describe);
    parts.add_json("environment.json", environment.ok_or("it is that of a config".to_owned()));
    let http = config.as_ref().and_then(|config| config.control.http);
    parts.add(
        "metrics.txt",
        match http {
            Some(address) if instance.is_some() => metrics(address).map_err(|e| e.to_string()),
            Some(_) => Err("no gateway was found".to_owned()),
            None if config.is_some() => Err("the config has no exporter".to_owned()),
            None => Err("no config is known that would name the exporter".to_owned()),
        },
    );
    for file in ["/proc/interrupts", "/proc/softirqs", "/proc/meminfo", "/proc/cmdline"] {
        let name = format!("proc-{}.txt", file.trim_start_matches("/proc/"));
        parts.add(&name, std::fs::read(file).map_err(|e| e.to_string()));
    }
}

/// What control knows. Gives the text of the config in force.
fn ask_gateway(parts: &mut Parts, dir: &InstanceDir) -> Option<String> {
    let socket = dir.control_socket();
    let ask = |request| client::request_within(&socket, &request, WAIT).map_err(|e| e.to_string());
    let config = ask(Request::ConfigGet {});
    let text = config.as_ref().ok().and_then(|c| c["text"].as_str()).map(str::to_owned);
    parts.add(
        "config.toml",
        match (&text, &config) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Err(why)) => Err(why.clone()),
            (None, Ok(_)) => Err("the gateway does not say".to_owned()),
        },
    );
    let status = ask(Request::Status {});
    if let Ok(status) = &status {
        parts.add_json("drops.json", Ok(drops(status)));
    }
    parts.add_json("status.json", status);
    parts.add_json("stalls.json", ask(Request::Stalls { max: None }));
    parts.add_json("regime.json", ask(Request::RegimeGet {}));
    parts.add_json("advice.json", ask(Request::Advice {}));
    parts.add_json("config-history.json", ask(Request::ConfigHistory {}));
    let flows = Request::Flows { class: None, holding: false, max: Some(FLOWS_MAX) };
    parts.add_json("flows.json", ask(flows));
    let log = ask(Request::Log {});
    parts
        .add("log.txt", log.map(|log| log["log"].as_str().unwrap_or_default().as_bytes().to_vec()));
    bundles(parts, &dir.path().join("bundles"));
    text
}

/// The files of the newest bundle that was kept when a scope came to be contained.
fn bundles(parts: &mut Parts, dir: &Path) {
    let names = |dir: &Path| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(dir).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.sort();
        paths
    };
    let hidden = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    let Some(newest) = names(dir).into_iter().rfind(|path| !hidden(path)) else {
        parts.missing.push(("bundle".to_owned(), "no scope came to be contained".to_owned()));
        return;
    };
    for file in names(&newest) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        parts.add(&format!("bundle/{name}"), std::fs::read(&file).map_err(|e| e.to_string()));
    }
}

fn version() -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "commit": env!("WIREPACE_COMMIT"),
        "dpdk": Eal::version(),
        "machine": crate::host::machine(),
    })
}

fn drops(status: &Value) -> Value {
    let rows = crate::figures::drops(status).into_iter().map(|((reason, port, class), packets)| {
        json!({ "reason": reason, "port": port, "class": class, "packets": packets })
    });
    rows.collect()
}

/// `/metrics` of the exporter.
fn metrics(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, WAIT)?;
    stream.set_read_timeout(Some(WAIT))?;
    stream.set_write_timeout(Some(WAIT))?;
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(PART_BYTES_MAX as u64).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n");
    let body = end.map(|end| answer.split_off(end + 4));
    body.ok_or_else(|| io::Error::other("the exporter's answer has no end of its head"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut_off_and_what_is_missing_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("r.tar.gz");
        let mut parts = Parts::default();
        parts.add("long.txt", Ok(vec![b'x'; PART_BYTES_MAX + 1]));
        parts.add("none.txt", Err("not there".to_owned()));
        let told = parts.write(&out).unwrap();
        assert_eq!(told["missing"]["none.txt"], "not there");
        assert!(told["missing"]["long.txt"].as_str().unwrap().contains("16777217"));
        let mut archive =
            tar::Archive::new(flate2::read::GzDecoder::new(File::open(&out).unwrap()));
        let sizes: Vec<u64> = archive.entries().unwrap().map(|e| e.unwrap().size()).collect();
        assert_eq!(sizes[1..], [PART_BYTES_MAX as u64]);
    }
}
