//! Every figure of a workload: what it is in each arm, and the reference held against each other arm.

use model::kpi::catalogue::{self, Arm, Definition};

use crate::ab::contrast::{Contrast, Figure, How, Standing, median};
use crate::ab::direction::Better;
use crate::ab::result::{Gates, Question, RunResult, Workload};
use crate::ab::verdict::{how, is_of_stamps, resolution};

/// A figure in one arm.
#[derive(Clone, Debug, PartialEq)]
pub enum InArm {
    /// Over the blocks that are shown and have it.
    Known {
        /// Median.
        median: f64,
        /// Least.
        least: f64,
        /// Most.
        most: f64,
        /// Blocks.
        blocks: usize,
    },
    /// No block has it.
    Absent(String),
}

/// A figure in all arms.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Which.
    pub figure: Figure,
    /// Unit of the KPI.
    pub unit: &'static str,
    /// Which way it is better.
    pub better: Better,
    /// By arm.
    pub arms: Vec<InArm>,
    /// The reference against every other arm: its index, and how they differ.
    pub against: Vec<(usize, Contrast)>,
}

/// A KPI of the catalogue that no block of a workload has a series of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    /// Its name.
    pub name: &'static str,
    /// Why.
    pub reason: &'static str,
}

/// The figures of one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct Figures {
    /// In the order of the catalogue.
    pub rows: Vec<Row>,
    /// The rest of the catalogue.
    pub lacking: Vec<Lacking>,
}

/// By question, then by workload.
pub fn of_run(run: &RunResult) -> super::OfRun {
    let of_question = |question: &Question| {
        let of_workload = |workload| Figures::of(question, workload, how(run));
        question.workloads.iter().map(of_workload).collect()
    };
    run.questions.iter().map(of_question).collect()
}

impl Figures {
    fn of(question: &Question, workload: &Workload, how: How) -> Self {
        let reference = question.reference;
        let others: Vec<usize> = (0..question.arms.len()).filter(|arm| *arm != reference).collect();
        // Pairs are the same for all figures; void ones where there are no others.
        let of_arm = |other: usize| {
            let valid = workload.pairs(other, reference, true);
            if valid.is_empty() { workload.pairs(other, reference, false) } else { valid }
        };
        let pairs: Vec<_> = others.iter().map(|other| (*other, of_arm(*other))).collect();
        let row = |(definition, figure): (&'static Definition, Figure)| {
            let arms = (0..question.arms.len()).map(|arm| in_arm(question, workload, arm, &figure));
            let contrast = |(other, pairs): &(usize, Vec<_>)| {
                (*other, Contrast::of_figure(figure.clone(), pairs, how))
            };
            Row {
                unit: definition.unit,
                better: Better::of(definition.name, &figure.value),
                arms: arms.collect(),
                against: pairs.iter().map(contrast).collect(),
                figure,
            }
        };
        let rows: Vec<Row> = all(workload).into_iter().map(row).collect();
        let is_there = |name: &str| rows.iter().any(|row| row.figure.name == name);
        let lacking = catalogue::all().filter(|definition| !is_there(definition.name));
        let lacking = lacking.map(|definition| Lacking {
            name: definition.name,
            reason: not_recorded(definition, true),
        });
        Self { lacking: lacking.collect(), rows }
    }
}

/// Every figure that any block has, in the order of the catalogue and then in that of the blocks.
fn all(workload: &Workload) -> Vec<(&'static Definition, Figure)> {
    let mut found: Vec<(&'static Definition, Figure)> = Vec::new();
    for kpi in workload.blocks.iter().flat_map(|block| &block.kpis) {
        let Some(definition) = catalogue::find(&kpi.name) else { continue };
        // A series without a value is still a reason why.
        let named = kpi.values.iter().map(|(value, _)| value.as_str());
        let unnamed = kpi.values.is_empty().then_some("");
        for value in named.chain(unnamed) {
            let figure = Figure::of(kpi, value);
            if !found.iter().any(|(_, known)| *known == figure) {
                found.push((definition, figure));
            }
        }
    }
    let is_series = |one: &Figure, of: &Figure| {
        !one.value.is_empty()
            && (&one.name, &one.class, &one.part) == (&of.name, &of.class, &of.part)
    };
    let known: Vec<Figure> = found.iter().map(|(_, figure)| figure.clone()).collect();
    found.retain(|(_, figure)| {
        !figure.value.is_empty() || !known.iter().any(|one| is_series(one, figure))
    });
    let place = |name: &str| catalogue::all().position(|definition| definition.name == name);
    found.sort_by_key(|(definition, _)| place(definition.name));
    found
}

/// Why an arm has no series of a KPI at all.
fn not_recorded(definition: &Definition, is_kernel: bool) -> &'static str {
    if !definition.available {
        "not_computed"
    } else if definition.arms == [Arm::Analysis] {
        "offline"
    } else if is_kernel && !definition.arms.contains(&Arm::Kernel) {
        "not_defined_for_kernel"
    } else {
        "not_recorded"
    }
}

fn in_arm(question: &Question, workload: &Workload, arm: usize, figure: &Figure) -> InArm {
    let blocks = || workload.shown(arm);
    let mut values: Vec<f64> = blocks().filter_map(|block| figure.in_block(block)).collect();
    values.sort_by(f64::total_cmp);
    if let (Some(least), Some(most)) = (values.first().copied(), values.last().copied()) {
        let blocks = values.len();
        return InArm::Known { median: median(values).unwrap_or(least), least, most, blocks };
    }
    let series = blocks().find_map(|block| figure.series(block));
    let why = series.map_or_else(
        || {
            let is_kernel = question.arms.get(arm).is_some_and(|arm| arm.is_kernel);
            let definition = catalogue::find(&figure.name);
            let no_block = blocks().next().is_none().then_some("no_valid_block");
            let why = definition.map(|definition| not_recorded(definition, is_kernel));
            no_block.or(why).unwrap_or("not_recorded").to_owned()
        },
        |kpi| kpi.absent.clone().unwrap_or_else(|| "absent".to_owned()),
    );
    InArm::Absent(why)
}

/// Whether an effect is large enough for the observer; `None`: it is not made of its stamps, or the
/// resolution is not known.
pub fn is_resolved(
    workload: &Workload,
    gates: &Gates,
    arms: [usize; 2],
    contrast: &Contrast,
) -> Option<bool> {
    if !is_of_stamps(&contrast.figure.name) || contrast.standing != Standing::Measured {
        return None;
    }
    let resolution = resolution(workload, arms)?;
    Some(contrast.shift?.value.abs() >= gates.resolutions_min * resolution)
}
