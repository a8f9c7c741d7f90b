//! Places for connections: so many at a time, and a new one takes the place of the one that has waited
//! longest. So connections that say nothing keep nobody out.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// What a connection does, in the order in which places are taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doing {
    /// It is waited for: it has not asked yet, or does not read.
    Waits,
    /// It is being answered; its place is taken away where nobody waits.
    IsServed,
    /// It keeps its place.
    Stays,
}

struct Seat {
    number: u64,
    doing: Doing,
    /// Grows from change to change: the smallest has done so for longest.
    since: u64,
    leave: Arc<Notify>,
}

#[derive(Default)]
struct Seats {
    taken: Vec<Seat>,
    /// Places given and changes made, since the start.
    changes: u64,
}

struct Shared {
    max: usize,
    seats: Mutex<Seats>,
    /// Somebody has gone, or may be sent away now.
    room: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Seats> {
        // No code that holds it panics half way through a change.
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
pub(crate) struct Places(Arc<Shared>);

impl Places {
    /// So many.
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Shared { max, seats: Mutex::default(), room: Notify::new() }))
    }

    /// A place; whoever had it is told to leave. Waits only where everybody stays.
    pub(crate) async fn take(&self) -> Place {
        loop {
            // Made before the look: what changes after it is not missed.
            let room = self.0.room.notified();
            if let Some(place) = self.try_take() {
                return place;
            }
            room.await;
        }
    }

    fn try_take(&self) -> Option<Place> {
        let mut seats = self.0.lock();
        if seats.taken.len() >= self.0.max {
            let may_go = seats.taken.iter().enumerate().filter(|(_, s)| s.doing != Doing::Stays);
            let (at, _) = may_go.min_by_key(|(_, seat)| (seat.doing, seat.since))?;
            seats.taken.swap_remove(at).leave.notify_one();
        }
        seats.changes += 1;
        let (number, leave) = (seats.changes, Arc::new(Notify::new()));
        let seat = Seat { number, doing: Doing::Waits, since: number, leave: Arc::clone(&leave) };
        seats.taken.push(seat);
        Some(Place { shared: Arc::clone(&self.0), number, leave })
    }
}

/// A place that is taken; it begins with [`Doing::Waits`] and is free again when this is dropped.
pub(crate) struct Place {
    shared: Arc<Shared>,
    number: u64,
    leave: Arc<Notify>,
}

impl Place {
    /// What the connection does from now on.
    pub(crate) fn set(&self, doing: Doing) {
        let mut seats = self.shared.lock();
        seats.changes += 1;
        let since = seats.changes;
        if let Some(seat) = seats.taken.iter_mut().find(|seat| seat.number == self.number) {
            (seat.doing, seat.since) = (doing, since);
        }
        drop(seats);
        if doing != Doing::Stays {
            self.shared.room.notify_one();
        }
    }

    /// Ends when the place has been given to somebody else.
    pub(crate) async fn is_taken_away(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.lock().taken.retain(|seat| seat.number != self.number);
        self.shared.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the place was given away.
    fn is_gone(place: &Place) -> bool {
        !place.shared.lock().taken.iter().any(|seat| seat.number == place.number)
    }

    #[test]
    fn who_waits_longest_goes_first_and_who_stays_never() {
        let places = Places::new(3);
        let take = || places.try_take().unwrap();
        let (a, b, c) = (take(), take(), take());
        // It waits again, later than the others.
        a.set(Doing::IsServed);
        a.set(Doing::Waits);
        let d = take();
        assert!(is_gone(&b) && !is_gone(&a) && !is_gone(&c));
        c.set(Doing::IsServed);
        d.set(Doing::Stays);
        let e = take();
        assert!(is_gone(&a) && !is_gone(&c), "who waits goes before who is served");
        e.set(Doing::IsServed);
        let f = take();
        assert!(is_gone(&c) && !is_gone(&e), "and then who is served for longest");
        e.set(Doing::Stays);
        f.set(Doing::Stays);
        assert!(places.try_take().is_none());
        drop(d);
        assert!(places.try_take().is_some());
        // One that is gone already frees nobody else's place.
        drop(a);
        assert_eq!(places.0.lock().taken.len(), 2);
    }

    #[tokio::test]
    async fn who_is_sent_away_is_told_and_who_finds_no_place_waits_for_one() {
        let places = Places::new(1);
        let first = places.take().await;
        let second = places.take().await;
        first.is_taken_away().await;
        second.set(Doing::Stays);
        let (third, ()) = tokio::join!(places.take(), async { second.set(Doing::Waits) });
        second.is_taken_away().await;
        drop(third);
    }
}
