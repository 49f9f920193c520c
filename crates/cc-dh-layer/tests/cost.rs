//! What changes of a group cost, in time and bytes:
//! `cargo test --release -p cc-dh-layer --test cost -- --ignored --nocapture`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::{Duration, Instant};

use cc_core::{
    Attachment, ChangeParts, ChangeRequest, CipherLayer, GroupLayer, MemberId, NewMember,
    PartContext, StackId,
    store::{Batch, Change, Scope},
};
use cc_dh_layer::{Curve, DhKeyPair, DhLayer};

fn context(binding: u8) -> PartContext<'static> {
    PartContext { binding: [binding; 32], position: 0, chain: None, group_below: false, now: None }
}

/// A member that is attached, with its id.
fn member(curve: Curve, founding: bool) -> (MemberId, DhLayer) {
    let mut layer = DhLayer::group(DhKeyPair::generate(curve).unwrap());
    let id = MemberId::of([(&layer.descriptor(), layer.commitment())]);
    let stack = StackId::of(&[layer.descriptor()]);
    layer.attach(&Attachment { stack, position: 0, member: Some(id), founding }).unwrap();
    layer.apply();
    (id, layer)
}

fn timed<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = f();
    (start.elapsed(), result)
}

/// Bytes that a layer writes to a store that has it already.
fn stored(layer: &mut DhLayer) -> usize {
    let mut batch = Batch::new();
    layer.save(&mut batch.scope(Scope::new("layer"))).unwrap();
    batch
        .changes()
        .map(|(_, key, change)| match change {
            Change::Put(value) => key.len() + value.expose().len(),
            Change::Delete => key.len(),
        })
        .sum()
}

fn request<'a>(packages: &'a [(MemberId, Vec<u8>)]) -> Vec<NewMember<'a>> {
    packages.iter().map(|(id, part)| NewMember { id: *id, part, binding: [0; 32] }).collect()
}

struct Members {
    committer: DhLayer,
    follower: DhLayer,
}

impl Members {
    /// The committer makes a change, and the follower processes it. `newcomer` joins by it.
    fn change(
        &mut self,
        name: &str,
        request: &ChangeRequest<'_>,
        binding: u8,
        newcomer: Option<&mut DhLayer>,
    ) {
        let context = context(binding);
        let (stage, parts) = timed(|| self.committer.stage_change(request, &context).unwrap());
        let ChangeParts { commit, welcome } = parts;
        self.committer.confirm_change().unwrap();
        self.committer.apply();
        let (process, outcome) = timed(|| self.follower.process_commit(&commit, &context).unwrap());
        assert!(!outcome.removed_self);
        let written = stored(&mut self.follower);
        self.follower.apply();
        let join = newcomer.map(|newcomer| {
            let (time, result) = timed(|| newcomer.join(&welcome, &context));
            result.unwrap();
            newcomer.apply();
            time
        });
        let committed = self.committer.contribute().unwrap().unwrap().secret;
        assert_eq!(self.follower.contribute().unwrap().unwrap().secret, committed);
        let join = join.map_or(String::new(), |time| format!(", join {time:?}"));
        println!(
            "  {name}: stage {stage:?}, process {process:?}{join}; commit {} B, welcome {} B, \
             store {written} B",
            commit.len(),
            welcome.len(),
        );
    }
}

#[test]
#[ignore = "measures"]
fn changes() {
    for (curve, sizes) in
        [(Curve::X25519, &[2, 100, 1000, 20_000][..]), (Curve::P256, &[2, 100, 1000])]
    {
        for &members in sizes {
            println!("{curve}, {members} members");
            let (_, committer) = member(curve, true);
            let (id, mut follower) = member(curve, false);
            let mut packages = vec![(id, follower.key_package(&context(0)).unwrap())];
            for _ in 2..members {
                let (id, mut layer) = member(curve, false);
                packages.push((id, layer.key_package(&context(0)).unwrap()));
            }
            // The follower joins first: only then can it follow.
            let mut committer = committer;
            let added = request(&packages);
            let change = ChangeRequest { added: &added, removed: &[] };
            let (stage, parts) = timed(|| committer.stage_change(&change, &context(1)).unwrap());
            committer.confirm_change().unwrap();
            committer.apply();
            let (join, result) = timed(|| follower.join(&parts.welcome, &context(1)));
            result.unwrap();
            stored(&mut follower);
            follower.apply();
            println!(
                "  found with {}: stage {stage:?}, join {join:?}; welcome {} B",
                packages.len(),
                parts.welcome.len(),
            );

            let mut members = Members { committer, follower };
            let mut leaving = Vec::new();
            for round in 0..3 {
                let (id, mut newcomer) = member(curve, false);
                let package = [(id, newcomer.key_package(&context(0)).unwrap())];
                let added = request(&package);
                let change = ChangeRequest { added: &added, removed: &[] };
                members.change("add 1", &change, 10 + round, Some(&mut newcomer));
                leaving.push(id);
            }
            for round in 0..3 {
                members.change("update", &ChangeRequest::default(), 20 + round, None);
            }
            for (round, id) in (0..).zip(&leaving) {
                let removed = [*id];
                let change = ChangeRequest { added: &[], removed: &removed };
                members.change("remove 1", &change, 30 + round, None);
            }
        }
    }
}
