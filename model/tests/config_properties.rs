//! Whatever stands in a config file, it is read or refused, never a panic; and every number with a
//! unit is read back as it was written.
#![allow(clippy::unwrap_used)]

use model::config::units::{
    Burst, format_bit_rate, format_message_rate, format_size, parse_bit_rate, parse_burst,
    parse_duration, parse_message_rate, parse_size,
};
use model::config::{Config, report, report_json, underlined};
use model::time::Nanos;
use proptest::prelude::*;

const GATEWAY: &str = include_str!("../../configs/gateway.toml");

/// Reads `text` and uses whatever comes out of it.
fn exercise(text: &str) {
    match Config::from_toml("f.toml", text) {
        Ok(config) => {
            assert!(!report(&config).is_empty());
            assert!(report_json(&config).is_ok());
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(underlined(&errors, text).lines().count() >= 4);
            // A place is a place in the text, or just behind its last character.
            let lines: Vec<&str> = text.split('\n').collect();
            for error in errors {
                let line = lines.get(error.line - 1).unwrap_or_else(|| panic!("{error}"));
                assert!(error.column <= line.chars().count() + 1, "{error}");
            }
        }
    }
}

/// Texts that a value of the config might be.
fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-+0-9]{1,20}",
        "\"[a-z0-9./ :-]{0,12}\"",
        "\"[0-9]{1,19}(\\.[0-9]{0,4})? ?(ns|us|s|min|G|M|k|/s|B|KiB|GiB|packets|bit/s)\"",
        "\"(unlimited|off|normal|order|mixed|venue|inside|drop|capture|net_ring0|tcp)\"",
        Just("true".to_owned()),
        Just("[]".to_owned()),
        Just("{ name = \"ü\" }".to_owned()),
        Just("1979-05-27T07:32:00Z".to_owned()),
    ]
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        exercise(&text);
    }

    #[test]
    fn any_text_in_the_alphabet_of_toml_is_read_or_refused(text in "[\\[\\]{}=\"'#.,a-z0-9\n\t ü-]{0,120}") {
        exercise(&text);
    }

    #[test]
    fn a_config_with_lines_lost_is_read_or_refused(
        lost in proptest::collection::vec(any::<prop::sample::Index>(), 1..6),
    ) {
        let mut lines: Vec<&str> = GATEWAY.lines().collect();
        for index in lost {
            lines.remove(index.index(lines.len()));
        }
        exercise(&lines.join("\n"));
    }

    #[test]
    fn a_config_with_tables_lost_is_read_or_refused(
        lost in proptest::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let mut tables: Vec<&str> = GATEWAY.split("\n\n").collect();
        for index in lost {
            tables.remove(index.index(tables.len()));
        }
        exercise(&tables.join("\n\n"));
    }

    #[test]
    fn a_config_with_other_values_is_read_or_refused(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), value()), 1..4),
    ) {
        let mut lines: Vec<String> = GATEWAY.lines().map(str::to_owned).collect();
        let keys: Vec<usize> = (0..lines.len()).filter(|line| lines[*line].contains(" = ")).collect();
        for (index, value) in changes {
            let line = &mut lines[keys[index.index(keys.len())]];
            let key = line.split(" = ").next().unwrap_or_default().replace("# ", "");
            *line = format!("{key} = {value}");
        }
        exercise(&lines.join("\n"));
    }

    #[test]
    fn a_size_reads_back(bytes in any::<u64>(), shift in 0u32..64) {
        let bytes = bytes >> shift;
        prop_assert_eq!(parse_size(&format_size(bytes)), Ok(bytes));
    }

    #[test]
    fn a_bit_rate_reads_back(rate in any::<u64>(), shift in 0u32..64, zeros in 0u32..10) {
        let rate = (rate >> shift) / 10u64.pow(zeros) * 10u64.pow(zeros);
        prop_assert_eq!(parse_bit_rate(&format_bit_rate(rate)), Ok(rate));
    }

    #[test]
    fn a_message_rate_reads_back(rate in any::<u64>()) {
        prop_assert_eq!(parse_message_rate(&format_message_rate(rate)), Ok(rate));
    }

    #[test]
    fn a_duration_reads_back(nanos in any::<u64>(), zeros in 0u32..10) {
        let nanos = nanos / 10u64.pow(zeros) * 10u64.pow(zeros);
        prop_assert_eq!(parse_duration(&Nanos(nanos).to_string()), Ok(Nanos(nanos)));
    }

    #[test]
    fn a_burst_reads_back(count in 1u64..u64::MAX, unit in 0..3) {
        let burst = match unit {
            0 => Burst::Bytes(count),
            1 => Burst::Packets(count),
            _ => Burst::Time(Nanos(count)),
        };
        prop_assert_eq!(parse_burst(&burst.to_string()), Ok(burst));
    }

    #[test]
    fn a_fraction_is_exact(whole in 0u64..1_000_000, thousandths in 0u64..1000) {
        let text = format!("{whole}.{thousandths:03}us");
        prop_assert_eq!(parse_duration(&text), Ok(Nanos(whole * 1000 + thousandths)));
        let text = format!("{whole}.{thousandths:03}kB");
        prop_assert_eq!(parse_size(&text), Ok(whole * 1000 + thousandths));
    }

    #[test]
    fn any_text_is_a_unit_or_refused(text in any::<String>()) {
        let _ = parse_duration(&text);
        let _ = parse_bit_rate(&text);
        let _ = parse_message_rate(&text);
        let _ = parse_size(&text);
        let _ = parse_burst(&text);
    }
}
