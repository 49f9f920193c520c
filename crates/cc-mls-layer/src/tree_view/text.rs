//! The tree in a terminal. It lies on its side, so that long names and large trees have room.

use super::{TreeNode, TreeView, children, label, width_below};

/// The longest name, in characters.
const MOST: usize = 40;

pub(super) fn draw(view: &TreeView, earlier: Option<&TreeView>) -> String {
    let mut drawing = Drawing { view, earlier, text: format!("{}\n\n", label::title(view)) };
    drawing.node(view.root(), "", "");
    drawing.text
}

struct Drawing<'a> {
    view: &'a TreeView,
    earlier: Option<&'a TreeView>,
    text: String,
}

impl Drawing<'_> {
    /// The lines of a node and what is below it: the first one behind `first`, the others behind `rest`.
    fn node(&mut self, node: usize, first: &str, rest: &str) {
        let empty = self.view.is_empty_below(self.earlier, node);
        let line = if empty { empty_label(node) } else { self.label(node) };
        for part in [first, &line, "\n"] {
            self.text.push_str(part);
        }
        if let (false, Some((left, right))) = (empty, children(node)) {
            self.node(left, &format!("{rest}├─ "), &format!("{rest}│  "));
            self.node(right, &format!("{rest}└─ "), &format!("{rest}   "));
        }
    }

    fn label(&self, node: usize) -> String {
        let root = if node == self.view.root() { "root, " } else { "" };
        let mut line = match self.view.nodes().get(node) {
            Some(TreeNode::Leaf(leaf)) => {
                let you = if node == self.own_node() { " (you)" } else { "" };
                format!("● {}{you}", label::member(leaf, MOST))
            }
            Some(TreeNode::Parent(_)) => format!("● {root}node {node}"),
            Some(TreeNode::Blank) | None if width_below(node) == 1 => empty_label(node),
            Some(TreeNode::Blank) | None => format!("○ {root}node {node}: blank"),
        };
        if let Some(change) = label::change(self.view.change(self.earlier, node)) {
            line = format!("{line} [{change}]");
        }
        if let Some(TreeNode::Parent(parent)) = self.view.nodes().get(node)
            && let Some(names) = label::unmerged(self.view, parent, MOST)
        {
            line = format!("{line} [unmerged: {names}]");
        }
        line
    }

    fn own_node(&self) -> usize {
        usize::try_from(self.view.own_leaf()).map_or(usize::MAX, |leaf| 2 * leaf)
    }
}

/// The places below a node where there is nothing.
fn empty_label(node: usize) -> String {
    let width = width_below(node);
    let first = (node + 1 - width) / 2;
    match width {
        1 => format!("○ place {first}: free"),
        _ => format!("○ places {first} to {}: free", first + width - 1),
    }
}
