//! Stop words: passthrough.

use model::sample::Release;
use model::stop::StopWord;

use crate::frames::{ACK, CANCELS, FIX, LOGS, REPLACES, cancel_in_flow, order, tcp, udp};
use crate::world::{World, config, ms, us};

#[test]
fn passthrough_lets_everything_out_at_once_in_the_order_of_each_flow() {
    let mut w = World::new(&config(&[]));
    let queued: Vec<u32> = (0..8)
        .flat_map(|_| w.send_all([order(1), order(2), udp(1, REPLACES), tcp(1, FIX, ACK, 50)]))
        .collect();
    w.run_for(us(100));
    assert_eq!(w.out().len(), 6, "two messages of each class");
    w.word("all", StopWord::Passthrough);
    w.poll();
    w.run_for(us(1));
    let mut out = w.out();
    for flow in 0..4 {
        let of_flow = |numbers: &[u32]| -> Vec<u32> {
            numbers.iter().copied().filter(|n| (n - 1) % 4 == flow).collect()
        };
        assert_eq!(of_flow(&out), of_flow(&queued));
    }
    out.sort_unstable();
    assert_eq!(out, queued);
    // Arrivals go in the poll in which they come, far above every cap.
    let sent = w.send_all((0..30).map(|k| order(k % 5)));
    w.poll();
    assert_eq!(w.out().len(), queued.len() + sent.len());
    assert_eq!(w.books().releases(Release::Passthrough), queued.len() - 6 + sent.len());
}

#[test]
fn passthrough_is_first_in_first_out_also_for_exempt_packets_of_other_flows() {
    let mut w = World::new(&config(&[]));
    w.word("all", StopWord::Passthrough);
    let sent = w.send_all([order(1), udp(2, CANCELS), order(3), udp(4, LOGS), cancel_in_flow(5)]);
    w.poll();
    assert_eq!(w.out(), sent);
}

#[test]
fn passthrough_of_a_class_leaves_the_others_paced_and_resume_paces_it_again() {
    let mut w = World::new(&config(&[]));
    w.word("class:orders", StopWord::Passthrough);
    w.send_all((0..5).flat_map(|_| [order(1), udp(1, REPLACES)]));
    w.run_for(us(500));
    assert_eq!(w.out().iter().filter(|n| *n % 2 == 1).count(), 5, "orders");
    assert_eq!(w.out().iter().filter(|n| *n % 2 == 0).count(), 2, "replaces");
    w.resume("class:orders");
    let before = w.out().len();
    w.send_all((0..3).map(|_| order(1)));
    // The five orders are paid for: the next conforms after 5 ms.
    w.run_for(ms(3));
    assert_eq!(w.out()[before..].iter().filter(|n| **n > 10).count(), 0);
    w.run_dry();
    assert_eq!(w.books().totals.dropped(), 0);
}

#[test]
fn sigusr2_never_lowers_a_halt() {
    let mut w = World::new(&config(&[]));
    w.word("all", StopWord::Halt);
    w.page.passthrough_all();
    w.send_all([order(1)]);
    w.run_for(ms(20));
    assert!(w.out().is_empty());
    w.resume("all");
    w.page.passthrough_all();
    w.send_all((0..5).map(|_| order(1)));
    w.poll();
    assert_eq!(w.out().len(), 5);
    w.books();
}
