//! Headless Chromium, driven by the pipe of its DevTools protocol: JSON objects, a zero byte behind each.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);
/// What scripts/screenshots asks of a page.
const JUDGE: &str = include_str!("../../scripts/screenshots.js");

/// One page. Killed when dropped.
pub struct Browser {
    child: Child,
    to: File,
    from: BufReader<File>,
    calls: u64,
    session: String,
    /// Where the page asked for something.
    pub requests: Vec<String>,
    /// What went wrong in the page: errors of scripts, and what its policy forbade.
    pub faults: Vec<String>,
    dir: tempfile::TempDir,
}

impl Browser {
    /// `None`, said on stderr, where there is no Chromium.
    pub fn start() -> Option<Self> {
        let Some(chromium) = find() else {
            eprintln!("skipped: there is no Chromium");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let (to, from) = (dir.path().join("to"), dir.path().join("from"));
        for pipe in [&to, &from] {
            mknodat(CWD, pipe, FileType::Fifo, Mode::RWXU, 0).unwrap();
        }
        let child = Command::new("sh")
            .args(["-c", "to=$1 from=$2; shift 2; exec \"$@\" 3<\"$to\" 4>\"$from\"", "sh"])
            .args([&to, &from, &chromium])
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--remote-debugging-pipe",
                "--hide-scrollbars",
            ])
            .args([
                "--disable-background-networking",
                "--disable-component-update",
                "--no-first-run",
            ])
            .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        // In the order in which the shell opens them: each end waits for the other.
        let to = File::options().write(true).open(to).unwrap();
        let from = BufReader::new(File::open(from).unwrap());
        let session = String::new();
        let (requests, faults) = (Vec::new(), Vec::new());
        let mut new = Self { child, to, from, calls: 0, session, requests, faults, dir };
        let target = new.call("Target.createTarget", &json!({"url": "about:blank"}));
        let target = json!({"targetId": target["targetId"], "flatten": true});
        let attached = new.call("Target.attachToTarget", &target);
        new.session = attached["sessionId"].as_str().unwrap().to_owned();
        for domain in ["Page", "Runtime", "Network", "Log"] {
            new.call(&format!("{domain}.enable"), &json!({}));
        }
        Some(new)
    }

    /// The answer to a command.
    fn call(&mut self, method: &str, params: &Value) -> Value {
        self.calls += 1;
        let mut command = json!({"id": self.calls, "method": method, "params": params});
        if !self.session.is_empty() {
            command["sessionId"] = json!(self.session);
        }
        let mut bytes = command.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let said = self.hear();
            if said["id"] == self.calls {
                assert!(said["error"].is_null(), "{method}: {said}");
                return said["result"].clone();
            }
        }
    }

    fn hear(&mut self) -> Value {
        let mut bytes = Vec::new();
        self.from.read_until(0, &mut bytes).unwrap();
        let Some((0, text)) = bytes.split_last() else {
            panic!("{}", fs::read_to_string(self.dir.path().join("log")).unwrap_or_default());
        };
        let said: Value = serde_json::from_slice(text).unwrap();
        match said["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.requests.push(said["params"]["request"]["url"].as_str().unwrap().to_owned());
            }
            Some("Runtime.exceptionThrown") => {
                self.faults.push(said["params"]["exceptionDetails"].to_string());
            }
            // What the network says is no fault of the page.
            Some("Log.entryAdded") if said["params"]["entry"]["source"] != "network" => {
                self.faults.push(said["params"]["entry"].to_string());
            }
            _ => {}
        }
        said
    }

    /// Goes to `url`.
    pub fn open(&mut self, url: &str) {
        self.call("Page.navigate", &json!({"url": url}));
    }

    /// Shows a page that is given.
    pub fn show(&mut self, html: &str, width: u32, height: u32) {
        self.look_like(width, height, false);
        let frame = self.call("Page.getFrameTree", &json!({}))["frameTree"]["frame"]["id"].clone();
        self.call("Page.setDocumentContent", &json!({"frameId": frame, "html": html}));
    }

    /// How large the window is, and whether its user likes it dark.
    pub fn look_like(&mut self, width: u32, height: u32, dark: bool) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &size);
        let scheme = if dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", &json!({"features": features}));
    }

    /// What a script comes to.
    pub fn eval(&mut self, script: &str) -> Value {
        let asked = json!({"expression": script, "returnByValue": true, "awaitPromise": true});
        let said = self.call("Runtime.evaluate", &asked);
        assert!(said["exceptionDetails"].is_null(), "{script}: {said}");
        said["result"]["value"].clone()
    }

    /// Waits until a script comes to true.
    #[track_caller]
    pub fn wait(&mut self, script: &str) {
        let deadline = Instant::now() + PATIENCE;
        // Between two documents there is nothing to look at.
        let script =
            format!("(() => {{ try {{ return {script}; }} catch {{ return false; }} }})()");
        while self.eval(&script) != true {
            let shown = self.eval("document.body?.innerText");
            assert!(Instant::now() < deadline, "never: {script}: {:?} {shown}", self.faults);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A click of the mouse on what a selector finds first.
    #[track_caller]
    pub fn click(&mut self, selector: &str) {
        let found = format!("document.querySelector({selector:?})");
        self.wait(&format!("{found}.getClientRects().length > 0"));
        let place = self.eval(&format!(
            "(() => {{ {found}.scrollIntoView(); const box = {found}.getBoundingClientRect(); \
             return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let mouse = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", &mouse);
        }
    }

    /// Types into what has the focus.
    pub fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", &json!({"text": text}));
    }

    /// What cannot be read: too wide, too small, one on the other.
    pub fn illegible(&mut self) -> Vec<Value> {
        let said = self.eval(&format!("{JUDGE}; judge(document, innerWidth).problems"));
        said.as_array().unwrap().clone()
    }

    /// A picture of the whole page, into the directory that the environment names in `WIREPACE_PICTURES`.
    pub fn picture(&mut self, name: &str) {
        let Some(dir) = std::env::var_os("WIREPACE_PICTURES") else { return };
        let taken = self.call("Page.captureScreenshot", &json!({"captureBeyondViewport": true}));
        let png = BASE64_STANDARD.decode(taken["data"].as_str().unwrap()).unwrap();
        fs::create_dir_all(&dir).unwrap();
        fs::write(Path::new(&dir).join(format!("{name}.png")), png).unwrap();
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Gone already, or it ends now, and its children with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn find() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let mut all = std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name)));
    all.find(|file| file.is_file())
}
