//! What a group must keep, with every kind of member key. A layer calls it from a test module of its own:
//!
//! ```ignore
//! cc_root_group::group_tests!(x25519, cc_root_group::DhKeyPair, cc_root_group::Curve::X25519);
//! ```
//!
//! It panics with what went wrong.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "a test suite fails by panicking, and its names say what it shows"
)]

use alloc::{vec, vec::Vec};

use cc_core::{Kind, LayerErrorKind, NewMember, Secret, StackId};

use super::{commit::TAG_LEN, *};

pub mod agreement;
pub mod hostile;
pub mod liar;
pub mod thief;
pub mod wiped;

/// Declares a module with a test for each function of this one.
#[macro_export]
macro_rules! group_tests {
    ($module:ident, $keys:ty, $suite:expr) => {
        $crate::group_tests!(@ $module, $keys, $suite,
            agreement: all_members_agree_and_a_store_gives_every_state_back
                damaged_records_do_no_harm
                a_group_has_at_most_so_many_members,
            hostile: every_flip_and_truncation_of_a_commit_is_refused
                every_flip_and_truncation_of_a_welcome_is_refused
                a_welcome_with_no_or_too_many_invitations_is_refused
                a_welcome_shows_no_ids_and_no_keys
                an_insider_cannot_remove_or_invite_in_another_members_name
                an_insider_cannot_alter_a_genuine_commit
                commits_that_do_not_follow_are_refused
                a_commit_that_comes_again_is_known
                every_flip_and_truncation_of_a_message_is_refused,
            liar: two_roots_in_one_commit_are_refused_by_whoever_got_the_other
                a_damaged_box_keeps_one_member_out_until_it_comes_back
                a_welcome_with_another_root_than_it_commits_to_is_refused
                two_commits_never_lead_to_the_same_keys
                a_newcomer_who_was_lied_to_has_other_keys
                a_stolen_public_key_does_not_keep_its_owner_out,
            thief: a_copy_follows_its_member_until_the_removal
                a_new_key_pair_keeps_a_copy_out
                stolen_secrets_without_the_private_key_last_until_any_removal
                a_copy_alone_opens_nothing_older_than_the_window
                a_private_key_opens_a_recorded_welcome_and_what_followed,
            wiped: a_root_is_nowhere_in_memory_once_it_was_dropped);
    };
    (@ $module:ident, $keys:ty, $suite:expr, $($file:ident: $($test:ident)+),+) => {
        mod $module {
            use super::*;
            $(mod $file {
                use super::*;
                $(#[test]
                fn $test() {
                    $crate::group_tests::$file::$test::<$keys>($suite);
                })+
            })+
        }
    };
}

/// A second copy of a key pair.
pub(crate) fn duplicate<K: MemberKeyPair>(keys: &K) -> K {
    let suite = keys.public_key().suite();
    K::from_private_bytes(suite, keys.private_bytes().expose()).unwrap()
}
