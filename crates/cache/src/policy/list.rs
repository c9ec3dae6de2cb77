//! Doubly linked lists whose nodes are the slots of a shard: nothing is allocated for an entry.

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// The links of all slots, whichever list they are in.
#[derive(Debug, Default)]
pub(crate) struct Links {
    nodes: Vec<Node>,
}

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Towards the head: the slot that came later.
    newer: u32,
    /// Towards the tail: the slot that came before.
    older: u32,
}

/// One list: newest at the head, oldest at the tail.
#[derive(Debug)]
pub(crate) struct List {
    head: u32,
    tail: u32,
    len: usize,
}

impl Default for List {
    fn default() -> Self {
        Self {
            head: NONE,
            tail: NONE,
            len: 0,
        }
    }
}

impl List {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(crate) fn tail(&self) -> Option<u32> {
        (self.tail != NONE).then_some(self.tail)
    }
}

impl Links {
    /// The slot that came after `slot` in its list; [`NONE`] at the head.
    pub(crate) fn newer(&self, slot: u32) -> u32 {
        self.nodes[slot as usize].newer
    }

    pub(crate) fn push_head(&mut self, list: &mut List, slot: u32) {
        let node = Node {
            newer: NONE,
            older: list.head,
        };
        match self.nodes.get_mut(slot as usize) {
            Some(place) => *place = node,
            // Slots come into use one after the other.
            None => self.nodes.push(node),
        }
        match list.head {
            NONE => list.tail = slot,
            head => self.nodes[head as usize].newer = slot,
        }
        list.head = slot;
        list.len += 1;
    }

    /// Takes `slot`, which is in `list`, out of it.
    pub(crate) fn unlink(&mut self, list: &mut List, slot: u32) {
        let Node { newer, older } = self.nodes[slot as usize];
        match newer {
            NONE => list.head = older,
            newer => self.nodes[newer as usize].older = older,
        }
        match older {
            NONE => list.tail = newer,
            older => self.nodes[older as usize].newer = newer,
        }
        list.len -= 1;
    }

    /// Makes room for `slots` slots and no more.
    pub(crate) fn reserve(&mut self, slots: usize) {
        reserve(&mut self.nodes, slots);
    }
}

/// Makes room for `slots` elements and no more, as a shard does: it decides when to grow.
pub(crate) fn reserve<T>(column: &mut Vec<T>, slots: usize) {
    column.reserve_exact(slots.saturating_sub(column.len()));
}
