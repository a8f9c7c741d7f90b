//! `wirepace run` as a process beside the hosts, for the arms that it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::cpu;
use super::sandbox::output;
use crate::kernel::sys::{Policy, set_policy};

/// A start or an end may take so long; what takes longer has failed.
const WAIT: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// A line of its log with this says that every start is over.
const FORWARDS: &str = " forwards; ";
/// Its data cores have this in their name.
const DATA_CORE: &str = "wp-data-";

/// Why there is no gateway.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// A file or the process.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// It ended.
    #[error("it ended with {status}: {said}")]
    Ended {
        /// Its exit.
        status: ExitStatus,
        /// The end of its log.
        said: String,
    },
    /// It did not start or end in time.
    #[error("it did not {0} within {WAIT:?}")]
    Late(&'static str),
}

/// A running gateway; killed when dropped.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    data_cores: Vec<Pid>,
    log: PathBuf,
    said: PathBuf,
}

impl Gateway {
    /// Starts it with `config` in `directory` and waits until it forwards. Its threads beside the data cores
    /// share a CPU with what comes before a block, and run where that leaves some.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(directory: &Path, config: &str) -> Result<Self, GatewayError> {
        let file = directory.join("gateway.toml");
        fs::write(&file, config)?;
        let (log, said) = (directory.join("gateway.log"), directory.join("gateway.json"));
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["run", "--json", "--config"]).arg(&file);
        command.stdin(std::process::Stdio::null());
        command.stdout(output(&said)?).stderr(output(&log)?);
        let mut gateway = Self { child: command.spawn()?, data_cores: Vec::new(), log, said };
        let begun = Instant::now();
        while !gateway.log_text().contains(FORWARDS) {
            gateway.check()?;
            if begun.elapsed() > WAIT {
                return Err(GatewayError::Late("start"));
            }
            thread::sleep(LOOK_EVERY);
        }
        gateway.sort_threads()?;
        Ok(gateway)
    }

    fn log_text(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// It has ended.
    pub fn check(&mut self) -> Result<(), GatewayError> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(self.ended(status)),
        }
    }

    fn ended(&self, status: ExitStatus) -> GatewayError {
        let text = self.log_text();
        let said = text.lines().rev().take(3).collect::<Vec<_>>().join(" | ");
        GatewayError::Ended { status, said }
    }

    fn sort_threads(&mut self) -> io::Result<()> {
        for entry in fs::read_dir(format!("/proc/{}/task", self.child.id()))?.flatten() {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            let number = entry.file_name().to_str().and_then(|name| name.parse().ok());
            match number.and_then(Pid::from_raw) {
                Some(thread) if name.starts_with(DATA_CORE) => self.data_cores.push(thread),
                Some(thread) => set_policy(thread.as_raw_pid(), Policy::Idle)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Its data cores go before everything else on their CPUs, as the sender does.
    ///
    /// # Errors
    /// It has ended.
    pub fn go_first(&self) -> io::Result<()> {
        self.data_cores.iter().try_for_each(|core| cpu::go_first(*core).map(drop))
    }

    /// Its data cores share their CPUs again.
    ///
    /// # Errors
    /// It has ended.
    pub fn give_way(&self) -> io::Result<()> {
        self.data_cores.iter().try_for_each(|core| cpu::give_way(*core))
    }

    /// Ends it by SIGTERM. Gives what it said last.
    ///
    /// # Errors
    /// It had ended already, or does not end well.
    pub fn finish(mut self) -> Result<Value, GatewayError> {
        self.check()?;
        kill_process(Pid::from_child(&self.child), Signal::TERM).map_err(io::Error::from)?;
        let asked = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if asked.elapsed() > WAIT {
                return Err(GatewayError::Late("end"));
            }
            thread::sleep(LOOK_EVERY);
        };
        if !status.success() {
            return Err(self.ended(status));
        }
        serde_json::from_str(&fs::read_to_string(&self.said)?)
            .map_err(|error| GatewayError::Io(error.into()))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Where it has ended already there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
