//! The product's commands, run as a user runs them. Every run is bounded in time and must not panic.

use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// No command of a test takes so long on a busy machine.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// A path inside the repository.
pub fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Whether golden files are to be written anew.
pub fn regenerate() -> bool {
    std::env::var_os("WIREPACE_REGENERATE").is_some_and(|value| value == "1")
}

/// What a command left behind.
#[derive(Debug)]
pub struct Ran {
    /// Exit code; a signal is none.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// The JSON object that is all of stdout.
    #[track_caller]
    pub fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|e| panic!("stdout is not one JSON value ({e}): {self:#?}"));
        assert!(value.is_object(), "{self:#?}");
        value
    }

    /// Panics unless the command ended with `code` and said `words` on stderr.
    #[track_caller]
    pub fn assert_failed(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for words in words {
            assert!(self.stderr.contains(words), "`{words}` is not in: {}", self.stderr);
        }
    }
}

/// Runs `wirepace` with `arguments`.
#[track_caller]
pub fn wirepace<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(arguments: I) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wirepace"));
    command.args(arguments);
    run(command)
}

/// Runs a command to its end, or kills it at the time limit.
#[track_caller]
pub fn run(mut command: Command) -> Ran {
    let directory = TempDir::new().unwrap();
    let (out, err) = (directory.path().join("out"), directory.path().join("err"));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(File::create(&out).unwrap())
        .stderr(File::create(&err).unwrap())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let deadline = Instant::now() + TIME_LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("{command:?} ran for {TIME_LIMIT:?}");
        }
        thread::sleep(Duration::from_millis(5));
    };
    let text = |path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned();
    let ran = Ran { code: status.code(), stdout: text(&out), stderr: text(&err) };
    assert!(!ran.stderr.contains("panicked"), "{command:?}: {ran:#?}");
    assert!(ran.code.is_some(), "{command:?} ended by a signal: {ran:#?}");
    ran
}

/// A replay and its files, which live as long as this value.
pub struct Replay {
    /// What the command said.
    pub ran: Ran,
    /// Where its files are.
    pub directory: TempDir,
    /// The capture that it wrote.
    pub output: PathBuf,
    /// The KPIs that it wrote.
    pub kpis: PathBuf,
}

impl Replay {
    /// The JSON of a replay that succeeded.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.ran.code, Some(0), "{:#?}", self.ran);
        self.ran.json()
    }

    /// Its JSON without what depends on the machine.
    #[track_caller]
    pub fn json_without_host(&self) -> Value {
        let mut json = self.json();
        let host = json.as_object_mut().unwrap().remove("host");
        assert!(host.is_some_and(|host| host.is_object()));
        json
    }
}

/// `wirepace replay --json` of `input` with `options` besides.
#[track_caller]
pub fn replay(config: &Path, input: &Path, options: &[&str]) -> Replay {
    let directory = TempDir::new().unwrap();
    let (output, kpis) = (directory.path().join("out.pcapng"), directory.path().join("kpis.json"));
    let arguments = [
        OsStr::new("replay"),
        "--config".as_ref(),
        config.as_ref(),
        "--in".as_ref(),
        input.as_ref(),
        "--out".as_ref(),
        output.as_ref(),
        "--kpis".as_ref(),
        kpis.as_ref(),
        "--json".as_ref(),
    ];
    let ran = wirepace(arguments.into_iter().chain(options.iter().map(OsStr::new)));
    Replay { ran, directory, output, kpis }
}

/// `wirepace check --json` of a config that is right.
#[track_caller]
pub fn check(config: &Path) -> Value {
    let ran =
        wirepace([OsStr::new("check"), "--config".as_ref(), config.as_ref(), "--json".as_ref()]);
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    ran.json()
}
