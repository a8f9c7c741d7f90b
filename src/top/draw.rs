//! The screen of `wirepace top`. At 80 columns and 24 lines everything has its place; what is larger
//! has more rows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Cell, Paragraph, Row, Sparkline, Table};

use super::view::{Page, Rows, View};
use crate::figures::short;

const KEYS: &str = " q quit  p hold  tab next page  up/down scroll  / filter ";

/// Draws it.
pub fn draw(frame: &mut Frame<'_>, view: &View) {
    let (cores, classes) = (view.cores(), view.classes());
    let lines = |rows: &Rows| u16::try_from(rows.rows.len()).unwrap_or(u16::MAX).saturating_add(2);
    let [title, alarm, charts, of_cores, of_classes, lower, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(4),
        Constraint::Length(lines(&cores).min(5)),
        Constraint::Length(lines(&classes).min(8)),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(view.title()).style(bold), title);
    if let Some(text) = view.alarm() {
        let style = Style::new().fg(Color::Red).add_modifier(Modifier::BOLD);
        frame.render_widget(Paragraph::new(text).style(style), alarm);
    }
    let [sent, dropped] =
        Layout::horizontal([Constraint::Percentage(50), Constraint::Percentage(50)]).areas(charts);
    line(frame, sent, "sent/s", view.sent.iter().copied(), Color::Green);
    line(frame, dropped, "dropped/s", view.dropped.iter().copied(), Color::Red);
    table(frame, of_cores, Line::from("cores"), &cores);
    table(frame, of_classes, Line::from("classes"), &classes);
    let (rows, above) = view.lower();
    let room = usize::from(lower.height.saturating_sub(2));
    table(frame, lower, pages(view, above, rows.rows.len().saturating_sub(room)), &rows);
    frame.render_widget(Paragraph::new(KEYS).style(Style::new().fg(Color::DarkGray)), keys);
}

/// The names of the pages, the one that is shown marked; what it leaves out.
fn pages(view: &View, above: usize, below: usize) -> Line<'static> {
    let name = |page: Page| match page == view.page {
        true => {
            Span::styled(format!("[{}] ", page.title()), Style::new().add_modifier(Modifier::BOLD))
        }
        false => Span::raw(format!("{} ", page.title())),
    };
    let mut title = Page::ALL.map(name).to_vec();
    if let Some(filter) = view.filter() {
        let cursor = if view.is_typing { "_" } else { "" };
        title.push(format!(" /{filter}{cursor}").into());
    }
    if above + below > 0 {
        title.push(format!(" {above} above, {below} below ").into());
    }
    title.into()
}

fn line(
    frame: &mut Frame<'_>,
    area: Rect,
    name: &str,
    looks: impl Iterator<Item = u64>,
    color: Color,
) {
    let looks: Vec<u64> = looks.collect();
    // The newest stand at the right edge.
    let shown = &looks[looks.len().saturating_sub(usize::from(area.width))..];
    let last = looks.last().map_or("-".to_owned(), |last| short(*last as f64));
    let block = Block::new().borders(Borders::TOP).title(format!("{name} {last}"));
    frame.render_widget(Sparkline::default().block(block).data(shown).style(color), area);
}

/// Columns as wide as what stands in them, the first not beyond the middle.
fn table(frame: &mut Frame<'_>, area: Rect, title: Line<'_>, rows: &Rows) {
    let width = |column: usize| {
        let cells = rows.rows.iter().map(|row| row[column].chars().count());
        let widest = cells.chain([rows.head[column].len()]).max().unwrap_or(0);
        u16::try_from(widest).unwrap_or(u16::MAX)
    };
    let constraint = |column: usize| match column {
        0 => Constraint::Length(width(column).min(area.width / 2)),
        _ => Constraint::Length(width(column)),
    };
    let widths: Vec<_> = (0..rows.head.len()).map(constraint).collect();
    let body =
        rows.rows.iter().map(|row| Row::new(row.iter().map(|cell| Cell::from(cell.as_str()))));
    let head = Row::new(rows.head.iter().map(|name| Cell::from(*name)))
        .style(Style::new().add_modifier(Modifier::UNDERLINED));
    let block = Block::new().borders(Borders::TOP).title(title);
    let table = Table::new(body, widths).header(head).column_spacing(2).block(block);
    frame.render_widget(table, area);
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use serde_json::{Value, json};

    use super::*;

    /// A gateway that has sent so many packets after so many seconds.
    fn status(seconds: u64, orders: u64, halted: u64) -> Value {
        json!({
            "name": "gw1", "version": "0.1.0", "at_ns": seconds * 1_000_000_000, "uptime_s": seconds,
            "config_digest": "0123456789abcdef", "config": {"revision": 3},
            "profile": {"in_force": ["normal"]}, "stop_words": {},
            "cores": [{"core": 0, "cpu": 3, "phase": "running", "profile": "normal"}],
            "ports": [{"name": "strategies", "side": "inside", "link": "up"},
                      {"name": "venue-a", "side": "venue", "link": "up"}],
            "classes": [
                {"name": "orders", "cap_bits_per_s": 50_000_000},
                {"name": "cancels", "cap_bits_per_s": null},
                {"name": "unused", "cap_bits_per_s": null},
            ],
            "regime": {"mode": "observe", "machines": [{
                "machine": "pacing", "scope": "class:orders", "state": "CLEAN_FLOW", "severity": 0,
                "since_ns": 0, "profile": "normal",
            }]},
            "kpis": {
                "release_error_ns": {"series": [
                    {"class": "orders", "part": "late", "p50": 420.0, "p99": 1_530.0},
                ]},
                "host": {"cycles_per_packet": {"series": [{"value": 251.4}]}},
            },
            "counters": {
                "packets_in": [{"class": "orders", "port": "venue-a", "value": orders + halted}],
                "packets_out": [
                    {"class": "orders", "port": "venue-a", "value": orders},
                    {"class": "cancels", "port": "venue-a", "value": 12},
                ],
                "bytes_out": [{"class": "orders", "port": "venue-a", "value": orders * 100}],
                "held": [{"class": "orders", "port": "venue-a", "value": 7}],
                "flows": [{"port": "venue-a", "value": 31}],
                "drops": [{"reason": "halted", "port": "venue-a", "class": "orders", "value": halted}],
                "core_busy_cycles": [{"core": "0", "value": seconds * 250}],
                "core_cycles": [{"core": "0", "value": seconds * 1_000}],
                "core_stalls": [{"core": "0", "value": 2}],
            },
        })
    }

    fn view() -> View {
        let mut view = View::default();
        for (second, orders) in [(10, 1_000), (11, 11_000), (12, 31_000)] {
            view.look(&status(second, orders, 5 * second));
        }
        view
    }

    fn screen(view: &View, width: u16, height: u16) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer();
        let cell = |x, y| buffer.cell((x, y)).map_or(" ", |cell| cell.symbol());
        let row = |y| (0..width).map(|x| cell(x, y)).collect::<String>().trim_end().to_owned();
        (0..height).map(row).collect()
    }

    #[test]
    fn everything_has_its_place_at_80_by_24() {
        let shown = screen(&view(), 80, 24);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/top/drops-80x24.txt");
        let wanted = std::fs::read_to_string(file).unwrap();
        assert_eq!(shown.join("\n"), wanted.trim_end_matches('\n'), "\n{}", shown.join("\n"));
    }

    #[test]
    fn pages_turn_both_ways_and_a_hold_and_a_word_are_said() {
        let mut view = view();
        view.turn(1);
        let regimes = screen(&view, 100, 30).join("\n");
        assert!(
            regimes.contains("[regimes]") && regimes.contains("CLEAN_FLOW  0         12s"),
            "{regimes}"
        );
        view.turn(-2);
        let all = screen(&view, 100, 30).join("\n");
        assert!(all.contains("[counters]") && all.contains("31,000"), "{all}");
        view.scroll(5);
        view.start_filter();
        "packets venue".chars().for_each(|letter| view.type_filter(Some(letter)));
        let filtered = screen(&view, 80, 24).join("\n");
        assert!(filtered.contains("/packets venue_") && !filtered.contains("flows"), "{filtered}");
        view.is_typing = false;
        view.scroll(1);
        let scrolled = screen(&view, 80, 24).join("\n");
        assert!(scrolled.contains("1 above") && !scrolled.contains("packets_in"), "{scrolled}");
        view.turn(-1);
        let ports = screen(&view, 100, 30).join("\n");
        assert!(ports.contains("[ports]") && ports.contains("venue-a"), "{ports}");
        view.hold();
        assert!(screen(&view, 80, 24)[1].contains("held"));
        view.hold();
        let mut halted = status(13, 31_000, 60);
        halted["stop_words"] = json!({"class:orders": "halt"});
        view.look(&halted);
        assert_eq!(screen(&view, 80, 24)[1], "class:orders halt");
        halted["at_ns"] = json!(14_000_000_000_u64);
        halted["ports"][1]["link"] = json!("removed");
        view.look(&halted);
        assert_eq!(screen(&view, 80, 24)[1], "class:orders halt; links: venue-a removed");
        view.fail("no gateway runs");
        assert_eq!(screen(&view, 80, 24)[1], "no gateway runs");
    }

    #[test]
    fn a_restart_makes_no_rate() {
        let mut view = view();
        let mut again = status(1, 5, 0);
        again["at_ns"] = json!(20_000_000_000_u64);
        view.look(&again);
        let classes = view.classes();
        assert_eq!(classes.rows[0][1], "-", "{classes:?}");
        assert_eq!(view.sent.len(), 2, "what was before is no rate of this run");
    }

    #[test]
    fn no_size_is_too_small() {
        for (width, height) in [(1, 1), (10, 3), (40, 10), (200, 60)] {
            screen(&view(), width, height);
        }
    }
}
