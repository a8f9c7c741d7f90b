//! A short campaign of every target, the same each time.

use fuzz::{Campaign, Found, Target, targets};

/// Runs, the corpus apart.
const RUNS: u64 = 5_000;

fn campaign(target: &'static Target, seed: u64) -> Campaign {
    let mut campaign = Campaign::new(target, seed).unwrap_or_else(|found| broken(target, &found));
    campaign.go_on(RUNS).unwrap_or_else(|found| broken(target, &found));
    campaign
}

fn broken(target: &Target, found: &Found) -> ! {
    panic!("{}: {found:02x?}", target.name)
}

#[test]
fn every_target_keeps_its_laws() {
    for target in &targets::ALL {
        let corpus = (target.corpus)().len();
        assert!(corpus > 3, "{}: {corpus} inputs to begin with", target.name);
        let campaign = campaign(target, 20_261_130);
        assert_eq!(campaign.runs(), corpus as u64 + RUNS);
        // It gets beyond the first check.
        assert!(campaign.answers() > 8, "{}: {} answers", target.name, campaign.answers());
    }
}

#[test]
fn a_campaign_is_a_function_of_its_seed() {
    let target = targets::find("frame").expect("it is there");
    let [one, again] = [7, 7].map(|seed| campaign(target, seed).answers());
    assert_eq!(one, again);
}

/// Breaks on a length that leads out of what is there, which no input of its corpus has.
static BREAKS: Target = Target {
    name: "breaks",
    corpus: || vec![vec![2, b'a', b'b'], vec![0]],
    run: |bytes| {
        let [length, rest @ ..] = bytes else { return "empty".to_owned() };
        let taken = &rest[..usize::from(*length)];
        format!("{} bytes", taken.len())
    },
};

#[test]
fn what_breaks_is_found_and_handed_over() {
    let mut campaign = Campaign::new(&BREAKS, 1).expect("its corpus is good");
    let found = campaign.go_on(RUNS).expect_err("it breaks");
    assert!(found.why.contains("range"), "{found:?}");
    assert_eq!(fuzz::answer(&BREAKS, &found.input), Err(found));
}
