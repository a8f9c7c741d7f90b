//! What the parts of a lane count by themselves comes to control with the blocks, once.

use dataplane::channel::Event;
use intent::{Record, shim};
use model::kpi::{LimitTally, Tally};
use model::time::Nanos;

use crate::common::Bench;
use crate::frames::{ACK, FIX, Frame, LOGS, TCP_ORDERS, cancel_in_flow, order, tcp, udp};
use crate::world::{Books, World, config, ms};

/// Ten messages in 10 ms, two of them for cancels; four at once, then one in 2.5 ms.
const LIMIT: &str = "[[venue_limit]]
name = \"xcme\"
venue = \"XCME\"
messages = 10
per = \"10ms\"
margin = 0.0
cancel_reserve = 2
burst = 4
[[class]]
name = \"orders\"
";

fn limited() -> World {
    let session = "name = \"cancel-session\"\n";
    World::new(&config(&[
        ("side = \"inside\"", "side = \"inside\"\nintent = \"shim\""),
        ("[[class]]\nname = \"orders\"\n", LIMIT),
        (session, &format!("{session}messages_per_segment = 1\n")),
    ]))
}

/// Frame `number` with what is meant by it.
fn tagged(frame: &Frame, number: u32, record: &Record) -> Frame {
    let bytes = frame.bytes(number);
    let mut with = vec![0; bytes.len() + shim::SHIM_BYTES];
    shim::tag_frame(&bytes, record, &mut with).unwrap();
    Frame::Raw(with)
}

/// Of the lane to the venue.
fn limit_of(books: &Books) -> LimitTally {
    books.block.ports[0].limits[0]
}

#[test]
fn a_venue_limit_tells_its_room_its_waits_and_who_waited_behind() {
    let mut w = limited();
    w.send_all((0..6).map(|_| order(1)));
    w.send_all([cancel_in_flow(1)]);
    w.run_dry();
    let figures = w.worker().lanes()[0].parts().pacer.limit_figures().next().unwrap();
    let books = w.books();
    let told = limit_of(&books);
    assert_eq!(books.totals.packets_out, 7);
    assert_eq!(
        (told.least_room, told.waits, told.messages),
        (Some(figures.least_room), figures.waits, 7)
    );
    assert!(told.waits > 0 && figures.least_room < 10, "{told:?}");
    assert_eq!(books.totals.tallies[Tally::ExemptBehindVenueLimit], 1);
    assert!(
        books
            .events
            .iter()
            .any(|event| matches!(event, Event::ExemptBehindLimit { port: 1, packets: 1, .. }))
    );
}

#[test]
fn a_packet_that_no_limit_lets_go_is_an_alarm() {
    let mut w = limited();
    let many = Record { messages: Some(9), ..Record::default() };
    w.send_all([1, 2].map(|host| tagged(&tcp(host, TCP_ORDERS, ACK, 1_000), 1, &many)));
    w.run_dry();
    let books = w.books();
    assert_eq!(books.totals.tallies[Tally::OverVenueLimit], 2);
    assert_eq!(limit_of(&books).messages, 0);
    let told: u32 = books
        .events
        .iter()
        .filter_map(|event| match event {
            Event::OverVenueLimit { port: 1, packets, .. } => Some(*packets),
            _ => None,
        })
        .sum();
    assert_eq!(told, 2);
}

#[test]
fn retransmissions_are_counted_with_and_without_their_original() {
    let mut w = World::new(&config(&[]));
    let segment = |seq: u32| Frame::Raw(tcp(1, FIX, ACK, 100).bytes(seq));
    // One message per ms: the fourth is held when it comes again; the first had left.
    w.send_all([segment(1_000), segment(1_100), segment(1_200), segment(1_300), segment(1_300)]);
    w.run_for(ms(5));
    w.send_all([segment(1_000)]);
    w.run_dry();
    let t = w.books().totals.tallies;
    assert_eq!(
        (t[Tally::TcpSegments], t[Tally::RetransmitsWhileHeld], t[Tally::TcpRetransmissions]),
        (6, 1, 1)
    );
}

#[test]
fn flows_horizon_marks_and_tags_are_told_once_however_often_blocks_go() {
    let orders = "name = \"orders\"\nkind = \"order\"\n";
    let config = config(&[
        ("side = \"inside\"", "side = \"inside\"\nintent = \"shim\""),
        (orders, &format!("{orders}horizon = \"1ms\"\n")),
        ("name = \"logs\"\n", "name = \"logs\"\necn_threshold = \"100us\"\n"),
        ("flows_max = 64", "flows_max = 64\nflow_idle = \"1s\""),
    ]);
    let mut w = World::on(
        dataplane::assemble::TimeBase::Virtual,
        crate::ports::Wire::default(),
        &config,
        Bench::new(),
    );
    w.now = Nanos::from_secs(10);
    let due = Record { t_due: Some((w.now + ms(8)).0), ..Record::default() };
    w.send_all([tagged(&order(1), 1, &due)]);
    // ECT(0) in a cap of 1 Mbit/s: what is beyond the burst waits longer than the threshold.
    let mut able = udp(1, LOGS).bytes(2);
    able[15] |= 2;
    w.send_all((0..60).map(|_| Frame::Raw(able.clone())));
    w.send_all((0..90).map(|host| udp(host, 5_000)));
    w.run_dry();
    // Blocks go and come while flows age.
    let mut block = model::kpi::Block::new(&dataplane::assemble::kpi_plan(
        &config,
        &[
            (1, model::inflight::CompletionSource::Synchronous),
            (0, model::inflight::CompletionSource::Synchronous),
        ],
        dataplane::assemble::TimeBase::Virtual,
    ));
    for _ in 0..200 {
        w.run_for(ms(10));
        while let Some(mut full) = w.control.take_block() {
            block.merge(&full);
            full.clear();
            w.control.give_block(full);
        }
    }
    let lane = &w.worker().lanes()[0];
    let classifier = &lane.parts().classifier;
    let (full, aged) = (classifier.counters().flow_table_full, classifier.flows_aged());
    let ecn = lane.ecn_marked();
    assert!(full > 0 && aged > 0 && ecn > 0, "{full} {aged} {ecn}");
    w.poll();
    let t = block.totals().tallies;
    assert_eq!(
        (t[Tally::FlowTableFull], t[Tally::FlowsAged], t[Tally::EcnMarked]),
        (full, aged, ecn)
    );
    assert_eq!(
        (t[Tally::HorizonCapped], t[Tally::IntentStripped], t[Tally::IntentRecords]),
        (1, 1, 1)
    );
    assert_eq!(block.ports[0].levels.unwrap().flows, 0);
    assert_eq!(block.ports[0].levels.unwrap().below, None, "synchronous");
}

#[test]
fn bytes_below_the_queue_are_told_by_what_keeps_them_there() {
    let config = config(&[("#PORT", "link = \"10M\"")]);
    let mut w = World::new(&config);
    w.word_passthrough();
    w.send_all((0..10).map(|_| order(1)));
    w.run_dry();
    let books = w.books();
    let below = books.block.ports[0].levels.unwrap().below.unwrap();
    // Ten frames of 74 bytes and 24 of framing; no NIC here keeps a packet until its time.
    assert_eq!((below.eligible_bytes_max, below.queued_bytes_max), (10 * 98, 0));
    assert_eq!((below.eligible_bytes, below.queued_bytes), (0, 0));
}
