//! What may be asked over the control socket: one JSON object per line, one reply per line.

use model::regime::{FedValue, Mode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A request, for example `{"cmd":"profile_set","name":"smooth"}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "cmd", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// Everything that `/v1/status` shows.
    Status {},
    /// Puts a profile in force on every core. Pins it; does not confirm it.
    ProfileSet {
        /// Its name in the config; `normal` ends the pin.
        name: String,
    },
    /// What is pinned, what is in force, what there is.
    ProfileGet {},
    /// What strategies are advised.
    Advice {},
    /// Sets a stop word.
    StopWord {
        /// The word.
        word: Word,
        /// `all`, `venue:NAME` or `class:NAME`.
        scope: String,
    },
    /// Where every machine is, by which values, and what of it is in force.
    RegimeGet {},
    /// Pins a machine over a scope to a state.
    RegimePin {
        /// Name of the machine.
        machine: String,
        /// `class:NAME`, `tx_queue:NAME`, `feed:NAME`, or the name alone.
        scope: String,
        /// Name of the state.
        state: String,
        /// For so long, ns; absent = as `[regime] pin` says.
        #[serde(default)]
        length_ns: Option<u64>,
    },
    /// Ends a pin, a freeze or a hold-off of a machine over a scope, else steps down once.
    RegimeRelease {
        /// Name of the machine.
        machine: String,
        /// As in `regime_pin`.
        scope: String,
    },
    /// Freezes the baselines that have been learned.
    RegimeFreeze {},
    /// Takes outside KPIs in.
    Feed {
        /// The values, all or none.
        values: Vec<FedValue>,
    },
    /// The config in force, as text, and whether it is confirmed.
    ConfigGet {},
    /// Puts a config in force.
    ConfigApply {
        /// What errors and changes call it.
        file: String,
        /// The whole config.
        text: ConfigText,
        /// It goes back by itself unless it is confirmed within so long, ns; absent = confirmed at once.
        #[serde(default)]
        confirm_ns: Option<u64>,
    },
    /// Confirms the config in force.
    ConfigConfirm {},
    /// Goes back: from a config that is not confirmed to the one that is, else to a revision.
    ConfigRollback {
        /// Its number; absent = the one before.
        #[serde(default)]
        revision: Option<u64>,
    },
    /// The configs that were confirmed.
    ConfigHistory {},
    /// The flows as they stand, those that hold most first.
    Flows {
        /// Of this class only.
        #[serde(default)]
        class: Option<String>,
        /// Those that hold packets only.
        #[serde(default)]
        holding: bool,
        /// At most so many.
        #[serde(default)]
        max: Option<usize>,
    },
    /// Turns of the data cores that took too long, the newest last.
    Stalls {
        /// At most so many.
        #[serde(default)]
        max: Option<usize>,
    },
    /// What was logged lately.
    Log {},
    /// Copies packets from here on; one capture at a time.
    CaptureStart {
        /// Which.
        what: CaptureWhat,
    },
    /// What was caught since the last time. A capture that is not asked for ends.
    CaptureTake {},
    /// Ends it.
    CaptureStop {},
    /// The mode and what it would need.
    ModeGet {},
    /// Takes a mode.
    ModeSet {
        /// Which.
        mode: Mode,
        /// The operator confirms it: `active` needs that.
        #[serde(default)]
        confirm: bool,
    },
}

/// Which packets are captured. Without a direction: all three.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CaptureWhat {
    /// Name of a port; absent = any.
    pub port: Option<String>,
    /// What ports receive.
    pub received: bool,
    /// What ports accept.
    pub sent: bool,
    /// What ends on its way to a port.
    pub dropped: bool,
    /// Name of a class.
    pub class: Option<String>,
    /// `10.1.0.2:4000-10.9.0.1:7000/udp`, in either direction.
    pub flow: Option<String>,
    /// A filter of classic BPF as libpcap compiles it for Ethernet: opcode, jumps if true and if false,
    /// constant of each instruction.
    pub filter: Option<Vec<(u16, u8, u8, u32)>>,
    /// Bytes that are kept of a packet; absent = 256.
    pub snaplen: Option<u16>,
    /// Packets in all; absent = 1,000.
    pub count: Option<u64>,
}

/// The text of a config. In logs it is only so and so long.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ConfigText(pub String);

impl std::fmt::Debug for ConfigText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// The three words of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Orders and replaces end.
    Halt,
    /// No pacing.
    Passthrough,
    /// Clears the scope's own word.
    Resume,
}

impl Word {
    /// The name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Halt => "halt",
            Self::Passthrough => "passthrough",
            Self::Resume => "resume",
        }
    }
}

impl Request {
    /// Reads one line.
    ///
    /// # Errors
    /// What is wrong with it, in words for the person who sent it.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        serde_json::from_slice(line).map_err(|error| format!("not a request: {error}"))
    }

    /// Whether only those may ask it who may write: what changes something, and the packets that somebody
    /// captures.
    pub(crate) const fn is_for_writers(&self) -> bool {
        self.writes() || matches!(self, Self::CaptureTake {})
    }

    /// Whether it waits until what others asked has been done. A stop word does not: it is one store, and
    /// it must not wait for a config.
    pub(crate) const fn takes_turns(&self) -> bool {
        self.writes() && !matches!(self, Self::StopWord { .. })
    }

    /// Whether it changes anything: those are logged with the user who asked.
    pub const fn writes(&self) -> bool {
        !matches!(
            self,
            Self::Status {}
                | Self::Advice {}
                | Self::ProfileGet {}
                | Self::RegimeGet {}
                | Self::ModeGet {}
                | Self::ConfigGet {}
                | Self::ConfigHistory {}
                | Self::Flows { .. }
                | Self::Stalls { .. }
                | Self::Log {}
                | Self::CaptureTake {}
        )
    }
}

/// A reply that says what went wrong.
pub fn refusal(message: impl Into<String>) -> Value {
    json!({ "error": message.into() })
}

/// The same for what can never be obeyed, such as a name that there is not: nothing has failed.
pub fn bad_usage(message: impl Into<String>) -> Value {
    json!({ "error": message.into(), "bad_usage": true })
}

/// The same for what this client may not ask.
pub(crate) fn not_permitted(message: impl Into<String>) -> Value {
    json!({ "error": message.into(), "not_permitted": true })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_read_as_documented() {
        let read = |text: &str| Request::parse(text.as_bytes()).unwrap();
        assert_eq!(read(r#"{"cmd":"status"}"#), Request::Status {});
        assert_eq!(read(r#"{"cmd":"profile_get"}"#), Request::ProfileGet {});
        assert_eq!(read(r#"{"cmd":"advice"}"#), Request::Advice {});
        assert_eq!(
            read(r#"{"cmd":"profile_set","name":"smooth"}"#),
            Request::ProfileSet { name: "smooth".into() }
        );
        assert_eq!(
            read(r#"{"cmd":"stop_word","word":"halt","scope":"venue:X"}"#),
            Request::StopWord { word: Word::Halt, scope: "venue:X".into() }
        );
        assert_eq!(
            read(r#"{"cmd":"mode_set","mode":"shadow"}"#),
            Request::ModeSet { mode: Mode::Shadow, confirm: false }
        );
        let Request::Feed { values } = read(
            r#"{"cmd":"feed","values":[{"kpi":"cost","value":"breach","number":1,"expires_s":60}]}"#,
        ) else {
            panic!("no feed")
        };
        assert_eq!((values[0].number, values[0].scope.as_ref()), (1.0, None));
    }

    #[test]
    fn what_is_no_request_is_refused_with_what_is_known() {
        let message = |text: &[u8]| Request::parse(text).unwrap_err();
        let unknown = message(br#"{"cmd":"reboot"}"#);
        assert!(unknown.contains("reboot") && unknown.contains("profile_set"), "{unknown}");
        let word = message(br#"{"cmd":"stop_word","word":"pause","scope":"all"}"#);
        assert!(word.contains("halt"), "{word}");
        assert!(message(br#"{"cmd":"profile_set"}"#).contains("name"));
        assert!(message(br#"{"cmd":"status","now":1}"#).contains("now"));
        for garbage in [&b""[..], b"{", b"[]", b"7", b"\xff\xfe\x00", b"{\"cmd\":\"status\"} x"] {
            assert!(Request::parse(garbage).is_err());
        }
    }

    #[test]
    fn what_is_captured_is_for_writers_and_a_stop_word_takes_no_turn() {
        let take = Request::CaptureTake {};
        assert!(take.is_for_writers() && !take.writes() && !take.takes_turns());
        let stop = Request::StopWord { word: Word::Halt, scope: "all".into() };
        assert!(stop.is_for_writers() && !stop.takes_turns());
        let confirm = Request::ConfigConfirm {};
        assert!(confirm.is_for_writers() && confirm.takes_turns());
        assert!(!Request::ConfigGet {}.is_for_writers());
    }

    #[test]
    fn what_is_written_is_what_is_read() {
        for request in [
            Request::Status {},
            Request::ProfileGet {},
            Request::Advice {},
            Request::ProfileSet { name: "a\nb".into() },
            Request::StopWord { word: Word::Resume, scope: "all".into() },
            Request::RegimeGet {},
            Request::RegimePin {
                machine: "drain".into(),
                scope: "class:orders".into(),
                state: "CONTAINMENT".into(),
                length_ns: Some(5),
            },
            Request::RegimeRelease { machine: "drain".into(), scope: "orders".into() },
            Request::RegimeFreeze {},
            Request::Feed { values: vec![] },
            Request::ModeGet {},
            Request::ConfigGet {},
            Request::ConfigApply {
                file: "gw.toml".into(),
                text: ConfigText("a = \"b\"\n".into()),
                confirm_ns: Some(9),
            },
            Request::ConfigConfirm {},
            Request::ConfigRollback { revision: Some(3) },
            Request::ConfigHistory {},
            Request::Stalls { max: Some(9) },
            Request::Log {},
            Request::Flows { class: Some("orders".into()), holding: true, max: Some(3) },
            Request::CaptureStart {
                what: CaptureWhat { dropped: true, count: Some(5), ..CaptureWhat::default() },
            },
            Request::CaptureTake {},
            Request::CaptureStop {},
            Request::ModeSet { mode: Mode::Active, confirm: true },
        ] {
            let line = serde_json::to_vec(&request).unwrap();
            assert!(!line.contains(&b'\n'));
            assert_eq!(Request::parse(&line).unwrap(), request);
        }
    }
}
