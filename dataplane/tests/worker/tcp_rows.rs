//! What rows say of TCP, so that acknowledgements find the segments that they answer.

use dataplane::assemble::{self, TimeBase};
use model::inflight::CompletionSource;
use model::kind::Side;
use model::kpi::Sampled;
use model::sample::{Sample, TcpSeen};
use model::time::Nanos;

use crate::frames::{ACK, Frame, SYN, TCP_ORDERS, order, tcp};
use crate::world::{World, config, us};

/// A segment from host 1 whose first byte is `seq`.
fn segment(seq: u32, payload: u16) -> Frame {
    Frame::Raw(tcp(1, TCP_ORDERS, ACK, payload).bytes(seq))
}

/// The venue's answer to host 1: no payload, everything before `ack` has come.
fn answer(ack: u32) -> Frame {
    let mut bytes = tcp(1, TCP_ORDERS, ACK, 0).bytes(9);
    let (source, destination) = (26..30, 30..34);
    let from: [u8; 4] = bytes[source.clone()].try_into().unwrap();
    bytes.copy_within(destination.clone(), source.start);
    bytes[destination].copy_from_slice(&from);
    let port: [u8; 2] = bytes[34..36].try_into().unwrap();
    bytes.copy_within(36..38, 34);
    bytes[36..38].copy_from_slice(&port);
    bytes[42..46].copy_from_slice(&ack.to_be_bytes());
    Frame::Raw(bytes)
}

fn of(rows: &[Sample], from: Side) -> Vec<TcpSeen> {
    rows.iter().filter(|row| row.from == from).filter_map(|row| row.tcp).collect()
}

#[test]
fn both_directions_of_a_connection_have_one_key() {
    let mut w = World::new(&config(&[]));
    w.send(us(1), &segment(1_000, 100));
    w.send(us(1), &order(1));
    w.send(us(2), &Frame::Raw(tcp(1, TCP_ORDERS, SYN, 0).bytes(5)));
    w.send(us(3), &Frame::Raw(tcp(2, TCP_ORDERS, ACK, 10).bytes(7)));
    w.answer(us(500), &answer(1_100));
    w.run_dry();
    let books = w.books();
    assert_eq!(books.samples.len(), 5, "the datagram too");
    let (sent, back) = (of(&books.samples, Side::Inside), of(&books.samples, Side::Venue));
    assert_eq!((sent.len(), back.len()), (3, 1));
    let connection = back[0].connection;
    let whole = TcpSeen { connection, ack: Some(0), payload_bytes: 100 };
    assert_eq!(sent.iter().filter(|seen| **seen == whole).count(), 1);
    let syn = TcpSeen { connection, ack: None, payload_bytes: 0 };
    assert_eq!(sent.iter().filter(|seen| **seen == syn).count(), 1, "no ACK flag, no number");
    assert_eq!(sent.iter().filter(|seen| seen.connection != connection).count(), 1, "host 2");
    assert_eq!(back[0], TcpSeen { connection, ack: Some(1_100), payload_bytes: 0 });
}

/// 60 segments, one each 10 ms, each acknowledged 300 us after it left: the KPI is made of the rows of
/// the real lanes.
#[test]
fn wire_to_ack_of_the_real_lanes() {
    let config = config(&[]);
    let mut w = World::new(&config);
    for n in 0..60_u32 {
        let at = us(10_000 * u64::from(n) + 1);
        w.send(at, &segment(1_000 + 100 * n, 100));
        w.answer(at + us(300), &answer(1_100 + 100 * n));
    }
    w.run_dry();
    let sync = CompletionSource::Synchronous;
    let plan = assemble::kpi_plan(&config, &[(1, sync), (0, sync)], TimeBase::Virtual);
    let books = w.books();
    let mut sampled = Sampled::new(&plan);
    books.samples.iter().for_each(|row| sampled.add(&plan, row));
    let delays: Vec<_> =
        sampled.cells().iter().filter_map(|cell| cell.acks.wire_to_ack.histogram()).collect();
    assert_eq!(delays.len(), 1, "one class sends");
    assert_eq!(delays[0].count(), 60);
    assert!(delays[0].max().is_some_and(|max| max <= us(300).0), "{:?}", delays[0].max());
    assert!(delays[0].min().is_some_and(|min| min > Nanos(200_000).0), "{:?}", delays[0].min());
}
