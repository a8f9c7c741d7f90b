//! The keys that a running gateway can take.

/// Values of control alone: table and field of the checked config, which the file calls alike.
pub(super) const CONTROL: [[&str; 2]; 3] =
    [["gateway", "core_stall"], ["gateway", "stall_threshold"], ["control", "lease"]];

/// Keys of `[[venue_limit]]`, as far as its windows have room.
const LIMIT: [&str; 5] = ["messages", "share", "margin", "burst", "cancel_reserve"];

/// Keys of `[regime]` that its loop can go by from one tick to the next.
const REGIME: [&str; 11] = [
    "absent_release",
    "latch",
    "pin",
    "max_age",
    "guard_budget",
    "guard_priority",
    "enforce_churn_cap",
    "churn_cap",
    "sessions_min",
    "parents_min",
    "days_min",
];

/// Of `[[regime.machine]]`, whose instances stay in their states.
const MACHINE: [&str; 5] = ["confirm", "release", "dwell", "latch", "widen"];

/// Of `[[regime.machine.state]]`.
const STATE: [&str; 4] = ["enter", "exit", "profile", "advice"];

/// Keys of `[[class]]` that make its table of the profile `normal`.
const CLASS: [&str; 25] = [
    "max_hold",
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
        ["venue_limit", key] => LIMIT.contains(key),
        ["profile", "class" | "port", ..] => true,
        ["regime", "p_compressed_drain", ..] => true,
        ["regime", "machine", "state", key] => STATE.contains(key),
        ["regime", "machine", key] => MACHINE.contains(key),
        ["regime", key] => REGIME.contains(key),
        [table, key] => CONTROL.contains(&[*table, *key]),
        _ => false,
    }
}
