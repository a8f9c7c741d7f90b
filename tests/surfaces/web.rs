//! The page of the exporter in a browser.

use serde_json::Value;

use crate::browser::Browser;
use crate::gateway::Gateway;
use crate::points::{Points, of_rows, sum};

/// The rows of a table: the texts of their cells.
const ROWS: &str = "((id) => [...document.querySelectorAll(`#${id} tbody tr`)].map((row) => \
                    [...row.cells].map((cell) => cell.textContent)))";

fn rows(browser: &mut Browser, table: &str) -> Vec<Vec<String>> {
    let said = browser.eval(&format!("{ROWS}({table:?})"));
    serde_json::from_value(said).unwrap()
}

fn is_live(browser: &mut Browser) {
    browser.wait("document.documentElement.dataset.stream === 'live'");
}

/// Its section of counters.
pub struct Counters(Browser);

impl Counters {
    /// `None` where there is no browser.
    pub fn start(gateway: &Gateway) -> Option<Self> {
        let mut browser = Browser::start()?;
        browser.open(&gateway.url("/#counters"));
        is_live(&mut browser);
        Some(Self(browser))
    }

    /// What it shows, once it is no older than so many ticks of control.
    pub fn points(&mut self, ticks: u64) -> Points {
        let row = "row[0] === 'control_ticks' && Number(row[1].replaceAll(',', ''))";
        self.0.wait(&format!("{ROWS}('counters-rows').some((row) => {row} >= {ticks})"));
        let rows = rows(&mut self.0, "counters-rows");
        let points = of_rows(rows.iter().map(|row| [&*row[0], &*row[2], &*row[1]]));
        assert!(sum(&points, "control_ticks", "") >= ticks);
        points
    }
}

#[test]
fn the_page_is_live_leads_through_and_says_when_it_is_not_live() {
    let mut gateway = Gateway::start("page");
    let Some(mut browser) = Browser::start() else { return };
    browser.look_like(1280, 900, false);
    browser.open(&gateway.url("/"));
    is_live(&mut browser);
    let status = gateway.status();

    // Values are there, and change.
    browser.wait("document.querySelector('#tiles .now').textContent !== '-'");
    let classes = rows(&mut browser, "classes");
    let names: Vec<&str> = classes.iter().map(|row| &*row[0]).collect();
    let configured = status["classes"].as_array().unwrap().iter();
    assert_eq!(names, configured.map(|class| class["name"].as_str().unwrap()).collect::<Vec<_>>());
    let other = classes.iter().find(|row| row[0] == "other").unwrap();
    assert_eq!((&*other[3], &*other[5]), ("200M", "0"), "{classes:?}");
    let up = "document.querySelector('#facts').textContent";
    let before = browser.eval(up);
    browser.wait(&format!("{up} !== {before}"));
    assert_eq!(rows(&mut browser, "ports").len(), 2);
    assert_eq!(rows(&mut browser, "cores")[0][0], format!("0 (CPU {})", gateway.cpu));

    // Every machine has its band.
    browser.click("nav a[href='#regimes']");
    browser.wait(
        "!document.querySelector('#regimes').hidden && document.querySelector('#overview').hidden",
    );
    let machines = status["regime"]["machines"].as_array().unwrap();
    assert!(!machines.is_empty());
    let bands = browser.eval("document.querySelectorAll('#bands .band rect').length");
    assert!(bands.as_u64() >= Some(machines.len() as u64), "{bands}");
    let mut shown: Vec<String> =
        rows(&mut browser, "machines").iter().map(|row| format!("{} {}", row[0], row[1])).collect();
    let name = |machine: &Value| {
        format!("{} {}", machine["machine"].as_str().unwrap(), machine["scope"].as_str().unwrap())
    };
    let mut wanted: Vec<String> = machines.iter().map(name).collect();
    shown.sort();
    wanted.sort();
    assert_eq!(shown, wanted);

    // KPIs, found by their words, and from the class that they are of.
    browser.click("nav a[href='#overview']");
    browser.click("#classes a");
    browser.wait("document.querySelector('#kpis-filter').value === 'orders'");
    let kpis = rows(&mut browser, "kpis-rows");
    assert!(kpis.len() > 3 && kpis.iter().all(|row| row.concat().contains("orders")), "{kpis:?}");
    browser.click("nav a[href='#counters']");
    browser.click("#counters-filter");
    browser.type_text("orders packets_in");
    browser.wait(&format!("{ROWS}('counters-rows').length > 0 && \
        {ROWS}('counters-rows').every((row) => row[0].includes('packets_in') && row[2].includes('orders'))"));

    // A word of an operator stands above everything.
    gateway.halt("class:orders");
    browser.wait("document.querySelector('#notice').textContent.includes('class:orders: halt')");

    // It can be read on a phone as on a desk, by day and by night.
    for (width, dark) in [(1280, false), (390, false), (390, true), (1280, true)] {
        browser.look_like(width, 900, dark);
        for section in ["overview", "regimes", "kpis", "counters"] {
            browser.click(&format!("nav a[href='#{section}']"));
            browser.wait(&format!("!document.querySelector('#{section}').hidden"));
            let light = if dark { "dark" } else { "light" };
            browser.picture(&format!("page-{section}-{width}-{light}"));
            let problems = browser.illegible();
            assert!(problems.is_empty(), "{section} at {width}: {problems:?}");
        }
    }

    gateway.kill();
    browser.wait("document.documentElement.dataset.stream === 'lost'");
    browser.wait("/old$/.test(document.querySelector('#stream').textContent)");
    browser.picture("page-lost");

    let origin = gateway.url("");
    let elsewhere: Vec<_> =
        browser.requests.iter().filter(|url| !url.starts_with(&origin)).collect();
    assert!(elsewhere.iter().all(|url| url.starts_with("data:")), "{elsewhere:?}");
    assert!(browser.requests.len() >= 2, "{:?}", browser.requests);
    assert_eq!(browser.faults, [] as [String; 0]);
}
