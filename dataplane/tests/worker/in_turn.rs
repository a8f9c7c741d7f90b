//! Several queues of one port on one core; one core for an egress port.

use std::cell::RefCell;
use std::rc::Rc;

use dataplane::assemble;
use dataplane::batch::Batch;
use dataplane::port::Rx;
use dataplane::port::in_turn::InTurn;
use model::time::Nanos;

use crate::common::{Bench, bytes_of};
use crate::frames::{number_of, order};
use crate::ports::{SimRx, Source};
use crate::world::{config, us};

#[test]
fn a_busy_queue_does_not_keep_the_others_waiting() {
    let bench = Bench::new();
    let sources: Vec<_> = (0..3).map(|_| Rc::new(RefCell::new(Source::default()))).collect();
    let queue = |source: &Rc<RefCell<Source>>| SimRx {
        source: Rc::clone(source),
        pool: bench.pool.clone(),
    };
    let mut rx = InTurn::new(sources.iter().map(queue).collect());
    let arrive = |queue: usize, at: Nanos, number: u32| {
        sources[queue].borrow_mut().arrivals.push_back((at, order(1).bytes(number)));
    };
    // Queue 0 has more than it can deliver in ten calls.
    (0..320).for_each(|number| arrive(0, us(1), number));
    arrive(1, us(1), 1_000);
    arrive(2, us(5), 2_000);

    let mut burst = Batch::new();
    let mut take = |at: Nanos| {
        let n = rx.rx_burst(at, &mut burst);
        let numbers: Vec<_> = burst.drain().map(|p| number_of(&bytes_of(&p))).collect();
        assert_eq!(numbers.len(), n);
        numbers
    };
    assert_eq!(take(us(1)), (0..32).collect::<Vec<_>>());
    assert_eq!(take(us(1)), [1_000]);
    assert_eq!(take(us(1)), (32..64).collect::<Vec<_>>(), "an empty queue costs no turn");
    assert_eq!(take(us(5)), [2_000]);
    assert_eq!(take(us(5)), (64..96).collect::<Vec<_>>());
    assert_eq!(rx.next_event(), Some(us(1)));
    drop(rx);
}

#[test]
fn a_port_that_two_cores_would_pace_is_refused() {
    let mut config = config(&[]);
    assert!(assemble::one_pacer_each(&config).is_ok());
    config.pairs.push(config.pairs[0].clone());
    let refused = assemble::one_pacer_each(&config).unwrap_err().to_string();
    assert!(refused.contains("port in: 2 cores would pace it"), "{refused}");
}
