//! `report.json`: the verdict, every figure of every arm, and what they were measured in. What each block
//! recorded stands in `result.json` beside it.

use serde_json::{Value, json};

use super::OfRun;
use super::figures::{Figures, InArm, Row, is_resolved};
use crate::ab::compare::Estimate;
use crate::ab::contrast::{Contrast, Standing};
use crate::ab::direction::Better;
use crate::ab::result::{Question, RunResult, Workload};
use crate::ab::verdict::{Gate, Judged, Judgement, Verdict, resolution};

/// Of this file; it grows when a reader of the one before would misread.
const FORMAT: u32 = 1;

/// The whole of it.
pub fn report(run: &RunResult, verdict: &Verdict, figures: &OfRun) -> Value {
    let questions = run.questions.iter().zip(figures);
    json!({
        "format": FORMAT,
        "verdict": {
            "outcome": verdict.outcome.name(),
            "holds": verdict.holds(),
            "because": verdict.because,
            "judged": verdict.judged.iter().map(judged).collect::<Value>(),
        },
        "header": run.header,
        "gates": run.gates,
        "environment": run.environment,
        "questions": questions.map(|(asked, figures)| question(run, asked, figures)).collect::<Value>(),
    })
}

fn judged(judged: &Judged) -> Value {
    json!({
        "question": judged.asked,
        "workload": judged.workload,
        "reference": judged.titles.0,
        "against": judged.titles.1,
        "outcome": judged.outcome.name(),
        "observer_resolution_ns": judged.resolution_ns,
        "without_void_blocks": judgement(&judged.valid),
        "with_void_blocks": judgement(&judged.all),
    })
}

fn judgement(judgement: &Judgement) -> Value {
    json!({
        "outcome": judgement.outcome.name(),
        "pairs": judgement.pairs,
        "gates": judgement.gates.iter().map(gate).collect::<Value>(),
    })
}

fn gate(gate: &Gate) -> Value {
    let mut object = contrast(&gate.contrast);
    object["what"] = gate.what.into();
    object["kpi"] = gate.contrast.figure.name.clone().into();
    object["role"] = if gate.is_shape { "shape" } else { "guard" }.into();
    object["finding"] = json!(gate.finding);
    object["because"] = gate.because.clone().into();
    object["p_value_holm"] = json!(gate.p_adjusted);
    object
}

fn contrast(contrast: &Contrast) -> Value {
    let value = |estimate: Option<Estimate>| estimate.map(|estimate| estimate.value);
    let interval = |estimate: Option<Estimate>| estimate.and_then(|estimate| estimate.interval);
    json!({
        "pairs": contrast.pairs,
        "medians": contrast.medians.map(|(other, reference)| json!({ "other": other, "reference": reference })),
        "shift": value(contrast.shift),
        "shift_interval": interval(contrast.shift),
        "ratio": value(contrast.ratio),
        "ratio_interval": interval(contrast.ratio),
        "p_value": contrast.p_value,
        "standing": match contrast.standing {
            Standing::Measured => "measured",
            Standing::StructuralZero => "structural_zero",
            Standing::Proxy => "proxy",
        },
        "absent": contrast.absent,
    })
}

fn question(run: &RunResult, question: &Question, figures: &[Figures]) -> Value {
    let workloads = question.workloads.iter().zip(figures);
    json!({
        "asked": question.asked,
        "text": question.text,
        "reference": question.arms.get(question.reference).map(|arm| &arm.name),
        "arms": question.arms,
        "belongs": question.belongs,
        "workloads": workloads
            .map(|(of, figures)| workload(run, question, of, figures))
            .collect::<Value>(),
    })
}

fn workload(run: &RunResult, question: &Question, workload: &Workload, figures: &Figures) -> Value {
    let lacking = figures.lacking.iter();
    let resolutions = (0..question.arms.len()).map(|arm| resolution(workload, [arm, arm]));
    json!({
        "name": workload.name,
        "schedule_file": workload.schedule_file,
        "messages": workload.messages,
        "contract": workload.contract,
        "block_ns": workload.block_ns,
        "rounds": workload.rounds,
        "blocks": workload.blocks.len(),
        "void_blocks": workload.blocks.iter().filter(|block| !block.is_valid()).count(),
        "is_void_only": (0..question.arms.len())
            .map(|arm| workload.is_void_only(arm))
            .collect::<Value>(),
        "observer_resolution_ns": resolutions.collect::<Value>(),
        "figures": figures
            .rows
            .iter()
            .map(|of| row(run, question, workload, of))
            .collect::<Value>(),
        "absent": lacking.map(|of| json!({ "kpi": of.name, "reason": of.reason })).collect::<Value>(),
    })
}

fn row(run: &RunResult, question: &Question, workload: &Workload, row: &Row) -> Value {
    let name = |arm: usize| question.arms.get(arm).map(|arm| arm.name.as_str());
    let in_arm = |(arm, of): (usize, &InArm)| match of {
        InArm::Known { median, least, most, blocks } => json!({
            "arm": name(arm), "median": median, "min": least, "max": most, "blocks": blocks,
        }),
        InArm::Absent(reason) => json!({ "arm": name(arm), "absent": reason }),
    };
    let against = |(other, of): &(usize, Contrast)| {
        let mut object = contrast(of);
        object["arm"] = json!(name(*other));
        let arms = [*other, question.reference];
        object["resolved"] = json!(is_resolved(workload, &run.gates, arms, of));
        object
    };
    json!({
        "kpi": row.figure.name,
        "class": row.figure.class,
        "part": row.figure.part,
        "value": row.figure.value,
        "unit": row.unit,
        "better": match row.better {
            Better::Lower => "lower",
            Better::Higher => "higher",
            Better::Neither => "neither",
        },
        "arms": row.arms.iter().enumerate().map(in_arm).collect::<Value>(),
        "against": row.against.iter().map(against).collect::<Value>(),
    })
}
