//! Where other arms were better than the reference: the furthest of each workload, then all of it, folded.

use super::OfRun;
use super::figures::{Figures, Row, is_resolved};
use super::words::{added, differs};
use crate::ab::contrast::Contrast;
use crate::ab::direction::Better;
use crate::ab::result::{Gates, Question, RunResult, Workload};
use crate::ab::verdict::other_is_better;
use ::page::{Table, escape};

/// KPIs of a workload that are seen without unfolding.
const FURTHEST: usize = 2;
const NOTE: &str = "<p><small>Every figure whose interval lies wholly on the other arm's side, each by itself: of a hundred \
     figures without a difference some stand here by chance. The furthest first, by the end of the ratio's interval that \
     is nearer to 1; last what has no ratio, because a block has 0.</small></p>\n";

/// A figure in which others were better, with these arms and contrasts.
struct Behind<'a> {
    row: &'a Row,
    others: Vec<(usize, &'a Contrast)>,
}

/// The section; nothing where nothing was asked.
pub(super) fn section(run: &RunResult, figures: &OfRun) -> String {
    if run.questions.is_empty() {
        return String::new();
    }
    let mut furthest = Table::new(&["workload", "figure", "better in", "ratio", "difference"]);
    let mut folded = String::new();
    for (question, figures) in run.questions.iter().zip(figures) {
        for (workload, figures) in question.workloads.iter().zip(figures) {
            let all = behind(&run.gates, question, workload, figures);
            if all.is_empty() {
                continue;
            }
            for_each_kpi(&all, |one| furthest.row(first_of(question, workload, one)));
            folded.push_str(&format!(
                "<details><summary>{}, {}: {} figures</summary>\n{}</details>\n",
                escape(&workload.name),
                question.asked.name(),
                all.len(),
                table(question, &all)
            ));
        }
    }
    let said = match folded.as_str() {
        "" => "<p>In no figure beyond its interval.</p>\n".to_owned(),
        folded => format!("{NOTE}{}{folded}", furthest.html()),
    };
    format!("<h2>Where other arms were better</h2>\n{said}")
}

/// All of a workload, the furthest first.
fn behind<'a>(
    gates: &Gates,
    question: &Question,
    workload: &Workload,
    figures: &'a Figures,
) -> Vec<Behind<'a>> {
    let is_better = |(other, contrast): &(usize, Contrast)| {
        let arms = [*other, question.reference];
        other_is_better(contrast) && is_resolved(workload, gates, arms, contrast) != Some(false)
    };
    let of_row = |row: &'a Row| {
        let others = row.against.iter().filter(|one| is_better(one));
        let mut others: Vec<_> = others.map(|(other, contrast)| (*other, contrast)).collect();
        others.sort_by(|a, b| times(row, b.1).total_cmp(&times(row, a.1)));
        (!others.is_empty()).then_some(Behind { row, others })
    };
    let mut all: Vec<Behind<'_>> = figures.rows.iter().filter_map(of_row).collect();
    all.sort_by(|a, b| b.times().total_cmp(&a.times()));
    all
}

/// How many times as bad the reference is at least; 0: there is no ratio.
fn times(row: &Row, contrast: &Contrast) -> f64 {
    let Some((low, high)) = contrast.ratio.and_then(|ratio| ratio.interval) else { return 0.0 };
    if row.better == Better::Higher { 1.0 / high } else { low }
}

impl Behind<'_> {
    fn times(&self) -> f64 {
        self.others.first().map_or(0.0, |(_, contrast)| times(self.row, contrast))
    }
}

/// The furthest figure of each of the KPIs that are furthest.
fn for_each_kpi(all: &[Behind<'_>], mut show: impl FnMut(&Behind<'_>)) {
    let mut shown: Vec<&str> = Vec::new();
    for one in all {
        let name = one.row.figure.name.as_str();
        if shown.len() < FURTHEST && !shown.contains(&name) {
            shown.push(name);
            show(one);
        }
    }
}

/// A figure against the arm that was furthest ahead in it.
fn first_of(question: &Question, workload: &Workload, one: &Behind<'_>) -> [String; 5] {
    let unit = one.row.unit;
    let (arm, contrast) = one.others.first().copied().unzip();
    let arm = arm.and_then(|arm| question.arms.get(arm)).map(|arm| escape(&arm.name));
    let said = |said: Option<String>| escape(&said.unwrap_or_default());
    [
        format!("{}, {}", escape(&workload.name), question.asked.name()),
        escape(&one.row.figure.to_string()),
        arm.unwrap_or_default(),
        said(contrast.filter(|of| of.ratio.is_some()).and_then(|of| differs(of, unit))),
        said(contrast.and_then(|of| added(of, unit))),
    ]
}

/// A row for each figure, a column for each arm that was better in any.
fn table(question: &Question, all: &[Behind<'_>]) -> String {
    let is_ahead = |arm: &usize| all.iter().any(|one| one.others.iter().any(|(of, _)| of == arm));
    let arms: Vec<usize> = (0..question.arms.len()).filter(is_ahead).collect();
    let names = arms.iter().filter_map(|arm| question.arms.get(*arm)).map(|arm| arm.name.as_str());
    let columns: Vec<&str> = std::iter::once("figure").chain(names).collect();
    let mut table = Table::new(&columns);
    for one in all {
        let cell = |arm: &usize| {
            let contrast =
                one.others.iter().find(|(of, _)| of == arm).map(|(_, contrast)| *contrast);
            escape(&contrast.and_then(|of| differs(of, one.row.unit)).unwrap_or_default())
        };
        let mut cells = vec![escape(&one.row.figure.to_string())];
        cells.extend(arms.iter().map(cell));
        table.row(cells);
    }
    table.html()
}
