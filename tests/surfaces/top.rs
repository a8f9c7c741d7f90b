//! `wirepace top` on a terminal.

use crate::browser::Browser;
use crate::gateway::Gateway;
use crate::points::{Points, of_rows, sum};
use crate::terminal::Terminal;

/// So far apart stand two columns.
const GAP: &str = "  ";

/// Its page of counters, on a screen that has room for all of them.
pub struct Counters(Terminal);

impl Counters {
    pub fn start(gateway: &Gateway) -> Self {
        let mut terminal = Terminal::run(&mut gateway.top(), 240, 2_000);
        terminal.wait(|lines| lines.iter().any(|line| line.contains("[drops]")));
        // Backwards: it is the last one.
        terminal.press("\x1b[Z");
        Self(terminal)
    }

    /// What it shows, once it is no older than so many ticks of control.
    pub fn points(&mut self, ticks: u64) -> Points {
        let shown = |lines: &[String]| {
            let from = lines.iter().position(|line| line.contains("[counters]"))?;
            let rows = lines[from + 2..].iter().filter_map(|line| {
                let mut cells = line.split(GAP).map(str::trim).filter(|cell| !cell.is_empty());
                let (name, value) = (cells.next()?, cells.next()?);
                Some([name, cells.next().unwrap_or(""), value])
            });
            Some(of_rows(rows.take_while(|[name, ..]| *name != "q quit")))
        };
        let is_new = |lines: &[String]| {
            shown(lines).is_some_and(|points| sum(&points, "control_ticks", "") >= ticks)
        };
        shown(&self.0.wait(is_new)).unwrap()
    }
}

/// At the size of a terminal of old and at that of a wall: what the screen says, looked at as its user does.
#[test]
fn top_shows_what_happens_and_turns_pages() {
    let gateway = Gateway::start("top");
    let mut browser = Browser::start();
    for (columns, rows) in [(80, 24), (160, 50)] {
        let mut terminal = Terminal::run(&mut gateway.top(), columns, rows);
        let mut looked_at = |terminal: &Terminal, page: &str| {
            if let Some(browser) = &mut browser {
                browser.show(
                    &terminal.to_html(),
                    20 + u32::from(columns) * 10,
                    20 + u32::from(rows) * 19,
                );
                browser.picture(&format!("top-{columns}x{rows}-{page}"));
            }
        };
        let has = |lines: &[String], text: &str| lines.iter().any(|line| line.contains(text));
        let first = terminal.wait(|lines| {
            // A rate needs two looks.
            let of = lines.iter().find(|line| line.starts_with("other "));
            of.is_some_and(|line| line.contains("200M") && line.contains('%'))
        });
        assert!(first[0].starts_with(&gateway.name) && has(&first, "sent/s"), "{first:?}");
        assert!(has(&first, "(CPU") && has(&first, "running"), "{first:?}");
        assert!(first[usize::from(rows) - 1].contains("q quit"), "{first:?}");
        looked_at(&terminal, "drops");
        terminal.press("\t");
        terminal.wait(|lines| has(lines, "[regimes]") && has(lines, "class:orders"));
        looked_at(&terminal, "regimes");
        terminal.press("\t");
        terminal.wait(|lines| has(lines, "[ports]") && has(lines, "venue"));
        looked_at(&terminal, "ports");
        terminal.press("\t");
        terminal.wait(|lines| has(lines, "[counters]") && has(lines, "below"));
        terminal.press("/control_ticks\r");
        terminal.wait(|lines| {
            has(lines, "/control_ticks") && !has(lines, "/control_ticks_") && !has(lines, "below")
        });
        looked_at(&terminal, "counters");
        terminal.press("q");
        terminal.wait_for_end();
    }
}
