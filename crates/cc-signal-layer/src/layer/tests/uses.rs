//! What the recorder of keys sees.

use alloc::collections::BTreeSet;

use super::{pairwise::strangers, *};

/// How many message keys encrypted while `work` ran, and how many headers; none twice.
fn uses(work: impl FnOnce()) -> (usize, usize) {
    key_use::start();
    work();
    let uses = key_use::take();
    assert_eq!(uses.iter().collect::<BTreeSet<_>>().len(), uses.len());
    let of = |what| uses.iter().filter(|one| one.what() == what).count();
    let messages = of("signal message");
    let headers = of("signal header") + of("signal group header");
    assert_eq!(messages + headers + of("signal session number"), uses.len());
    (messages, headers)
}

#[test]
fn every_message_between_two_has_a_key_and_a_header_nonce_of_its_own() {
    let (mut alice, mut bob) = strangers();
    let both = uses(|| {
        for _ in 0..5 {
            for _ in 0..3 {
                let wire = seal(&mut alice, b"same text").unwrap();
                open(&mut bob, &wire).unwrap();
            }
            let wire = seal(&mut bob, b"same text").unwrap();
            open(&mut alice, &wire).unwrap();
        }
    });
    assert_eq!(both, (20, 20));
}

#[test]
fn every_message_to_a_group_has_a_key_of_its_own() {
    let [mut alice, mut bob, mut charlie] = three();
    let mut all = || all_to_all(&mut [&mut alice, &mut bob, &mut charlie]);
    assert_eq!(uses(&mut all), (3, 3));
    assert_eq!(uses(&mut all), (3, 3));
    // The commit secret for two, and the message with the commit.
    let update = uses(|| {
        let _ = alice.stage(&mut [], &[], 3);
    });
    assert_eq!(update, (3, 1));
}
