//! What `/wirepace/...` answers on DPDK's telemetry socket: the last snapshot, as every other surface
//! shows it.
//!
//! The list of numbers is too long for one answer of DPDK, and labels are no names for it:
//! `/wirepace/kpis` gives the names of the list, and `/wirepace/kpis,NAME` the labels and the values of one,
//! in the same order. What does not fit goes on at `next`.

use std::sync::{Arc, Mutex, PoisonError};

use dataplane::telemetry::{
    ANSWER_BYTES_MAX, Answer, Command, Field, LIST_MAX, TEXT_BYTES_MAX, TelemetryError,
};
use model::stop::StopWord;
use serde_json::Value;

use crate::controller::Snapshot;
use crate::registry::{Number, Registry};

/// The commands.
const COMMANDS: [Command; 4] = [
    Command {
        path: c"/wirepace/kpis",
        help: c"Names, or values of one. Parameters: [NAME][,FROM]",
    },
    Command { path: c"/wirepace/status", help: c"State of the gateway. Takes no parameters" },
    Command { path: c"/wirepace/drops", help: c"Ended packets by reason. Takes no parameters" },
    Command {
        path: c"/wirepace/lcore/usage",
        help: c"TSC cycles of the data cores. Takes no parameters",
    },
];

/// The last snapshot, for threads that are not control's. Whoever looks waits for a pointer at most.
#[derive(Debug, Default)]
pub struct Board(Mutex<Option<Arc<Snapshot>>>);

impl Board {
    pub(crate) fn put(&self, snapshot: Arc<Snapshot>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(snapshot);
    }

    /// The last snapshot; `None` before there is one.
    pub fn look(&self) -> Option<Arc<Snapshot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Answers DPDK's telemetry from `board`. EAL has to be up, and started with telemetry.
///
/// # Errors
/// DPDK does not take the commands.
pub fn serve(board: Arc<Board>) -> Result<(), TelemetryError> {
    dataplane::telemetry::serve(
        &COMMANDS,
        Box::new(move |command, parameters| answer(&*board.look()?, command, parameters)),
    )
}

/// The answer to a command; `None`: there is none.
pub fn answer(snapshot: &Snapshot, command: &str, parameters: &str) -> Option<Answer> {
    match command {
        "/wirepace/kpis" => kpis(&snapshot.registry, parameters),
        "/wirepace/status" => Some(status(snapshot)),
        "/wirepace/drops" => Some(drops(&snapshot.registry)),
        "/wirepace/lcore/usage" => Some(lcore_usage(snapshot)),
        _ => None,
    }
}

/// `[NAME][,FROM]`: the names from number FROM on, or the points of NAME.
fn kpis(registry: &Registry, parameters: &str) -> Option<Answer> {
    let (name, from) = parameters.split_once(',').unwrap_or((parameters, "0"));
    let from: usize = from.parse().ok()?;
    if name.is_empty() {
        return Some(Answer::Texts(names(registry, from)));
    }
    Some(Answer::Fields(points(registry.points(name)?.enumerate().skip(from))))
}

/// Names that fit; the last is `,FROM` where there are more.
fn names(registry: &Registry, from: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut bytes = 0;
    for (number, name) in registry.names().enumerate().skip(from) {
        bytes += name.len() + 3;
        if names.len() + 1 == LIST_MAX || bytes > ANSWER_BYTES_MAX - TEXT_BYTES_MAX {
            names.push(format!(",{number}"));
            break;
        }
        names.push(name.to_owned());
    }
    names
}

/// `labels` and `values` of the points that fit, and `next` where there are more. DPDK 22.11 knows
/// counts and texts: values are texts where one of them is no count.
fn points<'a>(
    points: impl Iterator<Item = (usize, (&'a [(String, String)], Number))>,
) -> Vec<(String, Field)> {
    /// A number as a text: `f64` in full is the longest.
    const VALUE_BYTES_MAX: usize = 24;
    let (mut labels, mut numbers, mut next) = (Vec::new(), Vec::new(), None);
    let mut bytes = 0;
    for (number, (pairs, value)) in points {
        let pairs: Vec<String> = pairs.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let text = pairs.join(",");
        bytes += text.len().min(TEXT_BYTES_MAX) + VALUE_BYTES_MAX + 6;
        if labels.len() == LIST_MAX || bytes > ANSWER_BYTES_MAX - TEXT_BYTES_MAX {
            next = Some(number as u64);
            break;
        }
        labels.push(text);
        numbers.push(value);
    }
    let counts: Option<Vec<u64>> = numbers.iter().map(|number| count(*number)).collect();
    let text = |number: &Number| match number {
        Number::Count(n) => n.to_string(),
        Number::Signed(n) => n.to_string(),
        Number::Real(x) => x.to_string(),
    };
    let values =
        counts.map_or_else(|| Field::Texts(numbers.iter().map(text).collect()), Field::Counts);
    let mut fields =
        vec![("labels".to_owned(), Field::Texts(labels)), ("values".to_owned(), values)];
    fields.extend(next.map(|next| ("next".to_owned(), Field::Count(next))));
    fields
}

fn count(number: Number) -> Option<u64> {
    match number {
        Number::Count(n) => Some(n),
        Number::Signed(n) => u64::try_from(n).ok(),
        Number::Real(_) => None,
    }
}

fn status(snapshot: &Snapshot) -> Answer {
    let status = &snapshot.status;
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let list = |list: &Value, key: &str| {
        let values = list.as_array().map(Vec::as_slice).unwrap_or_default();
        values.iter().map(|row| text(&row[key])).collect::<Vec<_>>().join(" ")
    };
    let fields = [
        ("name", text(&status["name"])),
        ("version", text(&status["version"])),
        ("config_digest", text(&status["config_digest"])),
        ("profile", list(&status["cores"], "profile")),
        ("profile_pinned", text(&status["profile"]["pinned"])),
        ("core_phase", list(&status["cores"], "phase")),
        ("ports", list(&status["ports"], "name")),
        ("stop_words", stop_words(&status["stop_words"])),
    ];
    let mut fields: Vec<_> =
        fields.into_iter().map(|(name, text)| (name.to_owned(), Field::Text(text))).collect();
    fields.push(("at_ns".to_owned(), Field::Count(status["at_ns"].as_u64().unwrap_or(0))));
    let counters = ["packets_in", "packets_out", "drops", "early", "held", "samples_lost"];
    for name in counters {
        fields.push((name.to_owned(), Field::Count(sum(&snapshot.registry, name))));
    }
    Answer::Fields(fields)
}

/// "all=halt class:orders=passthrough"; "running" where no scope has another word.
fn stop_words(words: &Value) -> String {
    let words = words.as_object().into_iter().flatten();
    let words: Vec<_> = words
        .map(|(scope, word)| format!("{scope}={}", word.as_str().unwrap_or_default()))
        .collect();
    if words.is_empty() { StopWord::Running.name().to_owned() } else { words.join(" ") }
}

/// Over all points of a name; no point is none of it.
fn sum(registry: &Registry, name: &str) -> u64 {
    let points = registry.points(name).into_iter().flatten();
    points.map(|(_, number)| if let Number::Count(n) = number { n } else { 0 }).sum()
}

fn drops(registry: &Registry) -> Answer {
    let mut fields: Vec<(String, Field)> = Vec::new();
    for (labels, number) in registry.points("drops").into_iter().flatten() {
        let reason = labels.iter().find(|(label, _)| label == "reason");
        let (Some((_, reason)), Number::Count(packets)) = (reason, number) else { continue };
        match fields.iter_mut().find(|(name, _)| name == reason) {
            Some((_, Field::Count(sum))) => *sum += packets,
            _ => fields.push((reason.clone(), Field::Count(packets))),
        }
    }
    fields.sort_by(|(a, _), (b, _)| a.cmp(b));
    Answer::Fields(fields)
}

/// The shape of `/eal/lcore/usage` of later DPDK. Cores are named by their CPUs.
fn lcore_usage(snapshot: &Snapshot) -> Answer {
    let cores = snapshot.status["cores"].as_array().map(Vec::as_slice).unwrap_or_default();
    let cycles = |name: &str, core: &Value| {
        let core = core["core"].to_string();
        let mut points = snapshot.registry.points(name).into_iter().flatten();
        let found = points.find(|(labels, _)| labels.iter().any(|(_, value)| *value == core));
        if let Some((_, Number::Count(cycles))) = found { cycles } else { 0 }
    };
    let cpu = |core: &Value| core["cpu"].as_u64().or(core["core"].as_u64()).unwrap_or(0);
    let counts = |of: &dyn Fn(&Value) -> u64| Field::Counts(cores.iter().map(of).collect());
    Answer::Fields(vec![
        ("lcore_ids".to_owned(), counts(&cpu)),
        ("total_cycles".to_owned(), counts(&|core| cycles("core_cycles", core))),
        ("busy_cycles".to_owned(), counts(&|core| cycles("core_busy_cycles", core))),
    ])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::registry::Provenance;

    fn snapshot(fill: impl Fn(&mut Registry)) -> Snapshot {
        let mut registry = Registry::new();
        fill(&mut registry);
        let status = json!({
            "name": "gw1", "version": "1", "config_digest": "d", "at_ns": 7,
            "profile": {"pinned": null}, "ports": [{"name": "in"}, {"name": "out"}],
            "cores": [
                {"core": 0, "cpu": 5, "phase": "running", "profile": "normal"},
                {"core": 1, "cpu": null, "phase": "ended", "profile": "smooth"},
            ],
        });
        Snapshot {
            status,
            registry: Arc::new(registry),
            provenance: Provenance::default(),
            advice: Value::Null,
            advice_changes: 0,
        }
    }

    fn fields(answer: Option<Answer>) -> Vec<(String, Field)> {
        let Some(Answer::Fields(fields)) = answer else { panic!("{answer:?}") };
        fields
    }

    #[test]
    fn a_list_that_is_too_long_goes_on_where_it_ended() {
        let class = |n: usize| format!("class-{n:03}-{}", "x".repeat(40));
        let snapshot = snapshot(|r| {
            for n in 0..1_000 {
                r.counter("packets_in", "h", &[("class", &class(n))], n as u64);
            }
            (0..700).for_each(|n| r.gauge(&format!("name_{n:03}"), "h", &[], 1_u64));
        });
        let (mut from, mut found) = (0, Vec::new());
        loop {
            let asked = format!("packets_in,{from}");
            let page = fields(answer(&snapshot, "/wirepace/kpis", &asked));
            let bytes: usize = page.iter().map(|(name, field)| field.json_bytes(name)).sum();
            assert!(bytes <= ANSWER_BYTES_MAX, "{bytes}");
            let [(_, Field::Texts(labels)), (_, Field::Counts(values)), next @ ..] = &page[..]
            else {
                panic!("{page:?}")
            };
            assert!(labels.len() == values.len() && labels.len() <= LIST_MAX);
            found.extend(labels.iter().cloned().zip(values.iter().copied()));
            let [(_, Field::Count(next))] = next else { break };
            assert!(*next > from);
            from = *next;
        }
        let expected: Vec<_> =
            (0..1_000).map(|n| (format!("class={}", class(n)), n as u64)).collect();
        assert_eq!(found, expected);

        let (mut from, mut found) = (String::new(), Vec::new());
        loop {
            let answer = answer(&snapshot, "/wirepace/kpis", &from);
            let Some(Answer::Texts(mut names)) = answer else { panic!("{answer:?}") };
            assert!(names.len() <= LIST_MAX);
            let next = names.pop_if(|last| last.starts_with(','));
            found.append(&mut names);
            let Some(next) = next else { break };
            from = next;
        }
        assert_eq!(found, snapshot.registry.names().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_no_count_is_a_text() {
        let snapshot = snapshot(|r| {
            r.gauge("drift", "h", &[("core", "0")], -3_i64);
            r.gauge("drift", "h", &[("core", "1")], 4_i64);
            r.gauge("whole", "h", &[], 4_i64);
            r.gauge("ratio", "h", &[], 0.25);
        });
        let values = |name: &str| fields(answer(&snapshot, "/wirepace/kpis", name))[1].1.clone();
        assert_eq!(values("drift"), Field::Texts(vec!["-3".into(), "4".into()]));
        assert_eq!(values("whole"), Field::Counts(vec![4]));
        assert_eq!(values("ratio"), Field::Texts(vec!["0.25".into()]));
        for wrong in ["absent", "drift,", "drift,x", "drift,1,2"] {
            assert_eq!(answer(&snapshot, "/wirepace/kpis", wrong), None, "{wrong}");
        }
        assert_eq!(answer(&snapshot, "/wirepace/unknown", ""), None);
    }

    #[test]
    fn cores_and_drops_have_their_own_shape() {
        let snapshot = snapshot(|r| {
            for (core, all, busy) in [("0", 100, 40), ("1", 200, 50)] {
                r.counter("core_cycles", "h", &[("core", core)], all);
                r.counter("core_busy_cycles", "h", &[("core", core)], busy);
            }
            r.counter("drops", "h", &[("port", "a"), ("reason", "stale")], 1);
            r.counter("drops", "h", &[("port", "b"), ("reason", "runt")], 2);
            r.counter("drops", "h", &[("port", "b"), ("reason", "stale")], 3);
        });
        let usage = fields(answer(&snapshot, "/wirepace/lcore/usage", ""));
        let expected =
            [("lcore_ids", [5, 1]), ("total_cycles", [100, 200]), ("busy_cycles", [40, 50])];
        assert_eq!(usage, expected.map(|(name, n)| (name.to_owned(), Field::Counts(n.to_vec()))));
        let drops = fields(answer(&snapshot, "/wirepace/drops", ""));
        let expected = [("runt", 2), ("stale", 4)];
        assert_eq!(drops, expected.map(|(name, n)| (name.to_owned(), Field::Count(n))));
        let status = fields(answer(&snapshot, "/wirepace/status", ""));
        let of = |wanted: &str| status.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
        assert_eq!(of("profile"), Field::Text("normal smooth".into()));
        assert_eq!(of("ports"), Field::Text("in out".into()));
        assert_eq!((of("drops"), of("packets_in")), (Field::Count(6), Field::Count(0)));
    }
}
