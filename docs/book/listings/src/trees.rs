//! The ratchet tree of one group, before and after each kind of change, as Alice sees it.

use std::error::Error;

use cc_manager::{CascadingCipherManager, Change};
use cc_mls_layer::{MlsIdentity, MlsLayer, TreeView};

use crate::Picture;

pub(crate) fn draw() -> Result<Vec<Picture>, Box<dyn Error>> {
    let mut group = founded(&["Alice", "Bob", "Charlie"])?;
    let three = view(&group)?;

    let change = group[2].update()?;
    settle(&mut group, 2, &change)?;
    let updated = view(&group)?;

    join(&mut group, 0, "Dana")?;
    let joined = view(&group)?;

    remove(&mut group, 1, 2)?;
    let removed = view(&group)?;

    // Charlie removes Dana, and Eve adds Frank in Dana's place: he does not learn the key of node 3.
    let mut group = founded(&["Alice", "Bob", "Charlie", "Dana", "Eve"])?;
    remove(&mut group, 2, 3)?;
    let before = view(&group)?;
    join(&mut group, 3, "Frank")?;
    let unmerged = view(&group)?;

    Ok(vec![
        picture("tree-three.svg", &three, None),
        picture("tree-update.svg", &updated, Some(&three)),
        picture("tree-join.svg", &joined, Some(&updated)),
        picture("tree-removal.svg", &removed, Some(&joined)),
        picture("tree-unmerged.svg", &unmerged, Some(&before)),
    ])
}

/// A group that the first one founds; all others join by one change.
fn founded(names: &[&str]) -> Result<Vec<CascadingCipherManager>, Box<dyn Error>> {
    let people = names.iter().enumerate().map(|(at, name)| person(name, at == 0));
    let mut group = people.collect::<Result<Vec<_>, _>>()?;
    let bundles =
        group[1..].iter_mut().map(|joiner| joiner.key_package()).collect::<Result<Vec<_>, _>>()?;
    let change = group[0].add_members(bundles)?;
    let welcome = group[0].confirm(change.id())?.welcome.unwrap_or_default();
    for joiner in &mut group[1..] {
        joiner.receive_welcome(&welcome)?;
    }
    Ok(group)
}

fn join(
    group: &mut Vec<CascadingCipherManager>,
    by: usize,
    name: &str,
) -> Result<(), Box<dyn Error>> {
    let mut joiner = person(name, false)?;
    let change = group[by].add_members([joiner.key_package()?])?;
    let welcome = settle(group, by, &change)?;
    joiner.receive_welcome(welcome)?;
    group.push(joiner);
    Ok(())
}

fn remove(
    group: &mut Vec<CascadingCipherManager>,
    by: usize,
    whom: usize,
) -> Result<(), Box<dyn Error>> {
    let id = group[whom].member_id();
    let change = group[by].remove_members(id)?;
    settle(group, by, &change)?;
    group.remove(whom);
    Ok(())
}

fn picture(name: &'static str, view: &TreeView, earlier: Option<&TreeView>) -> Picture {
    Picture { name, svg: view.to_svg(earlier) }
}

fn person(name: &str, founds: bool) -> Result<CascadingCipherManager, Box<dyn Error>> {
    let identity = MlsIdentity::generate(name)?;
    let mls =
        if founds { MlsLayer::create("Dev Team", identity)? } else { MlsLayer::member(identity)? };
    Ok(CascadingCipherManager::builder().layer(mls).build()?)
}

/// As the first member sees it.
fn view(group: &[CascadingCipherManager]) -> Result<TreeView, Box<dyn Error>> {
    let mls = group.first().and_then(|member| member.find::<MlsLayer>());
    mls.and_then(MlsLayer::tree_view).ok_or_else(|| "no tree".into())
}

/// Everybody follows the change; gives its welcome, empty where nobody is added.
fn settle(
    group: &mut [CascadingCipherManager],
    by: usize,
    change: &Change,
) -> Result<Vec<u8>, Box<dyn Error>> {
    let mut welcome = None;
    for (at, member) in group.iter_mut().enumerate() {
        if at == by {
            welcome = member.confirm(change.id())?.welcome;
        } else {
            member.receive(&change.commit)?;
        }
    }
    Ok(welcome.unwrap_or_default())
}
