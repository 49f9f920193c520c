//! The tree as a picture. What must be read stands on a dark filling of its own, so that neither a light nor
//! a dark page hides it; what is beside it is grey.

use std::fmt::Write as _;

use super::{NodeChange, TreeNode, TreeView, children, label, width_below};

/// The longest name, in characters.
const MOST: usize = 12;

/// In pixels: the width of a column, of a node, and the heights of a node and of a level.
const COLUMN: usize = 112;
const NODE_WIDTH: usize = 96;
const NODE_HEIGHT: usize = 30;
const LEVEL: usize = 84;
const MARGIN: usize = 12;
/// The height of the title.
const TITLE: usize = 30;
const GREY: &str = "#808080";

pub(super) fn draw(view: &TreeView, earlier: Option<&TreeView>) -> String {
    let mut drawing =
        Drawing { view, earlier, columns: 0, lines: String::new(), nodes: String::new() };
    drawing.node(view.root());
    let levels = level(view.root()) + 1;
    // A tree of one is narrower than its title.
    let width = (drawing.columns * COLUMN).max(2 * COLUMN) + 2 * MARGIN;
    let height = TITLE + levels * LEVEL + MARGIN;
    let title = label::title(view);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {width} {height}\" \
         width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"13\" \
         text-anchor=\"middle\">\n\
         <title>Ratchet tree: {title}</title>\n\
         <text x=\"{MARGIN}\" y=\"22\" fill=\"{GREY}\" text-anchor=\"start\">{title}</text>\n\
         {}{}</svg>\n",
        drawing.lines, drawing.nodes
    )
}

struct Drawing<'a> {
    view: &'a TreeView,
    earlier: Option<&'a TreeView>,
    /// How many are taken.
    columns: usize,
    lines: String,
    nodes: String,
}

impl Drawing<'_> {
    /// Draws a node and what is below it; gives where its middle is.
    fn node(&mut self, node: usize) -> usize {
        let inner = !self.view.is_empty_below(self.earlier, node);
        let top = self.top(node);
        let middle = match children(node) {
            Some((left, right)) if inner => {
                let middles = [self.node(left), self.node(right)];
                let middle = (middles[0] + middles[1]) / 2;
                let below = self.top(left);
                for child in middles {
                    let _ = writeln!(
                        self.lines,
                        "<path d=\"M{middle} {} L{child} {below}\" stroke=\"{GREY}\"/>",
                        top + NODE_HEIGHT
                    );
                }
                middle
            }
            _ => {
                self.columns += 1;
                MARGIN + (2 * self.columns - 1) * COLUMN / 2
            }
        };
        self.mark(node, middle, top);
        middle
    }

    fn mark(&mut self, node: usize, middle: usize, top: usize) {
        let change = self.view.change(self.earlier, node);
        let (text, mut notes) = self.label(node);
        notes.splice(0..0, label::change(change).map(str::to_owned));
        let blank = matches!(self.view.nodes().get(node), None | Some(TreeNode::Blank));
        let (style, ink) = match change {
            _ if blank => {
                (format!("fill=\"none\" stroke=\"{GREY}\" stroke-dasharray=\"4 3\""), GREY)
            }
            NodeChange::Renewed => ("fill=\"#b3470f\"".to_owned(), "#fff"),
            NodeChange::Joined => ("fill=\"#2e7031\"".to_owned(), "#fff"),
            NodeChange::Unchanged | NodeChange::Blanked => ("fill=\"#4a6785\"".to_owned(), "#fff"),
        };
        let corner = if width_below(node) == 1 { 6 } else { NODE_HEIGHT / 2 };
        let _ = writeln!(
            self.nodes,
            "<rect x=\"{}\" y=\"{top}\" width=\"{NODE_WIDTH}\" height=\"{NODE_HEIGHT}\" \
             rx=\"{corner}\" {style}/><text x=\"{middle}\" y=\"{}\" fill=\"{ink}\">{}</text>",
            middle - NODE_WIDTH / 2,
            top + 20,
            escape(&text)
        );
        for (line, note) in notes.iter().enumerate() {
            // The lines to the children leave from below a parent, so what is said of it stands beside it.
            let (x, y, anchor) = match width_below(node) {
                1 => (middle, top + NODE_HEIGHT + 13 * (line + 1), "middle"),
                _ => (middle + NODE_WIDTH / 2 + 5, top + 19 + 13 * line, "start"),
            };
            let _ = writeln!(
                self.nodes,
                "<text x=\"{x}\" y=\"{y}\" fill=\"{GREY}\" font-size=\"11\" \
                 text-anchor=\"{anchor}\">{}</text>",
                escape(note)
            );
        }
    }

    /// What stands in a node, and what below or beside it.
    fn label(&self, node: usize) -> (String, Vec<String>) {
        let width = width_below(node);
        match self.view.nodes().get(node) {
            Some(TreeNode::Leaf(leaf)) => {
                let own = usize::try_from(self.view.own_leaf()).is_ok_and(|own| 2 * own == node);
                let notes = if own { vec!["(you)".to_owned()] } else { vec![] };
                (label::member(leaf, MOST), notes)
            }
            Some(TreeNode::Parent(parent)) => {
                let notes = match parent.unmerged_leaves.len() {
                    // There is room for one name.
                    0 | 1 => label::unmerged(self.view, parent, MOST)
                        .map(|name| format!("unmerged: {name}")),
                    many => Some(format!("{many} unmerged")),
                };
                (format!("node {node}"), notes.into_iter().collect())
            }
            _ if width == 1 => ("free".to_owned(), vec![]),
            _ if self.view.is_empty_below(self.earlier, node) => (format!("{width} free"), vec![]),
            _ => ("blank".to_owned(), vec![]),
        }
    }

    fn top(&self, node: usize) -> usize {
        TITLE + MARGIN + (level(self.view.root()) - level(node)) * LEVEL
    }
}

/// 0 for a leaf.
fn level(node: usize) -> usize {
    usize::try_from(node.trailing_ones()).unwrap_or_default()
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}
