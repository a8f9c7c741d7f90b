//! Flows that have been idle are given back, so that a bounded table serves for ever.

use intent::{Record, shim};
use model::stop::StopWord;
use model::time::Nanos;

use crate::frames::{ACK, FIX, Frame, LOGS, order, tcp, udp};
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

/// Nothing leaves of a flow that is halted: it is not idle for that, and is not learnt again with every
/// packet.
#[test]
fn a_flow_from_which_nothing_leaves_is_not_idle_before_its_time() {
    let mut w = World::new(&config(&[("flows_max = 64", "flows_max = 64\nflow_idle = \"1s\"")]));
    let aged = |w: &World| w.worker().lanes()[0].parts().classifier.flows_aged();
    w.word("all", StopWord::Halt);
    for _ in 0..50 {
        w.send_all([order(1)]);
        w.run_for(ms(10));
    }
    assert_eq!((aged(&w), w.out().len()), (0, 0), "half a second");
    for _ in 0..200 {
        w.run_for(ms(10));
    }
    assert_eq!(aged(&w), 1);
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

/// Room for so many 5-tuples, each forgotten after a second.
fn few(flows: u32) -> World {
    World::new(&config(&[
        ("flows_max = 64", &format!("flows_max = {flows}\nflow_idle = \"1s\"")),
        ("side = \"inside\"", "side = \"inside\"\nintent = \"shim\""),
    ]))
}

/// A datagram of `host` in its group 7.
fn in_a_group(host: u8) -> Frame {
    let bytes = udp(host, LOGS).bytes(u32::from(host));
    let mut tagged = vec![0; bytes.len() + shim::SHIM_BYTES];
    let record = Record { group: Some(7), ..Record::default() };
    shim::tag_frame(&bytes, &record, &mut tagged).unwrap();
    Frame::Raw(tagged)
}

/// Idle, and turns now and then.
fn rest(w: &mut World) {
    let aged = |w: &World| w.worker().lanes()[0].parts().classifier.flows_aged();
    let before = aged(w);
    for _ in 0..200 {
        w.run_for(ms(10));
    }
    assert!(aged(w) > before, "nothing is given back");
}

#[test]
fn the_next_flow_with_a_number_takes_over_nothing_of_the_one_before() {
    let mut w = few(1);
    // The same sequence numbers twice: a retransmission whose messages are counted already.
    for _ in 0..2 {
        let now = w.now;
        w.send(now, &Frame::Raw(tcp(1, FIX, ACK, 100).bytes(500)));
        w.run_for(ms(5));
    }
    rest(&mut w);
    // Another connection with the same numbers is a new one, and nothing of it was sent before.
    let now = w.now;
    w.send(now, &Frame::Raw(tcp(2, FIX, ACK, 100).bytes(500)));
    w.run_for(ms(5));
    let full = w.worker().lanes()[0].parts().classifier.counters().flow_table_full;
    let books = w.books();
    let rows: Vec<_> = books.samples.iter().map(|row| (row.flow, row.messages)).collect();
    let flow = rows[0].0;
    assert_eq!((rows, full), (vec![(flow, 1), (flow, 0), (flow, 1)], 0));
    // Gaps are between packets of one flow: one, not two.
    assert_eq!(books.gaps, 1);
}

#[test]
fn the_next_flow_with_a_number_is_in_no_group_of_the_one_before() {
    let mut w = few(2);
    let now = w.now;
    w.send(now, &udp(1, LOGS));
    w.run_for(ms(5));
    let now = w.now;
    w.send(now, &in_a_group(1));
    w.run_for(ms(5));
    rest(&mut w);
    let now = w.now;
    w.send(now, &udp(2, LOGS));
    w.run_for(ms(5));
    let flows: Vec<_> = w.books().samples.iter().map(|row| row.flow).collect();
    assert_eq!(flows.len(), 3);
    assert_ne!(flows[0], flows[1], "the group has a flow of its own");
    assert_eq!(flows[2], flows[0], "the number of the first, in no group");
}

#[test]
fn a_5_tuple_is_not_idle_while_its_group_is_busy() {
    let mut w = few(2);
    let now = w.now;
    w.send(now, &in_a_group(1));
    // Only the first packet says so; the others follow it, twice a second for long.
    for _ in 0..10 {
        for _ in 0..50 {
            w.run_for(ms(10));
        }
        let now = w.now;
        w.send(now, &udp(1, LOGS));
    }
    w.run_for(ms(5));
    assert_eq!(w.worker().lanes()[0].parts().classifier.flows_aged(), 0);
    let flows: Vec<_> = w.books().samples.iter().map(|row| row.flow).collect();
    assert_eq!(flows, vec![flows[0]; 11]);
}

#[test]
fn flows_of_groups_that_are_no_more_come_back() {
    let mut w = few(2);
    // Each host is in a group of its own: two flows, and there are two.
    for host in 0..5 {
        let now = w.now;
        w.send(now, &in_a_group(host));
        w.run_for(ms(5));
        rest(&mut w);
    }
    let groups = w.worker().lanes()[0].intent().unwrap().counters().groups;
    assert_eq!((groups.full, groups.changes_waiting), (0, 0));
    let full = w.worker().lanes()[0].parts().classifier.counters().flow_table_full;
    let books = w.books();
    let flows: Vec<_> = books.samples.iter().map(|row| row.flow).collect();
    assert_eq!((flows.len(), full), (5, 0));
    assert!(books.gaps == 0, "{} gaps between packets of different hosts", books.gaps);
}
