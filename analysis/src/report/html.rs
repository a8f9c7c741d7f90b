//! The page.

use std::fmt::Write;

use page::{Table, document, escape};

use super::{Figures, pictures};
use crate::models::chains::ChainModel;
use crate::models::compression::Score;
use crate::outcome::{Head, Headline};

/// The whole page.
pub fn html(figures: &Figures) -> String {
    let mut body = String::new();
    head(&mut body, figures);
    changes(&mut body, figures);
    taxes(&mut body, figures);
    places(&mut body, figures);
    states(&mut body, figures);
    models(&mut body, figures);
    inputs(&mut body, figures);
    document("What the transport path cost", &body)
}

fn bps(value: Option<f64>) -> String {
    value.map_or("absent".to_owned(), |value| format!("{value:.2}"))
}

fn interval(head: &Head) -> String {
    match (head.ci_low, head.ci_high) {
        (Some(low), Some(high)) => format!("{low:.2} to {high:.2}"),
        _ => "absent".to_owned(),
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

fn badge(class: &str, said: &str) -> String {
    format!("<span class=\"{class}\">{}</span>", escape(said))
}

fn head(body: &mut String, figures: &Figures) {
    let of = &figures.provenance;
    let days =
        of.days.as_ref().map_or("no days".to_owned(), |[first, last]| format!("{first} to {last}"));
    let _ = writeln!(
        body,
        "<h1>What the transport path cost</h1><p>{days}: {} child orders through {} gateways, {} KPI windows. \
         Costs are basis points of the decision price; above 0 = we pay. <small>wirepace-analysis {}</small></p>",
        of.children, of.gateways, of.windows, of.version
    );
}

fn changes(body: &mut String, figures: &Figures) {
    body.push_str("<h2>What to change</h2>\n");
    if figures.changes.is_empty() {
        body.push_str("<p>No cost is identified and above 0.</p>\n");
        return;
    }
    let mut table = Table::new(&["KPI", "cost bps", "what"]);
    for change in &figures.changes {
        let cost = format!("{:.2}", change.cost_bps);
        table.row([change.kpi.to_owned(), cost, escape(change.what)]);
    }
    body.push_str(&table.html());
}

fn taxes(body: &mut String, figures: &Figures) {
    body.push_str("<h2>Tax by KPI</h2>\n");
    let kpis = &figures.outcome.kpis;
    if let Some(picture) = pictures::intervals(kpis.iter().map(|(name, h)| (*name, h))) {
        // On a wide page half of it is enough.
        body.push_str("<div class=\"arms two\"><section>\n");
        body.push_str(&picture);
        body.push_str(
            "<p><small>Blue: identified. Grey: not, for the reasons below.</small></p></section></div>\n",
        );
    }
    let mut table = Table::new(&[
        "KPI", "cost bps", "interval", "q95", "q99", "naive", "n", "matched", "design", "verdict",
    ]);
    for (name, h) in kpis {
        table.row([
            format!("<div>{name}<br><small>{}</small></div>", escape(h.formula)),
            bps(h.mean.cost_bps),
            interval(&h.mean),
            bps(h.q95.and_then(|q| q.cost_bps)),
            bps(h.q99.and_then(|q| q.cost_bps)),
            bps(h.naive_cost_bps),
            h.n.to_string(),
            h.matched_share.map_or("absent".to_owned(), percent),
            h.design.map_or("none".to_owned(), |design| design.name().to_owned()),
            verdict(h),
        ]);
    }
    body.push_str(&table.html());
    for (name, h) in kpis {
        let Some(fills) = h.fill_ratio_effect else { continue };
        let of = Head { cost_bps: None, ci_low: fills.ci_low, ci_high: fills.ci_high };
        let _ = writeln!(
            body,
            "<p><small>{name} is of fills only; the filled share of passive orders differs by {:.4} ({}) between \
             its arms.</small></p>",
            fills.estimate,
            interval(&of)
        );
    }
}

fn verdict(headline: &Headline) -> String {
    if headline.identified {
        return badge("holds", "identified");
    }
    let reasons: Vec<String> = headline.reasons.iter().map(|reason| escape(reason)).collect();
    format!("{} {}", badge("fails", "not identified"), reasons.join("; "))
}

fn places(body: &mut String, figures: &Figures) {
    body.push_str("<div class=\"arms two\"><section><h2>Burst tax by symbol and venue</h2>\n");
    match pictures::heat(&figures.cells) {
        Some(picture) => {
            body.push_str(&picture);
            body.push_str(
                "<p><small>Mean shortfall of distorted less clean orders, bps; nothing is matched, \
                so it says where to look, not how much.</small></p>\n",
            );
        }
        None => body.push_str("<p>Absent: too few orders of each kind.</p>\n"),
    }
    body.push_str("</section><section><h2>Tails of the shortfall</h2>\n");
    match pictures::tails(&figures.tails) {
        Some(picture) => body.push_str(&picture),
        None => body.push_str("<p>Absent: too few orders of each kind.</p>\n"),
    }
    body.push_str("</section></div>\n");
}

fn states(body: &mut String, figures: &Figures) {
    body.push_str("<h2>Regimes</h2>\n");
    if figures.models.chains.is_empty() {
        body.push_str("<p>Absent: no machine has decided anything.</p>\n");
    }
    body.push_str("<div class=\"arms two\">\n");
    for (name, chain) in &figures.models.chains {
        let _ = writeln!(body, "<section><h3>{name}</h3>{}", pictures::occupancy(name, chain));
        let mut table = Table::new(&["state", "share", "cost bps", "interval", "leads to"]);
        for (place, state) in chain.states.iter().enumerate().filter(|(_, state)| state.windows > 0)
        {
            let bounds = state
                .interval
                .map_or("absent".to_owned(), |i| format!("{:.2} to {:.2}", i.low, i.high));
            let cost = bps(state.cost_bps);
            table.row([
                state.name.to_owned(),
                percent(state.share),
                cost,
                if place == 0 { "-".to_owned() } else { bounds },
                leads_to(chain, place),
            ]);
        }
        body.push_str(&table.html());
        let _ = writeln!(body, "<p>{}</p></section>", escape(&expected(chain)));
    }
    body.push_str("</div>\n");
    let branches = &figures.models.branches;
    body.push_str("<h3>Parents by branch</h3>\n");
    let mut table = Table::new(&["branch", "parents", "share", "mean shortfall bps"]);
    for branch in &branches.branches {
        table.row([
            branch.name.to_owned(),
            branch.parents.to_string(),
            percent(branch.share),
            bps(branch.cost_bps),
        ]);
    }
    body.push_str(&table.html());
    let _ = writeln!(
        body,
        "<p>E[C] = {} bps; {}.</p><p><small>{}</small></p>",
        bps(branches.expected_cost_bps),
        order_said(branches.costs_rise, "C_T &lt; C_B &lt; C_L"),
        escape(branches.rule)
    );
}

fn leads_to(chain: &ChainModel, place: usize) -> String {
    let Some(row) = &chain.matrix[place] else { return "absent".to_owned() };
    let mut next: Vec<(usize, f64)> =
        row.iter().copied().enumerate().filter(|(state, p)| *state != place && *p > 0.0).collect();
    next.sort_by(|a, b| b.1.total_cmp(&a.1));
    let said: Vec<String> = next
        .iter()
        .map(|(state, p)| format!("{} {}", chain.states[*state].name, percent(*p)))
        .collect();
    if said.is_empty() { "itself".to_owned() } else { said.join(", ") }
}

fn expected(chain: &ChainModel) -> String {
    format!(
        "E[C] = {} bps, of which {} bps would be saved in the lowest state; {}.",
        bps(chain.expected_cost_bps),
        bps(chain.avoidable_bps),
        order_said(chain.costs_rise, "costs rise from state to state")
    )
}

fn order_said(rises: Option<bool>, what: &str) -> String {
    match rises {
        Some(true) => format!("{what}, as expected"),
        Some(false) => format!("it does not hold that {what}"),
        None => format!("whether {what} is not known"),
    }
}

fn models(body: &mut String, figures: &Figures) {
    body.push_str("<h2>Models, judged on later days</h2>\n");
    let all = &figures.models;
    if all.compression.is_none() && all.cork.is_none() && all.overlay.is_none() {
        body.push_str("<p>Absent: too few days, or windows without their figures.</p>\n");
    }
    if let Some(model) = &figures.models.compression {
        let mut table = Table::new(&["P(compressed drain ahead)", "Brier", "log loss"]);
        let mut row = |name: &str, score: Score| {
            table.row([
                name.to_owned(),
                format!("{:.4}", score.brier),
                format!("{:.4}", score.log_loss),
            ]);
        };
        row("from features", model.model);
        row("the state persists", model.persists);
        row("it persists as often as it did", model.persists_as_often);
        body.push_str(&table.html());
        let _ = writeln!(
            body,
            "<p><small>{} windows; {} of them had one within {} windows.</small></p>",
            model.judged,
            percent(model.base_rate),
            model.horizon_windows
        );
    }
    if let Some(cork) = &figures.models.cork {
        let mut table = Table::new(&["corking term", "bps per deviation", "inflation", "separate"]);
        for term in &cork.terms {
            table.row([
                term.name.to_owned(),
                format!("{:.3}", term.per_deviation_bps),
                term.inflation.map_or("determined by the others".to_owned(), |v| format!("{v:.1}")),
                if term.separate { "yes" } else { "no" }.to_owned(),
            ]);
        }
        body.push_str(&table.html());
    }
    if let Some(overlay) = &figures.models.overlay {
        let mut table = Table::new(&["overlay", "loss with the path", "loss without"]);
        for (name, head) in [("mean (square)", &overlay.mean), ("q95 (pinball)", &overlay.q95)] {
            table.row([
                name.to_owned(),
                format!("{:.4}", head.loss),
                format!("{:.4}", head.baseline_loss),
            ]);
        }
        body.push_str(&table.html());
    }
}

fn inputs(body: &mut String, figures: &Figures) {
    body.push_str("<h2>What it rests on</h2>\n");
    let matched = &figures.outcome.matched;
    let ways: Vec<String> =
        matched.by.iter().map(|(how, count)| format!("{} {count}", how.name())).collect();
    let _ =
        writeln!(body, "<p>{} children on the wire: {}.</p>", matched.children, ways.join(", "));
    for (gateway, offset) in &figures.outcome.clock_offsets_ns {
        let _ = writeln!(
            body,
            "<p>The clock of {} is {:.3} ms from the strategies'; windows are chosen by the corrected time.</p>",
            escape(gateway),
            *offset as f64 / 1e6
        );
    }
    if figures.outcome.bad_rows.is_empty() {
        body.push_str("<p>No bad rows.</p>\n");
        return;
    }
    let mut table = Table::new(&["table", "reason", "rows"]);
    for (name, bad) in &figures.outcome.bad_rows {
        for (reason, count) in &bad.reasons {
            table.row([(*name).to_owned(), escape(reason), count.to_string()]);
        }
    }
    body.push_str(&table.html());
}
