//! A directory with a config in it, and the gateway that runs by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard};

use crate::config::{between, without_http};
use crate::gateway::{Gateway, Start, WIREPACE};

/// One at a time: each gateway has a core that never sleeps.
static TURN: Mutex<()> = Mutex::new(());

/// Gone when dropped.
pub struct Place {
    pub dir: tempfile::TempDir,
    name: &'static str,
    _turn: MutexGuard<'static, ()>,
}

impl Place {
    /// For a gateway between two devices that receive nothing.
    pub fn new(name: &'static str) -> Self {
        let turn = TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let place = Self { dir: tempfile::tempdir().unwrap(), name, _turn: turn };
        place.write(&place.text());
        place
    }

    /// The config that it begins with.
    pub fn text(&self) -> String {
        let text = between(self.name, "net_null0,no-rx=1", "net_null1,no-rx=1");
        let state = self.dir.path().join("state");
        let gateway = format!("[gateway]\nstate_dir = \"{}\"", state.display());
        let text = text.replacen("[gateway]", &gateway, 1);
        without_http(&text)
    }

    /// The same with another rate of class `out`.
    pub fn with_rate(&self, rate: &str) -> String {
        let text = self.text();
        assert!(text.contains("rate = \"50M\""));
        text.replacen("rate = \"50M\"", &format!("rate = \"{rate}\""), 1)
    }

    /// The file of the config.
    pub fn file(&self) -> PathBuf {
        self.dir.path().join(format!("{}.toml", self.name))
    }

    /// Puts another config into the file.
    pub fn write(&self, text: &str) {
        fs::write(self.file(), text).unwrap();
    }

    /// Starts it by what the file says.
    pub fn start(&self) -> Gateway {
        let text = fs::read_to_string(self.file()).unwrap();
        Start::new(self.dir.path(), self.name, &text).forwarding()
    }

    /// The confirmed configs on disk, the oldest first.
    pub fn confirmed(&self) -> Vec<String> {
        let dir = self.dir.path().join("state").join(self.name).join("config");
        let mut files: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "toml"))
            .collect();
        files.sort();
        files.iter().map(|path| fs::read_to_string(path).unwrap()).collect()
    }
}

/// `wirepace ARGUMENTS... --config FILE`, for people.
pub fn wirepace(arguments: &[&str], file: &Path) -> Output {
    Command::new(WIREPACE).args(arguments).arg("--config").arg(file).output().unwrap()
}

/// What stands on stdout of a command that went well.
pub fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}
