//! What the standard library has: queues that compare. Exact deadlines, no slots; equal ones leave in
//! the order of nodes, not of insertion (a further key for that would only make them slower).

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::DeadlineQueue;

/// `BinaryHeap` without a way to move a node.
pub struct Heap(BinaryHeap<Reverse<(u64, u32)>>);

impl DeadlineQueue for Heap {
    fn new(nodes: u32) -> Self {
        Self(BinaryHeap::with_capacity(nodes as usize))
    }

    #[inline]
    fn schedule(&mut self, node: u32, at: u64) {
        self.0.push(Reverse((at, node)));
    }

    fn reschedule(&mut self, _node: u32, _at: u64) {
        unreachable!("see LazyHeap");
    }

    #[inline]
    fn poll(&mut self, _now: u64) {}

    #[inline]
    fn pop(&mut self, now: u64) -> Option<u32> {
        let Reverse((at, node)) = *self.0.peek()?;
        if at > now {
            return None;
        }
        self.0.pop();
        Some(node)
    }
}

/// `BinaryHeap` that leaves a moved node's old entry where it is and drops it when it comes up.
pub struct LazyHeap {
    heap: BinaryHeap<Reverse<(u64, u32)>>,
    deadlines: Box<[u64]>,
}

impl DeadlineQueue for LazyHeap {
    fn new(nodes: u32) -> Self {
        Self {
            heap: BinaryHeap::with_capacity(nodes as usize),
            deadlines: vec![0; nodes as usize].into_boxed_slice(),
        }
    }

    #[inline]
    fn schedule(&mut self, node: u32, at: u64) {
        self.deadlines[node as usize] = at;
        self.heap.push(Reverse((at, node)));
    }

    #[inline]
    fn reschedule(&mut self, node: u32, at: u64) {
        self.schedule(node, at);
    }

    #[inline]
    fn poll(&mut self, _now: u64) {}

    #[inline]
    fn pop(&mut self, now: u64) -> Option<u32> {
        while let Some(&Reverse((at, node))) = self.heap.peek() {
            if at > now {
                return None;
            }
            self.heap.pop();
            if self.deadlines[node as usize] == at {
                self.deadlines[node as usize] = 0;
                return Some(node);
            }
        }
        None
    }
}

/// `BTreeSet` without a way to move a node: the red-black tree of sch_fq, with a better layout.
pub struct Tree(BTreeSet<(u64, u32)>);

impl DeadlineQueue for Tree {
    fn new(_nodes: u32) -> Self {
        Self(BTreeSet::new())
    }

    #[inline]
    fn schedule(&mut self, node: u32, at: u64) {
        self.0.insert((at, node));
    }

    fn reschedule(&mut self, _node: u32, _at: u64) {
        unreachable!("see RekeyedTree");
    }

    #[inline]
    fn poll(&mut self, _now: u64) {}

    #[inline]
    fn pop(&mut self, now: u64) -> Option<u32> {
        if self.0.first()?.0 > now {
            return None;
        }
        self.0.pop_first().map(|(_, node)| node)
    }
}

/// `BTreeSet` that knows the key of each node, so that it can be taken out.
pub struct RekeyedTree {
    tree: BTreeSet<(u64, u32)>,
    deadlines: Box<[u64]>,
}

impl DeadlineQueue for RekeyedTree {
    fn new(nodes: u32) -> Self {
        Self { tree: BTreeSet::new(), deadlines: vec![0; nodes as usize].into_boxed_slice() }
    }

    #[inline]
    fn schedule(&mut self, node: u32, at: u64) {
        self.deadlines[node as usize] = at;
        self.tree.insert((at, node));
    }

    #[inline]
    fn reschedule(&mut self, node: u32, at: u64) {
        self.tree.remove(&(self.deadlines[node as usize], node));
        self.schedule(node, at);
    }

    #[inline]
    fn poll(&mut self, _now: u64) {}

    #[inline]
    fn pop(&mut self, now: u64) -> Option<u32> {
        if self.tree.first()?.0 > now {
            return None;
        }
        self.tree.pop_first().map(|(_, node)| node)
    }
}
