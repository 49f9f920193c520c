//! What is written at a node. Names come from other members, and must not be able to change a terminal or
//! a document.

use super::{NodeChange, TreeLeaf, TreeParent, TreeView};

/// The name of a member, or where there is none its id, in `most` characters.
pub(super) fn member(leaf: &TreeLeaf, most: usize) -> String {
    let name = leaf.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
    let name = name.map_or_else(|| leaf.member.to_string(), str::to_owned);
    let mut label: String = name.chars().take(most).map(visible).collect();
    if name.chars().nth(most).is_some() {
        label.pop();
        label.push('…');
    }
    label
}

/// Members that do not know the key of a parent, by name.
pub(super) fn unmerged(view: &TreeView, parent: &TreeParent, most: usize) -> Option<String> {
    let leaves = view.leaves().filter(|(at, _)| parent.unmerged_leaves.contains(at));
    let names: Vec<_> = leaves.map(|(_, leaf)| member(leaf, most)).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

pub(super) const fn change(change: NodeChange) -> Option<&'static str> {
    match change {
        NodeChange::Unchanged => None,
        NodeChange::Renewed => Some("new key"),
        NodeChange::Joined => Some("joined"),
        NodeChange::Blanked => Some("was blanked"),
    }
}

/// Epoch and number of members.
pub(super) fn title(view: &TreeView) -> String {
    let members = view.leaves().count();
    let noun = if members == 1 { "member" } else { "members" };
    format!("epoch {}, {members} {noun}", view.epoch)
}

/// Control characters, those that turn the direction of text or have no width, and what XML forbids.
fn visible(c: char) -> char {
    match c {
        _ if c.is_control() => char::REPLACEMENT_CHARACTER,
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}'
        | '\u{e0000}'..='\u{e007f}' => char::REPLACEMENT_CHARACTER,
        _ => c,
    }
}
