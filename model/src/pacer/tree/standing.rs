//! How classes and port stand: what is noted before it changes, and what an undo puts back.

use super::Pacer;
use crate::pacer::class::marks;
use crate::pacer::fifo::Fifo;
use crate::pacer::nodes::Node;
use crate::pacer::standings::{Before, Standing};
use crate::pacer::turns::Claims;
use crate::time::Nanos;

impl<Q: Fifo> Pacer<Q> {
    /// What a class waits for, what it claims or whose turn its priority has is about to change.
    #[inline]
    pub(super) fn note_class(&mut self, class: usize) {
        if self.standings.must_note() {
            self.note_class_now(class);
        }
    }

    #[cold]
    fn note_class_now(&mut self, class: usize) {
        let c = &self.classes[class];
        let fires_at = |node| self.wheel.fires_at(self.nodes.number(node));
        let standing = Standing {
            asleep_until: fires_at(Node::Class(class)),
            floor_look: fires_at(Node::Floor(class)),
            reserved_look: fires_at(Node::Reserved(class)),
            waits_since: c.waits_since,
            deficit: c.deficit,
            had_flows: !c.ready.is_empty(),
            claims: self.turns.claims(class, c.priority()),
            turn: self.turns.served(c.priority()),
        };
        self.standings.note(Before::Class(class, standing));
    }

    /// The port is about to go to sleep or to wake.
    pub(super) fn note_port(&mut self) {
        if self.standings.must_note() {
            let until = self.wheel.fires_at(self.nodes.number(Node::Port));
            self.standings.note(Before::Port(until));
        }
    }

    /// The last offer of the journal has come back: classes and port stand as they did before it.
    pub(super) fn restore_standings(&mut self, now: Nanos) {
        while let Some(before) = self.standings.restore(self.journal.len()) {
            match before {
                Before::Class(class, standing) => self.restore_class(now, class, &standing),
                Before::Port(until) => {
                    self.port_on_wheel = self.restore_timer(now, Node::Port, until);
                }
            }
        }
        if self.standings.is_lost() {
            self.ask_all_classes_again();
        }
    }

    /// Whether the node waits again: its time has not come meanwhile.
    fn restore_timer(&mut self, now: Nanos, node: Node, at: Option<Nanos>) -> bool {
        let number = self.nodes.number(node);
        match at.filter(|&at| at > now) {
            Some(at) if self.wheel.fires_at(number) != Some(at) => self.wheel.insert(number, at),
            Some(_) => {}
            None => self.wheel.remove(number),
        }
        at.is_some_and(|at| at > now)
    }

    fn restore_class(&mut self, now: Nanos, class: usize, before: &Standing) {
        let has_flows = !self.classes[class].ready.is_empty();
        if has_flows && !before.had_flows {
            // A packet that was admitted directly is queued now: it came as it would have come then.
            return;
        }
        let is_asleep = self.restore_timer(now, Node::Class(class), before.asleep_until);
        let floor_waits = self.restore_timer(now, Node::Floor(class), before.floor_look);
        let reserved_waits = self.restore_timer(now, Node::Reserved(class), before.reserved_look);
        let c = &mut self.classes[class];
        (c.on_wheel, c.floor_on_wheel) = (is_asleep, floor_waits);
        (c.deficit, c.waits_since) = (before.deficit, before.waits_since);
        let fired = |at: Option<Nanos>, waits: bool| at.is_some() && !waits;
        let claims = Claims {
            ready: has_flows && !is_asleep,
            floor: before.claims.floor || fired(before.floor_look, floor_waits),
            reserved: before.claims.reserved || fired(before.reserved_look, reserved_waits),
        };
        let priority = c.priority();
        self.turns.set_claims(class, priority, claims);
        self.turns.set_served(priority, before.turn);
    }

    /// It is not known how they stood: everybody is asked.
    #[cold]
    fn ask_all_classes_again(&mut self) {
        for class in 0..self.classes.len() {
            self.wake_class(class);
            let c = &self.classes[class];
            if c.uses(marks::FLOOR) {
                self.turns.set_floor_due(class, c.priority());
            }
            if c.uses(marks::RESERVED) {
                self.turns.set_reserved(class, c.priority());
            }
        }
        self.wake_port();
    }
}
