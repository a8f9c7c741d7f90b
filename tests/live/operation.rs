//! Starting, asking and refusing, without interfaces: net_null and net_ring.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::config::{HTTP_PORT, between, with, without_http};
use crate::gateway::{
    Start, WIREPACE, assert_nothing_lost, assert_sound, brief, cpus, for_nobody, total_ns,
};
use crate::sandbox::{sandboxed, work_dir};

/// Two rings: nothing moves unless somebody sends.
fn rings(name: &str) -> String {
    between(name, "net_ring0", "net_ring1")
}

/// The bench config of the repository, on a CPU that there is.
fn nulls() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/configs/bench-null.toml");
    let (_, core) = cpus();
    fs::read_to_string(path).unwrap().replace("core = 1\n", &format!("core = {core}\n"))
}

#[test]
fn status_says_what_runs_and_duration_ends_it() {
    sandboxed("operation::status_says_what_runs_and_duration_ends_it", &[], || {
        // One that has run and ended is no choice any more.
        let before = Start::new(work_dir(), "gw0", &rings("gw0")).args(["--duration", "100ms"]);
        assert_nothing_lost(&before.spawn().ended().summary());
        let start = Start::new(work_dir(), "gw1", &rings("gw1")).args(["--duration", "3s"]);
        let gateway = start.forwarding();
        let status = gateway.answer(&["status"]);
        let (_, core) = cpus();
        assert_eq!((&status["name"], &status["cores"][0]["cpu"]), (&"gw1".into(), &core.into()));
        // The only one there is need not be named; for people it is a page.
        let page = Command::new(WIREPACE).arg("status").output().unwrap();
        let page = String::from_utf8(page.stdout).unwrap();
        assert!(page.contains("gw1") && page.contains(", up "), "{page}");
        let ended = gateway.ended();
        let summary = ended.summary();
        assert_nothing_lost(&summary);
        let duration_s = summary["duration_s"].as_f64().unwrap();
        assert!((2.9..20.0).contains(&duration_s), "{duration_s}");
        // A file is no terminal: no colours.
        assert!(!ended.stderr.contains('\u{1b}'), "{}", ended.stderr);
        let gone = Command::new(WIREPACE).args(["status", "--instance", "gw1"]).output().unwrap();
        assert_eq!(gone.status.code(), Some(1));
        let said = String::from_utf8_lossy(&gone.stderr);
        assert!(said.contains("no gateway runs at"), "{said}");
    });
}

#[test]
fn only_control_is_confined_only_data_cores_have_their_cpu_and_rings_need_no_capability() {
    let test = "operation::only_control_is_confined_only_data_cores_have_their_cpu_and_rings_need_no_capability";
    sandboxed(test, &[], || {
        let gateway = Start::new(work_dir(), "gw1", &rings("gw1")).forwarding();
        let (control_cpu, core) = cpus();
        let mut names = Vec::new();
        // Whoever runs the tests may have filtered them, too.
        let own = fs::read_to_string("/proc/self/status").unwrap();
        let filters = |status: &str| -> u32 {
            let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:"));
            line.unwrap_or_else(|| panic!("{status}")).trim().parse().unwrap()
        };
        for task in fs::read_dir(format!("/proc/{}/task", gateway.pid())).unwrap() {
            let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap();
            let line = |key: &str| {
                let line = status.lines().find_map(|line| line.strip_prefix(key));
                line.unwrap_or_else(|| panic!("{key} {status}")).trim().to_owned()
            };
            let name = line("Name:");
            let cpu = if name == format!("wp-data-{core}") { core } else { control_cpu };
            assert_eq!(line("Cpus_allowed_list:"), cpu.to_string(), "{name}");
            for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
                assert!(line(set).bytes().all(|digit| digit == b'0'), "{name} holds {set}");
            }
            assert_eq!(line("NoNewPrivs:"), "1", "{name}");
            let of_its_own = filters(&status) - filters(&own);
            assert_eq!(of_its_own, u32::from(name == "wp-control"), "{name}");
            names.push(name);
        }
        for name in ["wp-ports", "wp-signals", "wp-control", "wirepace"] {
            assert!(names.iter().any(|n| n == name), "{name}: {names:?}");
        }
        assert!(names.contains(&format!("wp-data-{core}")), "{names:?}");
        assert_nothing_lost(&gateway.finish());
    });
}

#[test]
fn what_is_in_the_way_is_named_and_nothing_hangs() {
    sandboxed("operation::what_is_in_the_way_is_named_and_nothing_hangs", &[], || {
        let refused = |name: &str, config: &str, part: &str| {
            let ended = Start::new(work_dir(), name, config).spawn().ended();
            assert_eq!(ended.status.code(), Some(1), "{name}: {}", ended.stderr);
            let said: Value = serde_json::from_str(&ended.stdout).unwrap();
            assert_eq!(said["exit_code"], 1, "{name}");
            assert!(said["error"].as_str().unwrap().contains(part), "{name}: {part}: {said}");
            assert!(ended.stderr.contains(part), "{name}: {part}: {}", ended.stderr);
        };
        // The exporter's port is taken.
        let taken = TcpListener::bind(("127.0.0.1", HTTP_PORT)).unwrap();
        refused("port", &rings("gw1"), &format!("control.http = 127.0.0.1:{HTTP_PORT}: Address"));
        drop(taken);
        // Who may write there could resume a halted gateway.
        let open = work_dir().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
        let in_dir = |dir: &str| with(&rings("gw1"), "gateway", &format!("state_dir = \"{dir}\""));
        refused("open", &in_dir("/run/test/open"), "a state directory must belong to this user");
        // Nobody can write there, not even root.
        refused("proc", &in_dir("/proc/wirepace"), "/proc/wirepace");
        // A CPU that is not there, for control and for a data core.
        let (control_cpu, core) = cpus();
        let control = format!("control_cpu = {control_cpu}");
        let config = rings("gw1").replace(&control, "control_cpu = 900");
        refused("control_cpu", &config, "CPU 900 is not one of this machine's");
        let config = rings("gw1").replace(&format!("core = {core}\n"), "core = 900\n");
        refused("core", &config, "CPU 900 is not one of this machine's");
        // An interface that is not there, and a device that does not open.
        let absent = between("gw1", "net_af_packet0,iface=absent7", "net_ring1");
        refused("absent", &absent, "there is no interface absent7");
        let bad = between("gw1", "net_pcap0,rx_pcap=/run/test/absent.pcap", "net_ring1");
        refused("pcap", &bad, "rx_pcap=/run/test/absent.pcap");
        // A socket that a crash left is no obstacle, a file that stands there is one.
        let dir = Path::new("/run/wirepace/gw1");
        let socket = dir.join("control.sock");
        fs::write(&socket, "precious").unwrap();
        refused("file", &rings("gw1"), "exists and is not a socket");
        fs::remove_file(&socket).unwrap();
        drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
        assert!(socket.exists());
        let gateway = Start::new(work_dir(), "gw1", &rings("gw1")).forwarding();
        // The same instance once more.
        refused("twice", &without_http(&rings("gw1")), "gw1");
        assert_nothing_lost(&gateway.finish());
        assert!(!socket.exists(), "the socket goes with the gateway");
    });
}

#[test]
fn an_ordinary_user_runs_rings_and_nulls() {
    sandboxed("operation::an_ordinary_user_runs_rings_and_nulls", &["setpriv"], || {
        let (program, theirs) = for_nobody(work_dir());
        let by_nobody = |start: Start| start.run_by_nobody(&program, &theirs, "-all").spawn();
        for (name, config) in [("ring", rings("ring")), ("bench-null", nulls())] {
            let start = Start::new(work_dir(), name, &config).args(["--duration", "1s"]);
            let summary = by_nobody(start).ended().summary();
            let (packets_in, _) = assert_nothing_lost(&summary);
            assert_eq!(packets_in > 0, name == "bench-null", "{}", brief(&summary));
            assert!(theirs.join("wirepace").join(name).is_dir());
        }
        // A network interface takes more than that, and the error says so.
        let config = between("lo", "net_af_packet0,iface=lo", "net_ring1");
        let ended = by_nobody(Start::new(work_dir(), "lo", &config)).ended();
        assert_eq!(ended.status.code(), Some(1), "{}", ended.stderr);
    });
}

#[test]
fn a_gateway_whose_core_another_one_polls_on_says_so() {
    sandboxed("operation::a_gateway_whose_core_another_one_polls_on_says_so", &[], || {
        let start = |name| Start::new(work_dir(), name, &without_http(&rings(name))).forwarding();
        let told = "another gateway polls on the same CPU";
        let first = start("first");
        assert!(!first.log().contains(told), "{}", first.log());
        let second = start("second");
        assert!(second.log().contains(told), "{}", second.log());
        assert!(second.log().contains(&format!("pid={}", first.pid())), "{}", second.log());
        assert_sound(&second.finish());
        assert_sound(&first.finish());
    });
}

#[test]
fn the_demo_paces_orders_and_lets_cancels_go() {
    sandboxed("operation::the_demo_paces_orders_and_lets_cancels_go", &[], || {
        let root = env!("CARGO_MANIFEST_DIR");
        let config = fs::read_to_string(format!("{root}/configs/demo-live.toml")).unwrap();
        let (_, core) = cpus();
        let config = config.replace("core = 1\n", &format!("core = {core}\n"));
        // The test runs elsewhere.
        let config = config.replace("rx_pcap=", &format!("rx_pcap={root}/"));
        let start = Start::new(work_dir(), "demo-live", &config).args(["--duration", "5s"]);
        let summary = start.spawn().ended().summary();
        // As many as the capture has. It comes at once, so a TCP segment that was sent twice finds
        // its original still held.
        let (packets_in, packets_out) = assert_sound(&summary);
        let twice = summary["drops"]["duplicate_held"].as_u64().unwrap_or(0);
        assert_eq!((packets_in, packets_out + twice), (2435, 2435), "{}", summary["drops"]);
        assert!(twice <= 8, "the capture has eight retransmissions, {twice} ended");
        assert!(total_ns(&summary, "orders", "p50") > 1e9, "500 orders leave each second");
        assert!(total_ns(&summary, "cancels", "p50") < 0.1e9, "cancels wait for no rate");
    });
}

#[test]
fn hugepages_are_used_when_there_are_enough() {
    sandboxed("operation::hugepages_are_used_when_there_are_enough", &[], || {
        let small = with(&rings("gw1"), "dpdk", "memory = \"160MiB\"");
        let mode = |mode: &str| small.replace("\"never\"", &format!("\"{mode}\""));
        let run = |name: &str, config: &str| {
            let start = Start::new(work_dir(), name, config).args(["--duration", "500ms"]);
            start.spawn().ended()
        };
        let pages = Hugepages::reserve(0);
        let refused = run("none", &mode("require"));
        assert_eq!(refused.status.code(), Some(1), "{}", refused.stderr);
        assert!(refused.stderr.contains("sysctl vm.nr_hugepages="), "{}", refused.stderr);
        for setting in ["auto", "never"] {
            assert_nothing_lost(&run(setting, &mode(setting)).summary());
        }
        drop(pages);

        let pages = Hugepages::reserve(96);
        if pages.there() < 80 {
            println!("skipped: the system gives {} of 80 hugepages", pages.there());
            return;
        }
        for setting in ["require", "auto", "never"] {
            assert_nothing_lost(&run(setting, &mode(setting)).summary());
        }
    });
}

/// `vm.nr_hugepages`, set back when dropped.
struct Hugepages {
    before: String,
}

impl Hugepages {
    const FILE: &str = "/proc/sys/vm/nr_hugepages";

    fn reserve(pages: u32) -> Self {
        let before = fs::read_to_string(Self::FILE).unwrap();
        fs::write(Self::FILE, pages.to_string()).unwrap();
        // The kernel may take a moment to put them together.
        std::thread::sleep(Duration::from_millis(100));
        Self { before }
    }

    fn there(&self) -> u32 {
        fs::read_to_string(Self::FILE).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Hugepages {
    fn drop(&mut self) {
        // Root wrote it a moment ago.
        let _ = fs::write(Self::FILE, self.before.trim());
    }
}
