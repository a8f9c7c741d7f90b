//! What an operator looks at while packets pass: flows, copies of packets.

use dataplane::bpf::{Instruction, Program};
use dataplane::survey::{Survey, Wanted};
use dataplane::tap::{Caught, Slot, TapReader, TapSpec, tap};
use model::drop_reason::DropReason;
use model::stop::StopWord;

use crate::PIPELINE;
use crate::frames::{CANCELS, Frame, LOGS, order, udp};
use crate::world::{World, config, us};

fn everything() -> TapSpec {
    TapSpec {
        port: None,
        received: true,
        sent: true,
        dropped: true,
        class: None,
        flow: None,
        filter: None,
        snaplen: 1_514,
        count: u64::MAX,
    }
}

/// Lends the pacing core a tap; it has it after the next poll.
fn lend(w: &mut World, spec: TapSpec, slots: usize) -> TapReader {
    let (tap, reader) = tap(spec, slots);
    w.control.lend_tap(Box::new(tap)).unwrap();
    w.poll();
    reader
}

fn all(reader: &TapReader) -> Vec<Slot> {
    std::iter::from_fn(|| reader.take()).collect()
}

fn class(name: &str) -> u8 {
    let at = config(&[]).classes.iter().position(|class| class.name == name).unwrap();
    at as u8
}

#[test]
fn a_tap_sees_what_comes_what_leaves_and_what_ends_with_its_bytes() {
    let mut w = World::new(&config(&[]));
    let reader = lend(&mut w, everything(), 64);
    let sent = w.send_all([udp(1, CANCELS), udp(2, LOGS)]);
    w.poll();
    w.word("class:orders", StopWord::Halt);
    let halted = w.send_all([order(1)]);
    w.poll();
    w.run_dry();
    let caught = all(&reader);
    let told: Vec<_> = caught.iter().map(|slot| (slot.caught, slot.port, slot.class)).collect();
    let (cancels, logs, orders) = (class("cancels"), class("logs"), class("orders"));
    let halt = Caught::Dropped(DropReason::Halted);
    let of = |wanted: Caught| -> Vec<_> {
        told.iter().filter(|(c, ..)| *c == wanted).copied().collect()
    };
    assert_eq!(of(Caught::Out), [(Caught::Out, 1, Some(cancels)), (Caught::Out, 1, Some(logs))]);
    assert_eq!(of(halt), [(halt, 1, Some(orders))]);
    if !PIPELINE {
        let came = [
            (Caught::In, 0, Some(cancels)),
            (Caught::In, 0, Some(logs)),
            (Caught::In, 0, Some(orders)),
        ];
        assert_eq!(of(Caught::In), came);
    }
    for (slot, (frame, number)) in caught
        .iter()
        .filter(|slot| slot.caught == Caught::Out)
        .zip([udp(1, CANCELS), udp(2, LOGS)].iter().zip(sent))
    {
        assert_eq!(slot.bytes(), frame.bytes(number));
        assert_eq!(slot.len as usize, frame.bytes(number).len());
    }
    let ended = caught.iter().find(|slot| slot.caught == halt).unwrap();
    assert_eq!(ended.bytes(), order(1).bytes(halted[0]));
    assert_eq!(reader.lost(), 0);
}

#[test]
fn what_a_port_refuses_is_caught_once_when_it_leaves() {
    let mut w = World::new(&config(&[]));
    let reader = lend(&mut w, TapSpec { received: false, dropped: false, ..everything() }, 64);
    w.wire.borrow_mut().takes = 0;
    let sent = w.send_all((1..4).map(|host| udp(host, CANCELS)));
    w.run_for(us(50));
    assert!(all(&reader).is_empty(), "nothing has left");
    w.wire.borrow_mut().takes = usize::MAX;
    w.run_dry();
    let caught = all(&reader);
    let bytes: Vec<_> = caught.iter().map(|slot| slot.bytes().to_vec()).collect();
    let frames: Vec<_> = (1..4).zip(sent).map(|(host, n)| udp(host, CANCELS).bytes(n)).collect();
    assert_eq!(bytes, frames);
}

#[test]
fn a_full_tap_loses_copies_and_never_packets_and_comes_home() {
    let mut w = World::new(&config(&[]));
    let reader = lend(&mut w, TapSpec { received: false, dropped: false, ..everything() }, 4);
    w.send_all((0..10).map(|host| udp(host, CANCELS)));
    w.run_dry();
    assert_eq!((w.out().len(), reader.lost()), (10, 6));
    let caught = all(&reader);
    assert_eq!(caught.len(), 4);
    caught.into_iter().for_each(|slot| reader.give(slot));
    w.send_all([udp(1, CANCELS)]);
    w.run_dry();
    assert_eq!(all(&reader).len(), 1, "an emptied slot is used again");
    assert!(w.control.lend_tap(Box::new(tap(everything(), 1).0)).is_err(), "one at a time");
    w.control.end_tap().unwrap();
    w.poll();
    assert!(w.control.take_tap().is_some());
    assert!(w.control.lend_tap(Box::new(tap(everything(), 1).0)).is_ok());
    w.poll();
}

/// Time stands still: the core has none to spare, and forwards all the same.
#[test]
fn a_tap_that_has_had_its_share_of_the_core_leaves_packets_alone_and_counts_them() {
    let mut w = World::new(&config(&[]));
    let spec = TapSpec { received: false, dropped: false, snaplen: 9_216, ..everything() };
    let reader = lend(&mut w, spec, 4_096);
    let mut sent = 0;
    for _ in 0..100 {
        sent += w.send_all((0..32).map(|host| udp(host, CANCELS))).len();
        w.poll();
    }
    w.run_dry();
    assert_eq!(w.out().len(), sent);
    let caught = all(&reader).len();
    assert!((2_400..2_450).contains(&caught), "{caught}");
    assert!(reader.unseen() > 600, "{}", reader.unseen());
    assert_eq!(caught as u64 + reader.lost() + reader.unseen(), sent as u64);
    // With time its share comes back.
    let before = reader.unseen();
    w.send_all((0..10).map(|host| udp(host, CANCELS)));
    w.run_dry();
    assert_eq!((all(&reader).len(), reader.unseen()), (10, before));
}

#[test]
fn a_tap_takes_what_its_filter_says_and_no_more_than_its_count() {
    let mut w = World::new(&config(&[]));
    let of_class =
        TapSpec { received: false, dropped: false, count: 2, snaplen: 20, ..everything() };
    let reader = lend(&mut w, TapSpec { class: Some(class("logs")), ..of_class.clone() }, 64);
    w.send_all((0..5).flat_map(|host| [udp(host, CANCELS), udp(host, LOGS)]));
    w.run_dry();
    let caught = all(&reader);
    assert_eq!(caught.len(), 2);
    assert!(
        caught.iter().all(|slot| slot.class == Some(class("logs")) && slot.bytes().len() == 20)
    );
    w.control.end_tap().unwrap();
    w.poll();
    w.control.take_tap().unwrap();

    let spec =
        TapSpec { flow: Some(flow_of(&udp(3, CANCELS)).parse().unwrap()), count: 9, ..of_class };
    let reader = lend(&mut w, spec, 64);
    w.send_all((0..5).map(|host| udp(host, CANCELS)));
    w.run_dry();
    assert_eq!(all(&reader).len(), 1);
    w.control.end_tap().unwrap();
    w.poll();
    w.control.take_tap().unwrap();

    // The last byte of the source address of IPv4 is 3.
    let load = Instruction(0x30, 0, 0, 29);
    let is_3 = [load, Instruction(0x15, 0, 1, 3), Instruction(6, 0, 0, 1), Instruction(6, 0, 0, 0)];
    let spec = TapSpec { filter: Some(Program::new(&is_3).unwrap()), count: 9, ..everything() };
    let reader = lend(&mut w, TapSpec { received: false, dropped: false, ..spec }, 64);
    let sent = w.send_all((0..5).map(|host| udp(host, CANCELS)));
    w.run_dry();
    let caught: Vec<_> = all(&reader).iter().map(|slot| slot.bytes().to_vec()).collect();
    assert_eq!(caught, [udp(3, CANCELS).bytes(sent[3])]);
}

/// The flow of a frame, as it is written.
fn flow_of(frame: &Frame) -> String {
    let bytes = frame.bytes(0);
    match model::frame::parse(&bytes, bytes.len() as u32) {
        model::frame::Frame::Ip(parsed) => parsed.key.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_survey_finds_every_flow_with_what_it_holds() {
    let mut w = World::new(&config(&[]));
    w.send_all((0..5).map(|_| order(1)).chain([udp(2, LOGS)]));
    w.run_for(us(100));
    w.control.lend_survey(Box::new(Survey::new(100, Wanted::default()))).unwrap();
    let mut survey = None;
    for _ in 0..20 {
        w.poll();
        survey = survey.or_else(|| w.control.take_survey());
    }
    let survey = survey.unwrap();
    let orders = survey.rows().iter().find(|row| row.class == class("orders")).unwrap();
    assert_eq!((orders.packets, orders.waits_for), (3, "its class"));
    let logs = survey.rows().iter().find(|row| row.class == class("logs")).unwrap();
    assert_eq!((logs.packets, logs.waits_for), (0, "nothing"));
    assert!(logs.last_departure.is_some());
    if !PIPELINE {
        assert_eq!(orders.key.unwrap().to_string(), flow_of(&order(1)));
    }
    assert_eq!(survey.left_off(), 0);
    let wanted = Wanted { class: None, holding: true };
    w.control.lend_survey(Box::new(Survey::new(100, wanted))).unwrap();
    let holding = (0..20).find_map(|_| {
        w.poll();
        w.control.take_survey()
    });
    assert_eq!(holding.unwrap().rows().len(), 1);
}
