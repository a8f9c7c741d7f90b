//! The keys that a running gateway can take.

/// Values of control alone: table and field of the checked config, which the file calls alike.
pub(super) const CONTROL: [[&str; 2]; 4] = [
    ["gateway", "core_stall"],
    ["gateway", "stall_threshold"],
    ["control", "lease"],
    ["regime", "pin"],
];

/// Keys of `[[class]]` that make its table of the profile `normal`. `max_hold` is none of them: figures
/// are made by it.
const CLASS: [&str; 24] = [
    "rate",
    "burst",
    "messages",
    "message_burst",
    "flow_rate",
    "flow_burst",
    "flow_messages",
    "flow_message_burst",
    "priority",
    "queue_packets",
    "queue_bytes",
    "on_overflow",
    "reserved",
    "weight",
    "flow_floor",
    "lateness",
    "late_after",
    "jitter",
    "hold_frames",
    "hold_time",
    "fan_out",
    "horizon",
    "on_horizon",
    "ecn_threshold",
];

/// Keys of `[[port]]` that make its table of the profile `normal`.
const PORT: [&str; 5] = ["rate", "burst", "messages", "message_burst", "inflight_limit"];

/// Whether the key at `path`, tables first and without their names, is one of them.
pub(super) fn is_live(path: &[&str]) -> bool {
    match path {
        ["class", key] => CLASS.contains(key),
        ["port", key] => PORT.contains(key),
        ["profile", "class" | "port", ..] => true,
        [table, key] => CONTROL.contains(&[*table, *key]),
        _ => false,
    }
}
