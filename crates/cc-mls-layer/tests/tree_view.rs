//! The tree as members see it: the same for all of them, and a change renews what RFC 9420 says.

#![allow(clippy::unwrap_used, clippy::panic, reason = "these are tests")]

mod common;

use cc_mls_layer::{MlsConfig, MlsIdentity, MlsLayer, NodeChange, TreeNode, TreeView};
use common::{Peer, group, settle};

fn view(peer: &Peer) -> TreeView {
    peer.layer.tree_view().unwrap()
}

/// All members have one tree.
fn common_view(peers: &[Peer]) -> TreeView {
    let first = view(&peers[0]);
    for peer in peers {
        assert_eq!(view(peer).nodes(), first.nodes());
        assert_eq!(view(peer).epoch(), peer.epoch());
        let own = usize::try_from(view(peer).own_leaf()).unwrap();
        match &first.nodes()[2 * own] {
            TreeNode::Leaf(leaf) => assert_eq!(leaf.member, peer.id),
            node => panic!("{node:?}"),
        }
    }
    first
}

/// The nodes that changed in this way.
fn changed(before: &TreeView, after: &TreeView, change: NodeChange) -> Vec<usize> {
    let nodes = before.nodes().len().max(after.nodes().len());
    (0..nodes).filter(|node| after.change_since(before, *node) == change).collect()
}

fn blank(view: &TreeView) -> Vec<usize> {
    let nodes = view.nodes().iter().enumerate();
    nodes.filter(|(_, node)| **node == TreeNode::Blank).map(|(at, _)| at).collect()
}

/// Sections 7.5 and 7.6: an update renews the member's leaf and all parents above it.
#[test]
fn an_update_renews_the_path_to_the_root() {
    let mut peers = group(&["Alice", "Bob", "Charlie", "Dana"]);
    let before = common_view(&peers);
    // The founder's addition renewed her path; the other half has no parent yet.
    assert_eq!(blank(&before), [5]);
    let staged = peers[2].stage(&[], &[]).unwrap();
    // While it is staged nothing is in force.
    assert_eq!(view(&peers[2]).nodes(), before.nodes());
    settle(&mut peers, 2, &staged, &[]);
    let after = common_view(&peers);
    assert_eq!(changed(&before, &after, NodeChange::Renewed), [3, 4, 5]);
    assert_eq!(changed(&before, &after, NodeChange::Joined), [0; 0]);
    assert_eq!(blank(&after), [0; 0]);
}

/// Section 7.8: the newcomer takes the leftmost free place, and the committer's path is new.
#[test]
fn a_join_fills_a_leaf_and_renews_the_committers_path() {
    let mut peers = group(&["Alice", "Bob", "Charlie", "Dana"]);
    let before = common_view(&peers);
    let mut eve = Peer::joiner("Eve");
    assert_eq!(eve.layer.tree_view(), None);
    let staged = peers[1].stage(&[eve.key_package()], &[]).unwrap();
    settle(&mut peers, 1, &staged, &[]);
    eve.join(&staged).unwrap();
    peers.push(eve);
    let after = common_view(&peers);
    assert_eq!(after.nodes().len(), 15);
    assert_eq!(changed(&before, &after, NodeChange::Joined), [8]);
    assert_eq!(changed(&before, &after, NodeChange::Renewed), [1, 2, 3, 7]);
    assert_eq!(
        after.leaves().filter_map(|(_, leaf)| leaf.name.clone()).collect::<Vec<_>>(),
        ["Alice", "Bob", "Charlie", "Dana", "Eve"]
    );
}

/// Section 7.7: a removal blanks the leaf and the parents above it; the committer's path then has keys again.
#[test]
fn a_removal_blanks_the_path_and_the_committer_renews_its_own() {
    let mut peers = group(&["Alice", "Bob", "Charlie", "Dana"]);
    let staged = peers[2].stage(&[], &[]).unwrap();
    settle(&mut peers, 2, &staged, &[]);
    let before = common_view(&peers);
    let charlie = peers[2].id;
    let staged = peers[0].stage(&[], &[charlie]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    let removed = peers.remove(2);
    assert_eq!(removed.layer.tree_view(), None);
    let after = common_view(&peers);
    assert_eq!(changed(&before, &after, NodeChange::Blanked), [4, 5]);
    assert_eq!(changed(&before, &after, NodeChange::Renewed), [0, 1, 3]);

    // The place is taken again, by somebody else.
    let mut eve = Peer::joiner("Eve");
    let staged = peers[0].stage(&[eve.key_package()], &[]).unwrap();
    settle(&mut peers, 0, &staged, &[]);
    eve.join(&staged).unwrap();
    peers.push(eve);
    let last = common_view(&peers);
    assert_eq!(changed(&after, &last, NodeChange::Joined), [4]);
}

/// The ciphertexts of the next commit are the keys on the committer's copath.
#[test]
fn the_view_tells_what_a_commit_costs() {
    let names: Vec<String> = (0..9).map(|n| format!("member {n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut peers = group(&names);
    for committer in [3, 8, 5] {
        let staged = peers[committer].stage(&[], &[]).unwrap();
        settle(&mut peers, committer, &staged, &[]);
        let tree = common_view(&peers);
        for peer in &peers {
            let mut node = 2 * usize::try_from(view(peer).own_leaf()).unwrap();
            let mut keys = 0;
            while node != tree.root() {
                // Appendix C: parent and sibling.
                let level = node.trailing_ones();
                let parent = (node | 1 << level) & !(1 << (level + 1));
                keys += tree.resolution_len(2 * parent - node);
                node = parent;
            }
            assert_eq!(keys, peer.layer.commit_cost().unwrap().ciphertexts);
        }
    }
}

#[test]
fn a_plain_group_has_a_tree_as_well() {
    let config = MlsConfig::default().with_plain_group(true);
    let mut layer =
        MlsLayer::create_with("", MlsIdentity::generate("Alice").unwrap(), config).unwrap();
    layer.attach_alone().unwrap();
    cc_core::CipherLayer::apply(&mut layer);
    let tree = layer.tree_view().unwrap();
    assert_eq!(tree.to_text(None), "epoch 0, 1 member\n\n● Alice (you)\n");
}
