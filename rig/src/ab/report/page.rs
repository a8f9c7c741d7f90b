//! `report.html`: the verdict first, then what it rests on, down to how the run is made again.

use super::OfRun;
use super::better;
use super::figures::{Figures, InArm, Row, is_resolved};
use super::plots;
use super::words::{WHY_CPU, added, differs, of_finding, quantity, summary, unit_of};
use crate::ab::contrast::{Contrast, Standing};
use crate::ab::result::{Arm, Block, Contract, Fact, Header, Question, RunResult, Void, Workload};
use crate::ab::verdict::{Finding, Gate, Judged, Outcome, Verdict};
use ::page::{Table, document, escape};

/// Fewer CPUs than this are said first: sender, gateway and observer then share some.
const CPUS_WANTED: u32 = 4;

/// The page.
pub fn page(run: &RunResult, verdict: &Verdict, figures: &OfRun) -> String {
    let mut body = String::from("<h1>wirepace and the kernel, side by side</h1>\n");
    body.push_str(&first(run, verdict));
    body.push_str(&overview(verdict));
    for judged in &verdict.judged {
        body.push_str(&of_judged(judged));
    }
    body.push_str(&better::section(run, figures));
    for (n, (question, figures)) in run.questions.iter().zip(figures).enumerate() {
        body.push_str(&of_question(run, question, figures, n == 0));
    }
    body.push_str(&conditions(run));
    body.push_str(&reproduce(&run.header));
    document("wirepace A/B", &body)
}

fn badge(outcome: Outcome) -> String {
    let (class, mark) = match outcome {
        Outcome::Win => ("holds", "\u{2713}"),
        Outcome::Loss | Outcome::Traded => ("fails", "\u{2717}"),
        _ => ("plain", "\u{2013}"),
    };
    format!("<span class=\"{class}\">{mark} {}</span>", outcome.name())
}

fn finding(of: Finding) -> String {
    let (class, mark) = match of {
        Finding::Better | Finding::Holds => ("holds", "\u{2713}"),
        Finding::Worse | Finding::Fails => ("fails", "\u{2717}"),
        _ => ("plain", "\u{2013}"),
    };
    format!("<span class=\"{class}\">{mark} {}</span>", of_finding(of))
}

fn list<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    let items: String =
        items.into_iter().map(|item| format!("<li>{}</li>\n", escape(item.as_ref()))).collect();
    if items.is_empty() { items } else { format!("<ul>\n{items}</ul>\n") }
}

/// The verdict, and what has to be known to read it.
fn first(run: &RunResult, verdict: &Verdict) -> String {
    let header = &run.header;
    let mut out = format!("<p>{} {}", badge(verdict.outcome), escape(verdict.outcome.meaning()));
    if let Some(because) = &verdict.because {
        out.push_str(&format!(": {}", escape(because)));
    }
    out.push_str("</p>\n");
    let mut notes = Vec::new();
    if header.cpus < CPUS_WANTED {
        notes.push(format!(
            "The run had {} CPUs. Below {CPUS_WANTED} the sender, the arm and the observer cannot each have \
             their own.",
            header.cpus
        ));
    }
    if header.quick {
        notes.push("A quick run: fewer questions, workloads and seconds.".to_owned());
    }
    if header.interrupted {
        notes.push(
            "The run was interrupted: what is shown rests on the blocks that had run.".to_owned(),
        );
    }
    let lacks = header.lacks.iter();
    notes.extend(lacks.map(|lack| format!("{} not tested here: {}", lack.what, lack.reason)));
    out.push_str(&list(notes));
    if !header.not_measured.is_empty() {
        out.push_str("<h2>What this run does not measure</h2>\n");
        out.push_str(&list(&header.not_measured));
    }
    out
}

/// All judged workloads at a glance, where they are several, and what is to be said of them once.
fn overview(verdict: &Verdict) -> String {
    let mut out = String::new();
    if verdict.judged.len() > 1 {
        let columns = [
            "workload",
            "verdict",
            "against",
            "gap error p99",
            "burstiness excess",
            "does not hold",
        ];
        let mut table = Table::new(&columns);
        verdict.judged.iter().for_each(|judged| table.row(at_a_glance(judged)));
        out.push_str(&format!("<h2>Workloads</h2>\n{}", table.html()));
    }
    if verdict.judged.iter().any(Judged::pays_by_polling) {
        out.push_str(&format!("<p>{WHY_CPU}.</p>\n"));
    }
    out
}

fn at_a_glance(judged: &Judged) -> [String; 6] {
    let gates = &judged.shown().gates;
    let shape = |what: &str| {
        let Some(gate) = gates.iter().find(|gate| gate.what == what) else { return String::new() };
        let said = differs(&gate.contrast, unit_of(&gate.contrast.figure.name));
        format!("<div>{} {}</div>", finding(gate.finding), escape(&said.unwrap_or_default()))
    };
    let fails = gates.iter().filter(|gate| gate.finding == Finding::Fails).map(|gate| gate.what);
    [
        escape(&judged.workload),
        badge(judged.outcome),
        escape(&judged.names.1),
        shape("gap error p99"),
        shape("burstiness excess"),
        escape(&fails.collect::<Vec<_>>().join(", ")),
    ]
}

fn of_judged(judged: &Judged) -> String {
    let mut out = format!(
        "<h2>{} {}</h2>\n<p>{}.</p>\n<p>{}.</p>\n",
        escape(&judged.workload),
        badge(judged.outcome),
        escape(judged.outcome.meaning()),
        escape(&summary(judged))
    );
    if let Some(ns) = judged.resolution_ns {
        out.push_str(&format!(
            "<p>The observer resolves {}: p99 of what it makes of a spinning sender's gaps.</p>\n",
            quantity(ns, "ns")
        ));
    }
    let (reference, opponent) = &judged.names;
    let columns =
        ["", "found", "because", reference, opponent, "ratio", "difference", "with void blocks"];
    let mut table = Table::new(&columns);
    for (gate, with_void) in judged.shown().gates.iter().zip(&judged.all.gates) {
        table.row(of_gate(gate, with_void));
    }
    out.push_str(&table.html());
    out.push_str(&format!(
        "<p><small>Pairs: {} without void blocks, {} with them; the verdict stands where both agree. In square brackets: \
         the interval of the Hodges-Lehmann estimate. Values are medians of blocks.</small></p>\n",
        judged.valid.pairs, judged.all.pairs
    ));
    out
}

fn of_gate(gate: &Gate, with_void: &Gate) -> [String; 8] {
    let contrast = &gate.contrast;
    let unit = unit_of(&contrast.figure.name);
    let medians = contrast.medians;
    let said = |value: Option<f64>| value.map_or(String::new(), |value| quantity(value, unit));
    [
        escape(gate.what),
        finding(gate.finding),
        escape(&gate.because),
        escape(&said(medians.map(|(_, mine)| mine))),
        escape(&said(medians.map(|(other, _)| other))),
        escape(&contrast.ratio.and_then(|_| differs(contrast, unit)).unwrap_or_default()),
        escape(&added(contrast, unit).unwrap_or_default()),
        escape(&with_void_blocks(with_void, unit)),
    ]
}

/// What is found where void blocks count too, and by how much.
fn with_void_blocks(gate: &Gate, unit: &str) -> String {
    let differs = differs(&gate.contrast, unit).map(|text| format!(", {text}"));
    format!("{}{}", of_finding(gate.finding), differs.unwrap_or_default())
}

/// The first workload of the first question is seen at once, the others when they are asked for.
fn of_question(
    run: &RunResult,
    question: &Question,
    figures: &[Figures],
    is_first: bool,
) -> String {
    let mut out = format!("<h2>{}</h2>\n", escape(&question.text));
    let mut arms = Table::new(&["arm", "", "settings"]);
    for arm in &question.arms {
        let settings = arm.settings.iter().map(of_fact).collect::<Vec<_>>().join("; ");
        arms.row([escape(&arm.name), escape(&arm.title), escape(&settings)]);
    }
    out.push_str(&arms.html());
    if !question.belongs.is_empty() {
        out.push_str("<h3>What belongs to an arm, and what is the same in all</h3>\n");
        let mut table = Table::new(&["what", "belongs to", "value"]);
        for row in &question.belongs {
            let whose = if row.to_workload { "the workload" } else { "the arm" };
            table.row([escape(&row.what), whose.to_owned(), escape(&row.value)]);
        }
        out.push_str(&table.html());
    }
    for (n, (workload, figures)) in question.workloads.iter().zip(figures).enumerate() {
        let open = if is_first && n == 0 { " open" } else { "" };
        out.push_str(&format!(
            "<details{open}><summary>{}</summary>\n{}</details>\n",
            escape(&workload.name),
            of_workload(run, question, workload, figures)
        ));
    }
    out
}

fn of_workload(
    run: &RunResult,
    question: &Question,
    workload: &Workload,
    figures: &Figures,
) -> String {
    let contract = &workload.contract;
    let void = workload.blocks.iter().filter(|block| !block.is_valid()).count();
    let mut out = format!(
        "<p>{} messages a block of {}, {} rounds, {} blocks of which {void} void. Contract: {}, \
         bursts of {} bytes, at most {} of delay, latency budget {}. Link of the modelled serializer: {}.{}</p>\n",
        workload.messages,
        quantity(workload.block_ns as f64, "ns"),
        workload.rounds,
        workload.blocks.len(),
        rate(contract.rate_bits_per_s),
        contract.burst_bytes,
        quantity(contract.max_delay_ns as f64, "ns"),
        quantity(contract.latency_budget_ns as f64, "ns"),
        rate(contract.link_bits_per_s),
        by_the_rate_alone(contract),
    );
    let void_only = question.arms.iter().enumerate().filter(|(arm, _)| workload.is_void_only(*arm));
    let void_only: Vec<&str> = void_only.map(|(_, arm)| arm.name.as_str()).collect();
    if !void_only.is_empty() {
        out.push_str(&format!(
            "<p><b>Every block is void, and shown all the same, of: {}.</b></p>\n",
            escape(&void_only.join(", "))
        ));
    }
    out.push_str("<div class=\"arms two\">\n");
    for (heading, svg) in plots::all(question, workload) {
        out.push_str(&format!("<div><h3>{}</h3>\n{svg}</div>\n", escape(heading)));
    }
    out.push_str("</div>\n<h3>All figures</h3>\n");
    out.push_str(&all_figures(run, question, workload, figures));
    let lacking = figures.lacking.iter().map(|of| format!("{} ({})", of.name, of.reason));
    let lacking = lacking.collect::<Vec<_>>().join(", ");
    out.push_str(&format!("<p><small>Absent in every arm: {}.</small></p>\n", escape(&lacking)));
    out
}

/// What gap errors of the arms that pace are to be held against.
fn by_the_rate_alone(contract: &Contract) -> String {
    let least = contract.gap_error_p99_ns.filter(|ns| *ns > 0).map(|ns| {
        format!(
            " Who paces by the rate alone, to the ns, has a p99 of gap error of {}: the rate lies above what is offered, \
             so a batch is over early and the next one begins with a longer gap.",
            quantity(ns as f64, "ns")
        )
    });
    least.unwrap_or_default()
}

fn all_figures(
    run: &RunResult,
    question: &Question,
    workload: &Workload,
    figures: &Figures,
) -> String {
    let reference = question.reference;
    let name =
        |arm: usize| question.arms.get(arm).map(|arm: &Arm| arm.name.as_str()).unwrap_or_default();
    let others: Vec<usize> = (0..question.arms.len()).filter(|arm| *arm != reference).collect();
    let mut columns = vec!["figure", name(reference)];
    columns.extend(others.iter().map(|arm| name(*arm)));
    let mut table = Table::new(&columns);
    for row in &figures.rows {
        let mut cells = vec![
            escape(&row.figure.to_string()),
            row.arms.get(reference).map(|of| in_arm(of, row.unit)).unwrap_or_default(),
        ];
        cells.extend(row.against.iter().map(|(other, contrast)| {
            let arms = [*other, reference];
            let resolved = is_resolved(workload, &run.gates, arms, contrast);
            beside(row, *other, contrast, resolved)
        }));
        table.row(cells);
    }
    let note = "<p><small>Median of the blocks that are not void. Below the value of another arm: the reference over that arm with \
                its interval, or the difference where a block has 0.</small></p>\n";
    format!("{note}{}", table.html())
}

fn in_arm(of: &InArm, unit: &str) -> String {
    match of {
        InArm::Known { median, .. } => escape(&quantity(*median, unit)),
        InArm::Absent(reason) => format!("<small>absent: {}</small>", escape(reason)),
    }
}

/// The value of another arm, and how the reference differs from it.
fn beside(row: &Row, other: usize, contrast: &Contrast, resolved: Option<bool>) -> String {
    let value = row.arms.get(other).map(|of| in_arm(of, row.unit)).unwrap_or_default();
    let differs = match contrast.standing {
        Standing::Measured => differs(contrast, row.unit),
        Standing::Proxy => Some("a proxy: not compared".to_owned()),
        Standing::StructuralZero => Some("holds by construction: not compared".to_owned()),
    };
    let unresolved = if resolved == Some(false) { ", not resolved" } else { "" };
    let differs = differs.filter(|_| contrast.pairs > 0);
    let differs = differs.map(|text| format!("<br><small>{}{unresolved}</small>", escape(&text)));
    format!("<div>{value}{}</div>", differs.unwrap_or_default())
}

fn of_fact(fact: &Fact) -> String {
    format!("{} {}", fact.name, fact.value)
}

fn facts(all: &[Fact]) -> String {
    let mut table = Table::new(&["what", "value"]);
    all.iter().for_each(|fact| table.row([escape(&fact.name), escape(&fact.value)]));
    table.html()
}

/// Where it ran, the rule that makes blocks void, and every block.
fn conditions(run: &RunResult) -> String {
    let rule = &run.header.void_rule;
    let mut out = String::from("<h2>Environment</h2>\n");
    out.push_str(&facts(&run.environment.facts));
    if !run.environment.cpu_roles.is_empty() {
        out.push_str("<h3>Who runs where</h3>\n");
        out.push_str(&facts(&run.environment.cpu_roles));
    }
    out.push_str(&format!(
        "<h2>Blocks</h2>\n<p>Fixed before the first block: void is a block before which an idle sentinel missed more \
         than {} of a CPU's time, in which the hypervisor took more than {} of one, whose sender was later than {} in \
         p99, or in which the capture lost a frame, a setting was not what it should be or the arm ended. A round with a \
         void block is run again, at most {} times.</p>\n",
        percent(rule.sentinel_stolen_max),
        percent(rule.steal_max),
        quantity(rule.sender_late_p99_max_ns as f64, "ns"),
        rule.repeats_max,
    ));
    for question in &run.questions {
        for workload in &question.workloads {
            out.push_str(&format!(
                "<details><summary>{}, {} blocks: {}</summary>\n{}</details>\n",
                escape(&workload.name),
                workload.blocks.len(),
                escape(&question.text),
                blocks(question, workload)
            ));
        }
    }
    out
}

fn rate(bits_per_s: u64) -> String {
    quantity(bits_per_s as f64, "bit/s")
}

fn percent(share: f64) -> String {
    format!("{} %", ::page::chart::short(share * 100.0))
}

fn blocks(question: &Question, workload: &Workload) -> String {
    let columns = [
        "round",
        "arm",
        "void",
        "sentinel missed",
        "steal",
        "sender late p99",
        "observer p99",
        "captured",
        "lost",
        "read back",
    ];
    let mut table = Table::new(&columns);
    for block in &workload.blocks {
        table.row(of_block(question, block));
    }
    table.html()
}

fn of_block(question: &Question, block: &Block) -> [String; 10] {
    let conditions = &block.conditions;
    let most =
        |shares: &[f64]| shares.iter().copied().reduce(f64::max).map(percent).unwrap_or_default();
    let ns = |value: Option<u64>| value.map(|ns| quantity(ns as f64, "ns")).unwrap_or_default();
    let round = match block.attempt {
        0 => block.round.to_string(),
        attempt => format!("{}, attempt {}", block.round, attempt + 1),
    };
    let read_back = conditions.read_back.iter().map(of_fact).collect::<Vec<_>>().join("; ");
    [
        round,
        question.arms.get(block.arm).map(|arm| escape(&arm.name)).unwrap_or_default(),
        escape(&block.void.iter().map(of_void).collect::<Vec<_>>().join("; ")),
        most(&conditions.sentinel_stolen),
        most(&conditions.steal),
        ns(conditions.sender_late.map(|late| late.p99_ns)),
        ns(conditions.observer.map(|observer| observer.p99_ns)),
        conditions.captured.to_string(),
        conditions.capture_drops.to_string(),
        format!("<small>{}</small>", escape(&read_back)),
    ]
}

fn of_void(void: &Void) -> String {
    let parts = |ppm: u64| percent(ppm as f64 / 1e6);
    match void {
        Void::SentinelStolen { cpu, ppm } => format!("CPU {cpu} missed {}", parts(*ppm)),
        Void::Steal { cpu, ppm } => format!("CPU {cpu} stolen {}", parts(*ppm)),
        Void::SenderLate { p99_ns } => format!("sender late by {}", quantity(*p99_ns as f64, "ns")),
        Void::CaptureDrops { frames } => format!("{frames} frames lost by the capture"),
        Void::Setting { what } => format!("setting: {what}"),
        Void::ArmEnded { what } => format!("the arm ended: {what}"),
    }
}

fn reproduce(header: &Header) -> String {
    format!(
        "<h2>How to reproduce</h2>\n<pre>{}</pre>\n<p>Seed {}, config {}, wirepace {} ({}). Started {} s after 1970, took {}. \
         Each block's figures are in <code>result.json</code>, all that stands here in <code>report.json</code>; the schedules, \
         captures, timelines and features of the arms lie beside them.</p>\n",
        escape(&header.command),
        header.seed,
        escape(&header.config_digest),
        escape(&header.version),
        escape(&header.commit),
        header.started_s,
        quantity(header.duration_ns as f64, "ns"),
    )
}
