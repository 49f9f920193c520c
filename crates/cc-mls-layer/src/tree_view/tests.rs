use proptest::prelude::*;

use super::*;

fn leaf(name: &str, key: u8) -> TreeNode {
    TreeNode::Leaf(TreeLeaf {
        member: MemberId::from_bytes(member_id(name)),
        name: Some(name.to_owned()),
        encryption_key: vec![key],
    })
}

fn member_id(name: &str) -> [u8; 32] {
    let mut member = [0; 32];
    for (byte, of_name) in member.iter_mut().zip(name.bytes()) {
        *byte = of_name;
    }
    member
}

fn parent(key: u8, unmerged_leaves: &[u32]) -> TreeNode {
    TreeNode::Parent(TreeParent {
        encryption_key: vec![key],
        unmerged_leaves: unmerged_leaves.to_vec(),
    })
}

/// Five members in eight places, the last of them not merged.
fn five() -> TreeView {
    let nodes = vec![
        leaf("Alice", 1),
        parent(2, &[]),
        leaf("Bob", 3),
        parent(4, &[]),
        leaf("Charlie", 5),
        TreeNode::Blank,
        leaf("Dana", 6),
        parent(7, &[4]),
        leaf("Eve", 8),
        TreeNode::Blank,
        TreeNode::Blank,
        TreeNode::Blank,
        TreeNode::Blank,
        TreeNode::Blank,
        TreeNode::Blank,
    ];
    TreeView { epoch: 3, own_leaf: 1, nodes }
}

#[test]
fn a_tree_in_a_terminal() {
    let expected = "\
epoch 3, 5 members

● root, node 7 [unmerged: Eve]
├─ ● node 3
│  ├─ ● node 1
│  │  ├─ ● Alice
│  │  └─ ● Bob (you)
│  └─ ○ node 5: blank
│     ├─ ● Charlie
│     └─ ● Dana
└─ ○ node 11: blank
   ├─ ○ node 9: blank
   │  ├─ ● Eve
   │  └─ ○ place 5: free
   └─ ○ places 6 to 7: free
";
    assert_eq!(five().to_text(None), expected);
}

#[test]
fn what_changed_is_marked() {
    let before = five();
    let mut after = five();
    after.epoch = 4;
    // Eve leaves, so that the tree is half as large; Dana comes anew under another id; Bob commits.
    after.nodes.truncate(7);
    (after.nodes[1], after.nodes[2], after.nodes[3]) =
        (parent(12, &[]), leaf("Bob", 13), parent(14, &[]));
    after.nodes[6] = leaf("Dan", 16);
    let changes: Vec<_> = (0..7).map(|node| after.change_since(&before, node)).collect();
    use NodeChange::{Blanked, Joined, Renewed, Unchanged};
    assert_eq!(changes, [Unchanged, Renewed, Renewed, Renewed, Unchanged, Unchanged, Joined]);
    assert_eq!(after.change_since(&before, 8), Blanked);
    let expected = "\
epoch 4, 4 members

● root, node 3 [new key]
├─ ● node 1 [new key]
│  ├─ ● Alice
│  └─ ● Bob (you) [new key]
└─ ○ node 5: blank
   ├─ ● Charlie
   └─ ● Dan [joined]
";
    assert_eq!(after.to_text(Some(&before)), expected);
    let svg = after.to_svg(Some(&before));
    assert_eq!(svg.matches(">new key<").count(), 3);
    assert_eq!(svg.matches(">joined<").count(), 1);
}

#[test]
fn a_tree_as_a_picture() {
    let svg = five().to_svg(None);
    // Five members, four parents with a key or blank on the way to them, and two places that nothing is below.
    assert_eq!(svg.matches("<rect ").count(), 5 + 6 + 2);
    assert_eq!(svg.matches("<path ").count(), 5 + 6 + 2 - 1);
    assert_eq!(svg.matches("stroke-dasharray").count(), 3 + 2);
    assert!(svg.contains(">unmerged: Eve<"));
    assert!(svg.contains(">2 free<"));
    assert!(svg.contains(">(you)<"));
}

#[test]
fn the_number_of_keys_to_encrypt_to() {
    let tree = five();
    let lens: Vec<_> = (0..15).map(|node| tree.resolution_len(node)).collect();
    assert_eq!(lens, [1, 1, 1, 1, 1, 2, 1, 2, 1, 1, 0, 1, 0, 0, 0]);
    assert_eq!(tree.resolution_len(usize::MAX), 0);
}

#[test]
fn a_founder_is_a_tree() {
    let alone = TreeView { epoch: 0, own_leaf: 0, nodes: vec![leaf("Alice", 1)] };
    assert_eq!(alone.root(), 0);
    assert_eq!(alone.to_text(None), "epoch 0, 1 member\n\n● Alice (you)\n");
    assert_eq!(alone.to_svg(None).matches("<rect ").count(), 1);
}

/// A name that clears the screen, one that ends the document, one that turns the text around, a long one
/// and none.
#[test]
fn a_name_changes_neither_a_terminal_nor_a_document() {
    let names = ["\u{1b}[2J\n", "</svg><a href='x'>&\"", "\u{202e}ecilA", &"x".repeat(1000), "  "];
    for name in names {
        let view = TreeView { epoch: 0, own_leaf: 0, nodes: vec![leaf(name, 1)] };
        let text = view.to_text(None);
        assert_eq!(text.lines().count(), 3, "{text:?}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains('\u{202e}'));
        assert!(text.chars().count() < 80);
        let svg = view.to_svg(None);
        assert_eq!(svg.matches('<').count(), 11, "{svg}");
        assert!(!svg.contains("<a "));
        assert!(!svg.contains('\u{1b}') && !svg.contains('\u{202e}'));
    }
    let nameless = TreeView { epoch: 0, own_leaf: 0, nodes: vec![leaf("  ", 1)] };
    assert!(nameless.to_text(None).contains("● 2020000000000000"));
}

#[test]
fn a_view_is_kept_and_read_again() {
    let view = five();
    let kept = postcard::to_stdvec(&view).unwrap();
    assert_eq!(postcard::from_bytes::<TreeView>(&kept).unwrap(), view);
    let json = serde_json::to_string(&view).unwrap();
    assert_eq!(serde_json::from_str::<TreeView>(&json).unwrap(), view);
}

/// No other number of nodes than a tree has, members at leaves only, and one of them oneself.
#[test]
fn what_is_no_tree_is_not_read() {
    let reads = |view: &TreeView| {
        postcard::from_bytes::<TreeView>(&postcard::to_stdvec(view).unwrap()).is_ok()
    };
    assert!(reads(&five()));
    let with = |change: &dyn Fn(&mut TreeView)| {
        let mut view = five();
        change(&mut view);
        view
    };
    assert!(!reads(&with(&|view| view.nodes.truncate(14))));
    assert!(!reads(&with(&|view| view.nodes.clear())));
    assert!(!reads(&with(&|view| view.nodes[1] = leaf("Eve", 1))));
    assert!(!reads(&with(&|view| view.nodes[0] = parent(1, &[]))));
    assert!(!reads(&with(&|view| view.own_leaf = 7)));
    assert!(!reads(&with(&|view| view.own_leaf = u32::MAX)));
    assert!(postcard::from_bytes::<TreeView>(&[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]).is_err());
}

/// A tree of any shape and the one before it.
fn views() -> impl Strategy<Value = (TreeView, TreeView)> {
    let node = prop_oneof![Just(None), any::<u8>().prop_map(Some)];
    let view = (0u32..5).prop_flat_map(move |level| {
        let nodes = prop::collection::vec(node.clone(), (2usize << level) - 1);
        nodes.prop_map(|keys| {
            let nodes = keys.iter().enumerate().map(|(at, key)| match key {
                None => TreeNode::Blank,
                Some(key) if at % 2 == 0 => leaf(&format!("{at} {}", key % 3), *key),
                Some(key) => parent(*key, &[u32::from(*key % 16)]),
            });
            TreeView { epoch: 9, own_leaf: 0, nodes: nodes.collect() }
        })
    });
    (view.clone(), view)
}

proptest! {
    /// Every member is drawn once, in the order of the leaves, and every element is closed.
    #[test]
    fn every_member_is_drawn((before, after) in views()) {
        let text = after.to_text(Some(&before));
        let drawn: Vec<_> =
            text.lines().filter_map(|line| line.split_once("● ")?.1.split_once(' ')).collect();
        let drawn = drawn.iter().filter_map(|(first, _)| first.parse().ok());
        let places: Vec<usize> = drawn.collect();
        let leaves = after.leaves().map(|(at, _)| 2 * usize::try_from(at).unwrap());
        prop_assert_eq!(places, leaves.collect::<Vec<_>>());
        let svg = after.to_svg(Some(&before));
        prop_assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
        let marks = svg.matches("<rect ").count();
        prop_assert_eq!(svg.matches("<path ").count(), marks - 1);
        // Nodes that were not drawn are free and below one that is.
        prop_assert!(marks <= after.nodes().len());
        prop_assert_eq!(after.to_text(Some(&after)), after.to_text(None));
    }
}

#[test]
fn an_application_names_the_members() {
    let (mut view, bob) = (five(), 2);
    let TreeNode::Leaf(TreeLeaf { member, .. }) = view.nodes[bob].clone() else { panic!("a leaf") };
    let named = |id: &MemberId| Ok::<_, ()>((*id == member).then(|| "Robert".to_owned()));
    view.try_rename(named).unwrap();
    let text = view.to_text(None);
    assert!(
        text.contains("● Robert") && !text.contains("Bob") && !text.contains("Alice"),
        "{text}"
    );
    // Whose name is not known is shown by the id; and an error is the application's.
    assert!(text.contains(&format!("● {}", MemberId::from_bytes(member_id("Eve")))), "{text}");
    assert_eq!(view.try_rename(|_| Err("damaged")), Err("damaged"));
}
