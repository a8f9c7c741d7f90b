//! Which node of the wheel belongs to what.

/// Who waits on the wheel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    /// A flow, for its own bucket or its head's wish.
    Flow(u32),
    /// A flow, to look whether its head has waited too long.
    Look(u32),
    /// The port, for its bucket.
    Port,
    /// A class, for its bucket.
    Class(usize),
    /// A class, for its reserved bucket.
    Reserved(usize),
    /// A class, to look whether the floor of its flows is due.
    Floor(usize),
    /// A class, for its release window.
    Window(usize),
    /// A venue limit, by its instance, for those who wait for it.
    Limit(u32),
}

/// The nodes of a pacer. They are numbered: flows, looks, the port, four for each class,
/// venue limits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Nodes {
    flows: u32,
    classes: u32,
    limits: u32,
}

const OF_A_CLASS: u32 = 4;

impl Nodes {
    pub const fn new(flows: u32, classes: u32, limits: u32) -> Self {
        Self { flows, classes, limits }
    }

    /// How many there are.
    pub const fn count(self) -> usize {
        2 * self.flows as usize + 1 + (OF_A_CLASS * self.classes + self.limits) as usize
    }

    /// The number of a node.
    #[inline]
    pub const fn number(self, node: Node) -> u32 {
        match node {
            Node::Flow(flow) => flow,
            Node::Look(flow) => self.flows + flow,
            Node::Port => 2 * self.flows,
            Node::Class(class) => self.of_class(class, 0),
            Node::Reserved(class) => self.of_class(class, 1),
            Node::Floor(class) => self.of_class(class, 2),
            Node::Window(class) => self.of_class(class, 3),
            Node::Limit(instance) => self.of_class(self.classes as usize, 0) + instance,
        }
    }

    const fn of_class(self, class: usize, which: u32) -> u32 {
        2 * self.flows + 1 + class as u32 * OF_A_CLASS + which
    }

    /// The node of a number.
    #[inline]
    pub const fn node(self, number: u32) -> Node {
        if number < self.flows {
            return Node::Flow(number);
        }
        if number < 2 * self.flows {
            return Node::Look(number - self.flows);
        }
        if number == 2 * self.flows {
            return Node::Port;
        }
        let rest = number - 2 * self.flows - 1;
        if rest >= OF_A_CLASS * self.classes {
            return Node::Limit(rest - OF_A_CLASS * self.classes);
        }
        let class = (rest / OF_A_CLASS) as usize;
        match rest % OF_A_CLASS {
            0 => Node::Class(class),
            1 => Node::Reserved(class),
            2 => Node::Floor(class),
            _ => Node::Window(class),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_one_node() {
        for (flows, classes, limits) in [(1, 1, 0), (3, 2, 1), (7, 96, 40)] {
            let nodes = Nodes::new(flows, classes, limits);
            for number in 0..nodes.count() as u32 {
                assert_eq!(nodes.number(nodes.node(number)), number);
            }
            let last = match limits {
                0 => Node::Window(classes as usize - 1),
                n => Node::Limit(n - 1),
            };
            assert_eq!(nodes.number(last) as usize + 1, nodes.count());
        }
    }
}
