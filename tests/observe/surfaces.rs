//! Every figure says whose path it was measured on, and what the host lacks stands there with its reason.

use std::fs::File;
use std::time::Duration;

use model::kpi::catalogue::{self, Arm};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::load::{Observer, Sender, config, interfaces, series, venue};
use crate::sandbox::{sandboxed, work_dir};

#[test]
fn under_tcp_load_the_kernel_arm_speaks_and_says_what_the_host_lacks() {
    let name = "surfaces::under_tcp_load_the_kernel_arm_speaks_and_says_what_the_host_lacks";
    sandboxed(name, &["ip"], || {
        interfaces();
        venue(7000);
        let directory = work_dir().join("timeline");
        let timeline = format!("[timeline]\ndirectory = {directory:?}");
        let config =
            config("egress = \"out\"\nlink = \"10G\"\nthreads = [\"observe-\"]", &timeline);
        let sender = Sender::start(7000, 2_000, Duration::from_micros(200), Some(50_000_000));
        let observer = Observer::start(&config, "10s");
        // Two intervals are over, the observation is not.
        std::thread::sleep(Duration::from_millis(2_500));
        let metrics = observer.get("/metrics");
        let status = observer.get("/v1/status");
        let json = observer.json();
        drop(sender);

        assert!(metrics.ends_with("# EOF\n"));
        let points: Vec<_> = metrics.lines().filter(|line| !line.starts_with('#')).collect();
        assert!(points.iter().all(|line| line.contains("arm=\"kernel\"")), "{metrics}");
        let point = |parts: &[&str]| {
            let found = points.iter().find(|line| parts.iter().all(|part| line.contains(part)));
            found.unwrap_or_else(|| panic!("{parts:?} in {metrics}"))
        };
        for (source, reason) in [("bql", "no_bql"), ("fq", "no_fq"), ("dispatch", "no_dispatch")] {
            let source = format!("source=\"{source}\"");
            let reason = format!("reason=\"{reason}\"");
            point(&["wirepace_observe_source_info{", &source, "state=\"absent\"", &reason]);
        }
        point(&["wirepace_observe_source_info{", "source=\"sockets\"", "state=\"present\""]);
        point(&["wirepace_burstiness_index_bi{", "class=\"orders\"", "port=\"out\""]);
        point(&["wirepace_not_sent_bytes{", "class=\"orders\"", "quantile=\"0.95\""]);
        point(&["wirepace_packets_out_total{", "class=\"orders\""]);
        point(&["wirepace_softnet_processed_total{", "cpu=\"0\""]);
        assert!(status.contains("\"arm\":\"kernel\""));

        assert_eq!(json["arm"], "kernel");
        assert!(json["packets_out"].as_u64().unwrap() > 1_000, "{json:#}");
        assert_eq!(json["capture"]["sockets"], 1, "{json:#}");
        let missing = json["environment"]["missing"].as_array().unwrap();
        assert!(missing.iter().any(|lack| lack["source"] == "bql" && lack["reason"] == "no_bql"));
        assert!(missing.iter().any(|lack| lack["source"] == "fq" && lack["reason"] == "no_fq"));
        assert_eq!(json["environment"]["pacing"], "tcp_internal");
        every_kpi_is_there_or_says_why(&json);
        let bursts = series(&json, "burstiness_index", &[("class", "orders"), ("port", "out")]);
        assert_eq!(
            (bursts["departure"].as_str(), bursts["arrival"].as_str()),
            (Some("modelled"), Some("kernel"))
        );
        assert!(bursts["bi"].as_f64().is_some_and(|bi| bi > 0.0) && bursts["excess"].is_null());
        let back = series(&json, "ingest_gap_ns", &[("class", "back")]);
        assert_eq!(
            (back["departure"].as_str(), back["proxy"].as_bool()),
            (Some("kernel"), Some(true))
        );
        assert_eq!(series(&json, "byte_queue_utilization", &[])["absent"], "no_bql");
        assert_eq!(series(&json, "run_queue_delay_ns", &[])["absent"], "no_thread");

        timeline_has_both(&json);
    });
}

/// Every KPI that an observed host may have is there, with values or the reason of their absence.
fn every_kpi_is_there_or_says_why(json: &serde_json::Value) {
    for kpi in catalogue::all().filter(|kpi| kpi.available && kpi.arms.contains(&Arm::Observe)) {
        let one = series(json, kpi.name, &[("arm", "kernel")]);
        let all = json["kpis"][kpi.name]["series"].as_array();
        for one in all.unwrap_or(&vec![one.clone()]) {
            assert_eq!(one["arm"], "kernel", "{one}");
            let lacks = one.as_object().unwrap().values().any(serde_json::Value::is_null);
            assert!(!lacks || one["absent"].is_string(), "{}: {one}", kpi.name);
        }
    }
}

fn timeline_has_both(json: &serde_json::Value) {
    let file = |table: &str| {
        let path = work_dir().join(format!("timeline/host1-00000001.{table}.parquet"));
        SerializedFileReader::new(File::open(path).unwrap()).unwrap()
    };
    let packets = file("packets").metadata().file_metadata().num_rows();
    assert_eq!(json["timeline"]["packets"], packets);
    assert!(packets > 1_000);
    let features = file("features");
    let mut values = 0;
    for row in features.get_row_iter(None).unwrap() {
        let row = row.unwrap();
        let of = |name: &str| row.get_column_iter().find(|(column, _)| *column == name).unwrap().1;
        assert_eq!(*of("arm"), Field::Str("kernel".to_owned()), "{row}");
        let is_burst = *of("kpi") == Field::Str("burst_bytes".to_owned());
        values += usize::from(is_burst && matches!(of("value"), Field::Double(_)));
    }
    assert!(values > 0);
}
