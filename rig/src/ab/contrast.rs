//! One figure of two arms: what it is in each, how far they are apart, and how sure that is.
//!
//! A figure is one value of one series of a KPI, such as the p99 of `wire_cadence_variability_ns` of a class.
//! Each block gives one number, two arms of one round a pair, and [`compare`] does the rest: on the numbers
//! for the shift, on their logarithms for the ratio.

use super::compare::{CompareError, Estimate, compare, estimate, least_p_value};
use super::plan::{Arm as Side, Plan};
use super::result::{Block, Kpi};

/// Which value of which series.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Figure {
    /// Name of the KPI.
    pub name: String,
    /// Class.
    pub class: Option<String>,
    /// Part of the KPI.
    pub part: Option<String>,
    /// Name of the value.
    pub value: String,
}

/// What may be said of a figure across arms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It was measured in both.
    Measured,
    /// It holds by construction in one of them.
    StructuralZero,
    /// It only stands in for what is meant in one of them.
    Proxy,
}

/// How two arms differ in a figure: B against A.
#[derive(Clone, Debug, PartialEq)]
pub struct Contrast {
    /// The figure.
    pub figure: Figure,
    /// Whether it may be held against the other arm at all.
    pub standing: Standing,
    /// Pairs in which both have it.
    pub pairs: usize,
    /// Medians over those pairs.
    pub medians: Option<(f64, f64)>,
    /// B - A.
    pub shift: Option<Estimate>,
    /// B / A; `None` where a block has 0 or less, and of proxies.
    pub ratio: Option<Estimate>,
    /// How often chance alone makes a shift as large.
    pub p_value: Option<f64>,
    /// Least that any shift could have had with so many pairs in these orders.
    pub p_value_least: Option<f64>,
    /// Why there is no shift.
    pub absent: Option<String>,
}

/// How a comparison is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct How {
    /// Of intervals.
    pub confidence: f64,
    /// For orders that are drawn where they are too many.
    pub seed: u64,
}

/// Blocks of A and of B in one round, and whether A came first.
pub type Pair<'a> = (&'a Block, &'a Block, bool);

impl Figure {
    /// The value `value` of `kpi`.
    pub fn of(kpi: &Kpi, value: &str) -> Self {
        Self {
            name: kpi.name.clone(),
            class: kpi.class.clone(),
            part: kpi.part.clone(),
            value: value.to_owned(),
        }
    }

    /// Its series in `block`.
    pub fn series<'a>(&self, block: &'a Block) -> Option<&'a Kpi> {
        let fits =
            |kpi: &&Kpi| kpi.name == self.name && kpi.class == self.class && kpi.part == self.part;
        block.kpis.iter().find(fits)
    }

    /// What it is in `block`.
    pub fn in_block(&self, block: &Block) -> Option<f64> {
        let values = &self.series(block)?.values;
        values.iter().find(|(name, _)| *name == self.value)?.1.filter(|value| value.is_finite())
    }

    fn standing(&self, block: &Block) -> Standing {
        match self.series(block) {
            Some(kpi) if kpi.structural_zero => Standing::StructuralZero,
            Some(kpi) if kpi.proxy => Standing::Proxy,
            _ => Standing::Measured,
        }
    }

    /// Why a block does not have it.
    fn absent_in(&self, block: &Block) -> String {
        let reason = self.series(block).map(|kpi| kpi.absent.clone());
        reason.map_or_else(|| "not_recorded".to_owned(), |why| why.unwrap_or("absent".to_owned()))
    }
}

impl std::fmt::Display for Figure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        for word in [&self.class, &self.part].into_iter().flatten() {
            write!(f, " {word}")?;
        }
        if self.value.is_empty() { Ok(()) } else { write!(f, " {}", self.value) }
    }
}

impl Contrast {
    /// Compares `figure` over `pairs`.
    pub fn of_figure(figure: Figure, pairs: &[Pair<'_>], how: How) -> Self {
        let values = |block: &Block| figure.in_block(block);
        let mut contrast = Self::of(pairs, values, how);
        let blocks = || pairs.iter().flat_map(|(a, b, _)| [*a, *b]);
        let standing = blocks().map(|block| figure.standing(block));
        contrast.standing =
            standing.into_iter().find(|s| *s != Standing::Measured).unwrap_or(Standing::Measured);
        if contrast.standing == Standing::Proxy {
            contrast.ratio = None;
        }
        if contrast.pairs == 0 {
            let lacks = blocks().find(|block| figure.in_block(block).is_none());
            contrast.absent = lacks.map(|block| figure.absent_in(block)).or(contrast.absent);
        }
        contrast.figure = figure;
        contrast
    }

    /// Compares what `value` gives of each block, a figure that is no KPI of the catalogue.
    pub fn of_value(
        name: &str,
        pairs: &[Pair<'_>],
        value: impl Fn(&Block) -> Option<f64>,
        how: How,
    ) -> Self {
        let mut contrast = Self::of(pairs, value, how);
        contrast.figure.name = name.to_owned();
        contrast
    }

    fn of(pairs: &[Pair<'_>], value: impl Fn(&Block) -> Option<f64>, how: How) -> Self {
        let known: Vec<(f64, f64, bool)> = pairs
            .iter()
            .filter_map(|(a, b, a_first)| Some((value(a)?, value(b)?, *a_first)))
            .collect();
        let median_of = |of: fn(&(f64, f64, bool)) -> f64| median(known.iter().map(of).collect());
        let plan = plan_of(&known, how);
        let found = compare(&plan, &in_order(&known, |value| value), how.confidence, how.seed);
        let is_positive = known.iter().all(|(a, b, _)| *a > 0.0 && *b > 0.0);
        let of_logs = || estimate(&plan, &in_order(&known, f64::ln), how.confidence).ok();
        Self {
            figure: Figure { name: String::new(), class: None, part: None, value: String::new() },
            standing: Standing::Measured,
            pairs: known.len(),
            medians: median_of(|known| known.0).zip(median_of(|known| known.1)),
            shift: found.as_ref().ok().map(|found| found.shift),
            ratio: is_positive.then(of_logs).flatten().map(|logs| Estimate {
                value: logs.value.exp(),
                interval: logs.interval.map(|(low, high)| (low.exp(), high.exp())),
            }),
            p_value: found.as_ref().ok().map(|found| found.p_value),
            p_value_least: found.as_ref().ok().map(|_| least_p_value(&plan)),
            absent: found.err().map(|error| match error {
                CompareError::Pairs(0) => "no_pairs".to_owned(),
                error => error.to_string(),
            }),
        }
    }

    /// Whether the interval of the shift lies wholly below or above 0.
    pub fn sign(&self) -> Option<std::cmp::Ordering> {
        let (low, high) = self.shift?.interval?;
        if high < 0.0 {
            Some(std::cmp::Ordering::Less)
        } else if low > 0.0 {
            Some(std::cmp::Ordering::Greater)
        } else {
            None
        }
    }
}

fn plan_of(known: &[(f64, f64, bool)], how: How) -> Plan {
    let first = |(_, _, a_first): &(f64, f64, bool)| if *a_first { Side::A } else { Side::B };
    Plan { seed: how.seed, first: known.iter().map(first).collect() }
}

/// What `of` makes of the blocks of these pairs, in the order in which they ran.
fn in_order(known: &[(f64, f64, bool)], of: impl Fn(f64) -> f64) -> Vec<f64> {
    let both = |(a, b, a_first): &(f64, f64, bool)| {
        if *a_first { [of(*a), of(*b)] } else { [of(*b), of(*a)] }
    };
    known.iter().flat_map(both).collect()
}

/// The lower of the two in the middle where there are two.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOW: How = How { confidence: 0.95, seed: 1 };

    fn block(value: Option<f64>) -> Block {
        let kpi = Kpi {
            name: "dispatch_to_wire_ns".to_owned(),
            part: Some("total".to_owned()),
            values: vec![("p50".to_owned(), value)],
            absent: value.is_none().then(|| "n_too_small".to_owned()),
            ..Kpi::default()
        };
        Block { kpis: vec![kpi], ..Block::default() }
    }

    fn figure() -> Figure {
        Figure::of(&block(None).kpis[0], "p50")
    }

    /// Twelve rounds in which B has so many times what A has.
    fn rounds(times: f64) -> Vec<(Block, Block, bool)> {
        let round = |n: u32| {
            let a = 100.0 + f64::from(n);
            (block(Some(a)), block(Some(a * times)), n.is_multiple_of(2))
        };
        (0..12).map(round).collect()
    }

    fn pairs(rounds: &[(Block, Block, bool)]) -> Vec<Pair<'_>> {
        rounds.iter().map(|(a, b, first)| (a, b, *first)).collect()
    }

    #[test]
    fn a_ratio_is_what_it_is_in_every_pair() {
        let rounds = rounds(3.0);
        let found = Contrast::of_figure(figure(), &pairs(&rounds), HOW);
        let ratio = found.ratio.expect("positive");
        assert!((ratio.value - 3.0).abs() < 1e-9, "{ratio:?}");
        let (low, high) = ratio.interval.expect("twelve pairs");
        assert!((low - 3.0).abs() < 1e-9 && (high - 3.0).abs() < 1e-9);
        // Means of two of 100 to 111, doubled.
        assert_eq!(found.shift.expect("twelve").value, 211.0);
        assert_eq!(found.medians, Some((105.0, 315.0)));
        assert_eq!((found.p_value, found.p_value_least), (Some(2.0 / 924.0), Some(2.0 / 924.0)));
        assert_eq!(found.sign(), Some(std::cmp::Ordering::Greater));
    }

    #[test]
    fn what_is_0_has_a_shift_and_no_ratio() {
        let rounds = [
            (block(Some(0.0)), block(Some(1.0)), true),
            (block(Some(1.0)), block(Some(2.0)), false),
        ];
        let found = Contrast::of_figure(figure(), &pairs(&rounds), HOW);
        assert_eq!((found.pairs, found.ratio), (2, None));
        assert_eq!(found.shift, Some(Estimate { value: 1.0, interval: None }));
        assert_eq!(found.sign(), None, "two pairs are too few");
    }

    #[test]
    fn a_pair_counts_where_both_have_the_figure() {
        let mut rounds = rounds(1.0);
        rounds[3].1 = block(None);
        rounds[4].0 = block(Some(f64::NAN));
        let found = Contrast::of_figure(figure(), &pairs(&rounds), HOW);
        assert_eq!((found.pairs, found.absent), (10, None));
        let rounds = [(block(Some(1.0)), block(None), true)];
        let found = Contrast::of_figure(figure(), &pairs(&rounds), HOW);
        assert_eq!(
            (found.pairs, found.shift, found.absent.as_deref()),
            (0, None, Some("n_too_small"))
        );
        let found = Contrast::of_figure(figure(), &[], HOW);
        assert_eq!(found.absent.as_deref(), Some("no_pairs"));
    }

    #[test]
    fn a_proxy_in_either_arm_is_one() {
        let mut rounds = rounds(2.0);
        rounds[7].1.kpis[0].proxy = true;
        let found = Contrast::of_figure(figure(), &pairs(&rounds), HOW);
        assert_eq!((found.standing, found.ratio), (Standing::Proxy, None));
        rounds[0].0.kpis[0].structural_zero = true;
        let found = Contrast::of_figure(figure(), &pairs(&rounds), HOW);
        assert_eq!(found.standing, Standing::StructuralZero);
    }
}
