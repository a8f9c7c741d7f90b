//! A program on a terminal of its own, and what stands on its screen.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::pty::{Winsize, openpty};

const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when dropped.
pub struct Terminal {
    child: Child,
    keys: File,
    seen: Arc<Mutex<vt100::Parser>>,
}

impl Terminal {
    /// Runs `command` on a screen of so many columns and rows.
    pub fn run(command: &mut Command, columns: u16, rows: u16) -> Self {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        let end = || pty.slave.try_clone().unwrap();
        let child = command.stdin(end()).stdout(end()).stderr(end());
        let child = child.env("TERM", "xterm-256color").env_remove("NO_COLOR").spawn().unwrap();
        let keys = File::from(pty.master);
        let seen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (mut said, of) = (keys.try_clone().unwrap(), Arc::clone(&seen));
        std::thread::spawn(move || {
            let mut bytes = [0; 65_536];
            // The last end of the other side is closed: nothing comes any more.
            while let Ok(n @ 1..) = said.read(&mut bytes) {
                of.lock().unwrap_or_else(PoisonError::into_inner).process(&bytes[..n]);
            }
        });
        Self { child, keys, seen }
    }

    /// Presses these keys.
    pub fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// The lines of the screen.
    pub fn lines(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let (_, columns) = seen.screen().size();
        seen.screen().rows(0, columns).map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until the screen is like that.
    #[track_caller]
    pub fn wait(&self, is_so: impl Fn(&[String]) -> bool) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines();
            if is_so(&lines) {
                return lines;
            }
            assert!(Instant::now() < deadline, "the screen stays:\n{}", lines.join("\n"));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the program has ended in order.
    #[track_caller]
    pub fn wait_for_end(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                return;
            }
            assert!(Instant::now() < deadline, "it does not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The screen as a page, for a picture of it.
    pub fn to_html(&self) -> String {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let screen = seen.screen();
        let (rows, columns) = screen.size();
        let mut out = String::from(
            "<!doctype html><meta charset=utf-8><body style='margin:0;background:#111'>\
             <pre style='margin:8px;color:#ddd;font:15px/1.2 DejaVu Sans Mono,monospace'>",
        );
        for row in 0..rows {
            for cell in (0..columns).filter_map(|column| screen.cell(row, column)) {
                let colour = match cell.fgcolor() {
                    vt100::Color::Idx(1) => "#f66",
                    vt100::Color::Idx(2) => "#6d6",
                    vt100::Color::Idx(8) => "#999",
                    _ => "#ddd",
                };
                let weight = if cell.bold() { "bold" } else { "normal" };
                let line = if cell.underline() { "underline" } else { "none" };
                let text = match cell.contents() {
                    "" => " ",
                    "<" => "&lt;",
                    "&" => "&amp;",
                    text => text,
                };
                let _ = write!(
                    out,
                    "<span style='color:{colour};font-weight:{weight};text-decoration:{line}'>{text}</span>"
                );
            }
            out.push('\n');
        }
        out
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Gone already, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
