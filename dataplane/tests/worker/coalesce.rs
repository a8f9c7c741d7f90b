//! An RX hold delivers packets together; they have arrived before it. Only what comes from the venue
//! may be held back.

use model::config::Config;
use model::time::Nanos;

use crate::frames::{order, udp};
use crate::world::{World, config, ms, us};

/// The queue of the port to the venue holds up to four packets for up to 50 us.
fn holding() -> Config {
    let mut config = config(&[]);
    let queue = &mut config.ports[1].queues[0];
    (queue.hold_frames, queue.hold_time) = (4, us(50));
    config
}

fn departures(w: &World) -> Vec<Nanos> {
    w.back.borrow().sent.iter().map(|sent| sent.at).collect()
}

fn answer_at(w: &mut World, times: &[u64]) {
    for &at in times {
        w.answer(us(at), &udp(1, 9_999));
    }
}

#[test]
fn delivery_waits_for_so_many_packets_and_each_has_arrived_when_it_came() {
    let mut w = World::new(&holding());
    answer_at(&mut w, &[100, 110, 120, 130, 200]);
    w.run_until(us(140));
    assert_eq!(departures(&w), [us(130); 4]);
    w.run_for(ms(1));
    assert_eq!(departures(&w)[4..], [us(250)], "the fifth begins a hold of its own");
    let books = w.books();
    let rows = books.samples.iter();
    let ingress: Vec<_> = rows.clone().map(|row| row.t_ingress).collect();
    assert_eq!(ingress, [100, 110, 120, 130, 200].map(us));
    assert!(rows.clone().all(|row| row.t_tx > Some(row.t_ingress) || row.t_ingress == us(130)));
}

#[test]
fn delivery_waits_for_so_long_after_the_first() {
    let mut w = World::new(&holding());
    answer_at(&mut w, &[100, 140]);
    w.run_until(us(149));
    assert_eq!((departures(&w).len(), w.held()), (0, 2));
    w.run_for(ms(1));
    assert_eq!(departures(&w), [us(150); 2]);
    w.books();
}

#[test]
fn what_is_held_back_at_the_end_is_delivered_before_the_drain() {
    let mut w = World::new(&holding());
    answer_at(&mut w, &[100, 110]);
    w.run_until(us(120));
    assert_eq!(w.held(), 2);
    w.stop();
    assert_eq!(departures(&w), [us(120); 2]);
    assert_eq!(w.books().totals.packets_out, 2);
}

#[test]
fn the_other_direction_is_not_held() {
    let mut w = World::new(&holding());
    w.send(us(100), &order(1));
    w.run_until(us(100));
    assert_eq!(w.story().len(), 1);
    w.books();
}

#[test]
fn a_profile_ends_the_hold_and_normal_brings_it_back() {
    let config = holding();
    let mut w = World::new(&config);
    answer_at(&mut w, &[100, 110, 200, 300]);
    w.run_until(us(120));
    assert_eq!(w.held(), 2);
    let mut at_once = config.profiles[0].clone();
    at_once.index = 7;
    at_once.classes[0].shaping.rx_hold_off = true;
    w.control.set_profile(Box::new(at_once), ms(50)).unwrap();
    w.run_until(us(210));
    assert_eq!(
        departures(&w),
        [us(120), us(120), us(200)],
        "what was held goes, and waits no more"
    );
    w.control.set_normal().unwrap();
    w.run_for(ms(1));
    assert_eq!(departures(&w)[3..], [us(350)]);
    w.books();
}
