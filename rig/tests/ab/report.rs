//! What stands in the two files.

use std::fs;
use std::path::Path;

use model::kpi::catalogue;
use rig::ab::report;
use rig::ab::result::RunResult;
use serde_json::Value;

use crate::made_up::{KERNEL, Like, World, run};

/// Little jitter, and a core that polls.
const WIREPACE: Like = Like { gap_error_ns: 6_000.0, excess: 1.0, cpu_ns: 48_000.0, ..KERNEL };

fn whole() -> RunResult {
    run(World { is_short: false, void_one_in: 5, ..World::new(1, WIREPACE) })
}

fn written(name: &str, run: &RunResult) -> (Value, String) {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    report::write(run, &directory).unwrap();
    let json = fs::read_to_string(directory.join("report.json")).unwrap();
    let page = fs::read_to_string(directory.join("report.html")).unwrap();
    (serde_json::from_str(&json).unwrap(), page)
}

#[test]
fn every_arm_has_every_kpi_of_the_catalogue_or_its_reason() {
    let (json, page) = written("whole", &whole());
    let workload = &json["questions"][0]["workloads"][0];
    let figures = workload["figures"].as_array().unwrap();
    let absent = workload["absent"].as_array().unwrap();
    for kpi in catalogue::all() {
        let rows: Vec<&Value> = figures.iter().filter(|row| row["kpi"] == kpi.name).collect();
        for row in &rows {
            let arms = row["arms"].as_array().unwrap();
            assert_eq!(arms.len(), 4, "{row}");
            let told = |arm: &&Value| arm["median"].is_number() != arm["absent"].is_string();
            assert!(arms.iter().all(|arm| told(&arm)), "{row}");
        }
        let reasons = absent.iter().filter(|lack| lack["kpi"] == kpi.name);
        let reasons: Vec<_> = reasons.map(|lack| lack["reason"].as_str().unwrap()).collect();
        assert_eq!(reasons.len(), usize::from(rows.is_empty()), "{}", kpi.name);
        assert!(page.contains(kpi.name), "{} on the page", kpi.name);
    }
}

#[test]
fn the_ratio_of_the_gap_error_stands_there_against_each_arm_with_its_interval() {
    let (json, _) = written("ratios", &whole());
    let figures = json["questions"][0]["workloads"][0]["figures"].as_array().unwrap();
    let gap_error = figures
        .iter()
        .find(|row| row["kpi"] == "wire_cadence_variability_ns" && row["value"] == "p99");
    let against = gap_error.unwrap()["against"].as_array().unwrap();
    let expected = [("sender", 6.0 / 9.0), ("kernel", 6.0 / 80.0), ("kernel-none", 6.0 / 900.0)];
    assert_eq!(against.len(), expected.len());
    for (found, (arm, ratio)) in against.iter().zip(expected) {
        assert_eq!(found["arm"], arm);
        let near =
            |value: &Value, factor: f64| (value.as_f64().unwrap() / ratio).ln().abs() < factor;
        assert!(near(&found["ratio"], 0.2), "{found}");
        let interval = found["ratio_interval"].as_array().unwrap();
        assert!(interval.iter().all(|end| near(end, 0.4)), "{found}");
    }
    assert_eq!(json["verdict"]["outcome"], "traded");
    let gates = json["verdict"]["judged"][0]["without_void_blocks"]["gates"].as_array().unwrap();
    let cpu = gates.iter().find(|gate| gate["kpi"] == "cpu_ns_per_packet").unwrap();
    assert_eq!((cpu["finding"].as_str(), cpu["role"].as_str()), (Some("fails"), Some("guard")));
    assert_eq!(json["header"]["seed"], 1);
    let proxies: Vec<_> = figures.iter().filter(|row| row["kpi"] == "ingest_gap_ns").collect();
    assert!(!proxies.is_empty());
    for against in proxies.iter().flat_map(|row| row["against"].as_array().unwrap()) {
        assert!(against["ratio"].is_null() && against["standing"] == "proxy", "{against}");
    }
}

/// Nothing is fetched, no script is needed, and what the run was told cannot become a tag.
#[test]
fn the_page_stands_by_itself() {
    let mut run = whole();
    run.questions[0].arms[1].title = "<script>alert(1)</script>".to_owned();
    run.header.not_measured.push("a & b".to_owned());
    let (_, page) = written("alone", &run);
    for foreign in ["<script", "http:", "src=", "@import", "<link", "url("] {
        let found = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(foreign), "{foreign}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)") && page.contains("a &amp; b"));
    let at = |said: &str| page.find(said).unwrap_or_else(|| panic!("{said}"));
    let order = [
        "traded",
        "The run had 2 CPUs",
        "fq not tested here",
        "What this run does not measure",
        "because a data core polls",
        "Where other arms were better",
        "Gap error: share of gaps",
        "All figures",
        "Environment",
        "How to reproduce",
    ];
    assert!(order.windows(2).all(|two| at(two[0]) < at(two[1])));
    assert!(page.contains("--quick --seed 1"));
    // Six pictures, each told in words too.
    assert_eq!(page.matches("<svg").count(), 6);
    assert_eq!(page.matches("role=\"img\"").count(), 6);
}

/// Two workloads: a row for each at a glance, and why CPU does not hold is said once.
#[test]
fn several_workloads_are_seen_at_a_glance() {
    let mut run = whole();
    let mut second = run.questions[0].workloads[0].clone();
    second.name = "bursty-orders".to_owned();
    run.questions[0].workloads.push(second);
    let (_, page) = written("several", &run);
    let glance = page.split("<h2>Workloads</h2>").nth(1).unwrap().split("</table>").next().unwrap();
    for workload in ["steady-orders", "bursty-orders"] {
        let row = glance.split("<tr>").find(|row| row.contains(workload)).unwrap();
        assert!(row.contains("traded") && row.contains("CPU per packet"), "{row}");
        assert_eq!(row.matches("better").count(), 2, "{row}");
    }
    assert_eq!(page.matches("because a data core polls").count(), 1);
    let (_, one) = written("one-workload", &whole());
    assert!(!one.contains("<h2>Workloads</h2>"));
    assert_eq!(one.matches("because a data core polls").count(), 1);
}

#[test]
fn where_another_arm_was_better_it_is_said() {
    let (_, page) = written("others", &whole());
    let better = page.split("Where other arms were better").nth(1).unwrap();
    let better = better.split("<h2>").next().unwrap();
    assert!(!better.contains("wire_cadence_variability_ns"), "there wirepace is better");
    let (seen, folded) = better.split_once("<details><summary>").unwrap();
    // 48 us against 9: the furthest of all, so the first that is seen.
    let first = seen.split("</tr>").nth(1).unwrap();
    assert!(first.contains("cpu_ns_per_packet mean") && first.contains("5."), "{first}");
    assert!(folded.starts_with("steady-orders, who-paces: "), "{folded}");
    for arm in ["sender", "kernel", "kernel-none"] {
        assert!(folded.contains(&format!("<td data-of=\"{arm}\">5.")), "{arm}: {folded}");
    }
}

#[test]
fn a_run_of_void_blocks_alone_shows_them_and_says_so() {
    let mut run = whole();
    for block in &mut run.questions[0].workloads[0].blocks {
        block.void.push(rig::ab::result::Void::SenderLate { p99_ns: 1_000_000 });
    }
    let (json, page) = written("void", &run);
    assert_eq!(json["verdict"]["outcome"], "not_settled");
    let void_only = &json["questions"][0]["workloads"][0]["is_void_only"];
    assert_eq!(*void_only, serde_json::json!([true, true, true, true]));
    assert!(page.contains("shown all the same, of: sender, kernel, kernel-none, wirepace"));
    assert!(page.contains("12 pairs of void blocks, there are no others"));
    assert_eq!(page.matches("<svg").count(), 6);
}

/// A series without any value, as of a device that there is not.
#[test]
fn a_series_without_a_value_still_tells_its_reason() {
    let mut run = whole();
    for block in &mut run.questions[0].workloads[0].blocks {
        let name = "effective_blocked_time_us".to_owned();
        let absent = Some("inside_only".to_owned());
        block.kpis.push(rig::ab::result::Kpi { name, absent, ..Default::default() });
    }
    let (json, page) = written("reasons", &run);
    let figures = json["questions"][0]["workloads"][0]["figures"].as_array().unwrap();
    let row = figures.iter().find(|row| row["kpi"] == "effective_blocked_time_us").unwrap();
    let arms = row["arms"].as_array().unwrap();
    assert!(arms.iter().all(|arm| arm["absent"] == "inside_only"), "{row}");
    assert!(page.contains("absent: inside_only"));
}

#[test]
fn a_run_without_a_block_has_a_report() {
    let mut nothing = RunResult::default();
    nothing.header.not_comparable = Some("no network namespaces".to_owned());
    let (json, page) = written("nothing", &nothing);
    assert_eq!(json["verdict"]["outcome"], "not_comparable");
    assert_eq!(json["verdict"]["holds"], false);
    assert!(page.contains("no network namespaces"));
    // Arms that never ran a block.
    let mut run = whole();
    run.questions[0].workloads[0].blocks.clear();
    let (json, _) = written("no-blocks", &run);
    assert_eq!(json["verdict"]["outcome"], "not_comparable");
}
