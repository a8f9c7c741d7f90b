//! Tables that are not what they should be: named errors, counted rows, absent values.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::common::run;

const PARENTS: &str = "parent_id,symbol,side,target_quantity,urgency,t_arrival,t_end,decision_price\n\
    1,SYM0,1,100,10,1000,9000000000,50.0\n";
const CHILDREN: &str = "correlation_id,parent_id,gateway,class,t_decision,t_dispatch,quantity,passive\n\
    11,1,gw1,orders,2000000000,2000005000,40,true\n\
    12,1,gw1,orders,3000000000,3000005000,60,false\n";
const FILLS: &str = "fill_id,correlation_id,t_fill,quantity,price\n21,11,2500000000,40,50.01\n";
const QUOTES: &str = "correlation_id,fill_id,point,time,mid\n11,,decision,2000000000,50.0\n";
const PACKETS: &str = "correlation_id,class,kind,t_dispatch,t_wire,port,profile,mode,weight\n\
    11,orders,order,2000005100,2000006100,venue-a,normal,shadow,1\n";
const FEATURES: &str = "window_from,window_to,class,kpi,part,value_name,value\n\
    0,1000000000,orders,dispatch_to_wire_ns,total,p95,5000\n";
const REGIME_LOG: &str = "time,scope,machine,from,to\n\
    1000000000,class:orders,segmentation,WIRE_CLEAN,BURSTING\n";

/// A data set that can be read, with `changed` in the place of the file of that name.
fn data(changed: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let timeline = dir.path().join("timelines/gateway=gw1/date=1970-01-01");
    fs::create_dir_all(&timeline).expect("directories");
    let text = |name: &str, usual: &str| {
        let text = changed.iter().find(|(file, _)| *file == name).map_or(usual, |(_, text)| text);
        text.to_owned()
    };
    for (name, usual) in
        [("parents", PARENTS), ("children", CHILDREN), ("fills", FILLS), ("quotes", QUOTES)]
    {
        fs::write(dir.path().join(format!("{name}.csv")), text(name, usual)).expect("a file");
    }
    for (name, usual) in [("packets", PACKETS), ("features", FEATURES), ("regime_log", REGIME_LOG)]
    {
        fs::write(timeline.join(format!("gw1.{name}.csv")), text(name, usual)).expect("a file");
    }
    dir
}

struct Outcome {
    code: Option<i32>,
    json: Value,
    error: String,
}

fn outcome(dir: &Path) -> Outcome {
    let said = run(&["outcome", "--json", "--in", ".", "--out", "result"], dir);
    Outcome { code: said.code, json: said.json(), error: said.error }
}

fn refused(dir: &TempDir, needles: &[&str]) {
    let said = outcome(dir.path());
    assert_eq!(said.code, Some(1), "{}", said.error);
    for needle in needles {
        assert!(said.error.contains(needle), "{needle:?} in {}", said.error);
    }
}

#[test]
fn a_small_data_set_of_csv_has_absent_kpis_with_reasons() {
    let dir = data(&[]);
    let said = outcome(dir.path());
    assert_eq!(said.code, Some(0), "{}", said.error);
    let btu = &said.json["kpis"]["BTU"];
    assert_eq!(btu["cost_bps"], Value::Null);
    assert_eq!(btu["identified"], Value::Bool(false));
    assert_eq!(btu["reasons"][0], "fewer than 50 units in an arm");
    assert_eq!(said.json["matched"]["children"], 2);
    assert_eq!(said.json["matched"]["by"]["id"], 1);
    assert_eq!(said.json["matched"]["by"]["unmatched"], 1);
    assert!(said.json["bad_rows"].as_object().expect("an object").is_empty());
}

#[test]
fn bad_rows_are_counted_and_listed_with_their_lines() {
    let dir = data(&[
        (
            "parents",
            "parent_id,symbol,side,target_quantity,urgency,t_arrival,t_end,decision_price\n\
             1,SYM0,1,100,10,1000,9000000000,50.0\n\
             2,SYM0,7,100,10,1000,9000000000,50.0\n\
             3,SYM0,1,-5,10,1000,9000000000,50.0\n\
             4,,1,100,10,1000,9000000000,50.0\n\
             5,SYM0,1,100,10,1000,9000000000,NaN\n",
        ),
        (
            "children",
            "correlation_id,parent_id,gateway,class,t_decision,t_dispatch,quantity,passive\n\
             11,1,gw1,orders,2000000000,2000005000,40,true\n\
             12,1,gw1,orders,yesterday,3000005000,60,false\n\
             13,1,gw1,orders,3000000000,3000005000,60\n\
             14,1,gw1,orders,3000000000,3000005000,60,true\n\
             14,1,gw1,orders,3000000000,3000005000,60,true\n\
             15,99,gw1,orders,3000000000,3000005000,60,true\n",
        ),
    ]);
    let said = outcome(dir.path());
    assert_eq!(said.code, Some(0), "{}", said.error);
    let parents = &said.json["bad_rows"]["parents"];
    let reasons = &parents["reasons"];
    assert_eq!(reasons["side is neither 1 nor -1"], 1);
    assert_eq!(reasons["target_quantity is not above 0"], 1);
    assert_eq!(reasons["symbol is missing"], 1);
    assert_eq!(reasons["decision_price is not finite"], 1);
    let lines: Vec<u64> = parents["listed"]
        .as_array()
        .expect("rows")
        .iter()
        .filter_map(|r| r["line"].as_u64())
        .collect();
    assert_eq!(lines, [3, 4, 5, 6]);
    let children = &said.json["bad_rows"]["children"];
    assert_eq!(children["reasons"]["t_decision is no time"], 1);
    assert_eq!(children["reasons"]["has another number of fields than the 8 of the header"], 1);
    assert_eq!(children["reasons"]["correlation_id occurs more than once"], 2);
    assert_eq!(children["reasons"]["parent_id is not in parents"], 1);
    assert_eq!(children["listed"][0]["line"], 3);
    assert!(children["listed"][0]["file"].as_str().expect("a name").ends_with("children.csv"));
    assert_eq!(said.json["matched"]["children"], 1);
}

#[test]
fn a_missing_table_or_column_is_named() {
    let dir = data(&[]);
    fs::remove_file(dir.path().join("fills.csv")).expect("it was there");
    refused(&dir, &["no table `fills`"]);
    let dir = data(&[("quotes", "correlation_id,point,time\n11,decision,1\n")]);
    refused(&dir, &["quotes.csv", "no column `mid`"]);
    let empty = TempDir::new().expect("a directory");
    refused(&empty, &["no table `parents`"]);
}

#[test]
fn what_is_no_parquet_is_named() {
    let dir = data(&[]);
    let path: PathBuf = dir.path().join("fills.parquet");
    fs::remove_file(dir.path().join("fills.csv")).expect("it was there");
    fs::write(&path, "PAR1 but not really").expect("a file");
    refused(&dir, &["fills.parquet"]);
    fs::write(&path, "").expect("a file");
    refused(&dir, &["fills.parquet"]);
}

#[test]
fn a_timeline_outside_of_its_partition_is_named() {
    let dir = data(&[]);
    let stray = dir.path().join("timelines/stray.packets.csv");
    fs::write(stray, PACKETS).expect("a file");
    refused(&dir, &["stray.packets.csv", "gateway=NAME/date=YYYY-MM-DD"]);
}

#[test]
fn no_child_at_all_is_an_error_and_no_panic() {
    let dir = data(&[(
        "children",
        "correlation_id,parent_id,gateway,class,t_decision,t_dispatch,quantity,passive\n",
    )]);
    refused(&dir, &["no child order can be used"]);
}

#[test]
fn rows_with_the_id_of_one_child_are_ambiguous() {
    let dir = data(&[(
        "packets",
        "correlation_id,class,kind,t_dispatch,t_wire,port,profile,mode,weight\n\
         11,orders,order,2000005100,2000006100,venue-a,normal,shadow,1\n\
         11,orders,order,2100005100,2100006100,venue-a,normal,shadow,1\n",
    )]);
    let said = outcome(dir.path());
    assert_eq!(said.json["matched"]["by"]["ambiguous"], 1, "{}", said.error);
}

#[test]
fn an_acknowledgement_and_a_retransmission_do_not_hide_an_order() {
    let children = "correlation_id,parent_id,gateway,class,flow_id,tcp_end_seq,t_decision,t_dispatch,\
        quantity,passive\n\
        11,1,gw1,orders,7,500,2000000000,2000005000,40,true\n";
    // The order, its acknowledgement of what the venue said, and the order again 2 ms later.
    let packets = "flow_id,tcp_end_seq,messages,class,kind,t_dispatch,t_wire,port,profile,mode,weight\n\
        7,500,1,orders,mixed,2000005100,2000006100,venue-a,normal,shadow,1\n\
        7,500,0,orders,mixed,2000305100,2000306100,venue-a,normal,shadow,1\n\
        7,500,1,orders,mixed,2002005100,2002006100,venue-a,normal,shadow,1\n";
    let dir = data(&[("children", children), ("packets", packets)]);
    let said = outcome(dir.path());
    assert_eq!(said.json["matched"]["by"]["sequence"], 1, "{} {}", said.json, said.error);
}

#[test]
fn ids_that_are_missing_are_counted_and_rows_without_one_are_found_by_their_dispatch() {
    let dir = data(&[
        (
            "children",
            "correlation_id,parent_id,gateway,class,t_decision,t_dispatch,quantity,passive\n\
             ,1,gw1,orders,2000000000,2000005000,40,true\n\
             12,1,gw1,orders,3000000000,3000005000,60,false\n",
        ),
        (
            "packets",
            "correlation_id,class,kind,t_dispatch,t_wire,port,profile,mode,weight\n\
             ,orders,order,3000005100,3000006100,venue-a,normal,shadow,1\n",
        ),
        ("fills", "fill_id,correlation_id,t_fill,quantity,price\n21,,2500000000,40,50.01\n"),
    ]);
    let said = outcome(dir.path());
    assert_eq!(said.code, Some(0), "{}", said.error);
    assert_eq!(said.json["bad_rows"]["children"]["reasons"]["correlation_id is missing"], 1);
    assert_eq!(said.json["bad_rows"]["fills"]["reasons"]["correlation_id is missing"], 1);
    assert_eq!(said.json["matched"]["by"]["dispatch"], 1);
}

#[test]
fn empty_timelines_leave_all_kpis_absent() {
    let header = |text: &str| format!("{}\n", text.lines().next().unwrap_or_default());
    let (packets, features) = (header(PACKETS), header(FEATURES));
    let log = header(REGIME_LOG);
    let dir = data(&[("packets", &packets), ("features", &features), ("regime_log", &log)]);
    let said = outcome(dir.path());
    assert_eq!(said.code, Some(0), "{}", said.error);
    let kpis = said.json["kpis"].as_object().expect("an object");
    assert!(kpis.values().all(|kpi| kpi["cost_bps"].is_null() && kpi["identified"] == false));
    assert_eq!(said.json["matched"]["by"]["unmatched"], 2);
}

#[test]
fn clocks_of_gateways_that_disagree_are_named() {
    let other = "12,1,gw2,orders,3000000000,3000005000,60,false\n";
    let dir = data(&[(
        "children",
        &format!("{}{other}", &CHILDREN[..CHILDREN.rfind("12,").expect("the second")]),
    )]);
    let timeline = dir.path().join("timelines/gateway=gw2/date=1970-01-01");
    fs::create_dir_all(&timeline).expect("directories");
    let ahead = "correlation_id,class,kind,t_dispatch,t_wire,port,profile,mode,weight\n\
        12,orders,order,3002005000,3002006000,venue-a,normal,shadow,1\n";
    fs::write(timeline.join("gw2.packets.csv"), ahead).expect("a file");
    fs::write(timeline.join("gw2.features.csv"), FEATURES).expect("a file");
    fs::write(timeline.join("gw2.regime_log.csv"), REGIME_LOG).expect("a file");
    let said = outcome(dir.path());
    assert_eq!(said.json["clock_offsets_ns"]["gw2"], 2_000_000, "{} {}", said.json, said.error);
    assert_eq!(said.json["clock_offsets_ns"]["gw1"], Value::Null);
}

#[test]
fn bad_usage_is_told_apart() {
    let dir = TempDir::new().expect("a directory");
    let run = |args: &[&str]| run(args, dir.path());
    let said = run(&["generate", "--out", "x", "--seed", "1", "--effect", "NOPE=3"]);
    assert_eq!(said.code, Some(2));
    assert!(said.error.contains("QLP, BTU, BOT"), "{}", said.error);
    assert_eq!(run(&["generate", "--out", "x", "--seed", "1", "--effect", "BTU=-3"]).code, Some(2));
    assert_eq!(run(&["outcome", "--in", "x"]).code, Some(2));
}
