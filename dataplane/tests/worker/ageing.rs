//! Flows that have been idle are given back, so that a bounded table serves for ever.

use model::time::Nanos;

use crate::frames::{order, udp};
use crate::world::{World, config, ms, us};

const PORT: u16 = 5_000;

#[test]
fn a_table_that_is_full_of_idle_flows_takes_new_ones_in() {
    let config = config(&[("flows_max = 64", "flows_max = 64\nflow_idle = \"1s\"")]);
    let mut w = World::new(&config);
    let flows = |w: &World| w.worker().lanes()[0].parts().classifier.flows();
    let full = |w: &World| w.worker().lanes()[0].parts().classifier.counters().flow_table_full;
    let round = |w: &mut World, from: u8| {
        w.send_all((from..from + 60).map(|host| udp(host, PORT)));
        w.run_for(ms(1));
    };
    round(&mut w, 0);
    let first = flows(&w);
    assert!(first >= 60, "{first} keys");
    // Nothing is idle for a second: the next sixty find the table full and share flows.
    w.run_for(ms(900));
    round(&mut w, 100);
    assert!(full(&w) > 0);
    assert!(flows(&w) >= first);
    // Now they are, and a turn now and then is all it takes.
    for _ in 0..200 {
        w.run_for(ms(10));
    }
    let aged = w.worker().lanes()[0].parts().classifier.flows_aged();
    assert!(aged >= 60, "{aged} given back");
    assert_eq!(flows(&w), 0);
    let before = full(&w);
    round(&mut w, 100);
    assert_eq!(
        (full(&w), w.out().len()),
        (before, 180),
        "the same packets have flows of their own"
    );
}

#[test]
fn a_flow_that_owes_or_holds_is_not_given_back() {
    let changes = [
        ("flows_max = 64", "flows_max = 64\nflow_idle = \"1s\""),
        (
            "name = \"orders\"\nkind = \"order\"",
            "name = \"orders\"\nkind = \"order\"\nflow_messages = \"1000/s\"\nflow_message_burst = 1",
        ),
    ];
    let mut w = World::new(&config(&changes));
    w.word_passthrough();
    // They go at once and leave a debt of many seconds at one message per ms.
    w.send_all((0..5_000).map(|_| order(1)));
    w.run_for(us(500));
    w.resume("all");
    for _ in 0..300 {
        w.run_for(ms(10));
    }
    let classifier = |w: &World| w.worker().lanes()[0].parts().classifier.flows_aged();
    assert_eq!(classifier(&w), 0, "three seconds idle, and five seconds of debt");
    for _ in 0..400 {
        w.run_for(Nanos::from_millis(10));
    }
    assert_eq!(classifier(&w), 1);
}
