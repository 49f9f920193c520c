//! The storage as openmls asks for it: each entity under its kind.

use openmls_traits::storage::{CURRENT_VERSION, StorageProvider, traits};

use super::{Kind, Storage, StorageError, key};

/// A value of the group, under the group id.
macro_rules! of_group {
    ($kind:ident, $write:ident, $read:ident, $delete:ident, $entity:ident) => {
        fn $write<G: traits::GroupId<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            group_id: &G,
            value: &T,
        ) -> Result<(), StorageError> {
            self.put(Kind::$kind, group_id, value)
        }

        fn $read<G: traits::GroupId<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            group_id: &G,
        ) -> Result<Option<T>, StorageError> {
            self.get(Kind::$kind, group_id)
        }

        fn $delete<G: traits::GroupId<CURRENT_VERSION>>(
            &self,
            group_id: &G,
        ) -> Result<(), StorageError> {
            self.delete(Kind::$kind, group_id)
        }
    };
}

/// A value under its own key.
macro_rules! of_key {
    ($kind:ident, $write:ident, $read:ident, $delete:ident, $key:ident, $entity:ident) => {
        fn $write<K: traits::$key<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            key: &K,
            value: &T,
        ) -> Result<(), StorageError> {
            self.put(Kind::$kind, key, value)
        }

        of_key!(@read $kind, $read, $key, $entity);

        fn $delete<K: traits::$key<CURRENT_VERSION>>(&self, key: &K) -> Result<(), StorageError> {
            self.delete(Kind::$kind, key)
        }
    };
    (@read SignatureKeyPair, $read:ident, $key:ident, $entity:ident) => {
        fn $read<K: traits::$key<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            key: &K,
        ) -> Result<Option<T>, StorageError> {
            self.get(Kind::SignatureKeyPair, key)
        }
    };
    (@read KeyPackage, $read:ident, $key:ident, $entity:ident) => {
        fn $read<K: traits::$key<CURRENT_VERSION>, T: traits::$entity<CURRENT_VERSION>>(
            &self,
            key: &K,
        ) -> Result<Option<T>, StorageError> {
            self.get(Kind::KeyPackage, key)
        }
    };
    (@read $kind:ident, $read:ident, $key:ident, $entity:ident) => {
        fn $read<T: traits::$entity<CURRENT_VERSION>, K: traits::$key<CURRENT_VERSION>>(
            &self,
            key: &K,
        ) -> Result<Option<T>, StorageError> {
            self.get(Kind::$kind, key)
        }
    };
}

impl StorageProvider<CURRENT_VERSION> for Storage {
    type Error = StorageError;

    of_group!(
        JoinConfig,
        write_mls_join_config,
        mls_group_join_config,
        delete_group_config,
        MlsGroupJoinConfig
    );
    of_group!(Tree, write_tree, tree, delete_tree, TreeSync);
    of_group!(
        InterimTranscriptHash,
        write_interim_transcript_hash,
        interim_transcript_hash,
        delete_interim_transcript_hash,
        InterimTranscriptHash
    );
    of_group!(GroupContext, write_context, group_context, delete_context, GroupContext);
    of_group!(
        ConfirmationTag,
        write_confirmation_tag,
        confirmation_tag,
        delete_confirmation_tag,
        ConfirmationTag
    );
    of_group!(
        ResumptionPsks,
        write_resumption_psk_store,
        resumption_psk_store,
        delete_all_resumption_psk_secrets,
        ResumptionPskStore
    );
    of_group!(
        OwnLeafIndex,
        write_own_leaf_index,
        own_leaf_index,
        delete_own_leaf_index,
        LeafNodeIndex
    );
    of_group!(
        GroupEpochSecrets,
        write_group_epoch_secrets,
        group_epoch_secrets,
        delete_group_epoch_secrets,
        GroupEpochSecrets
    );

    of_key!(
        SignatureKeyPair,
        write_signature_key_pair,
        signature_key_pair,
        delete_signature_key_pair,
        SignaturePublicKey,
        SignatureKeyPair
    );
    of_key!(
        EncryptionKeyPair,
        write_encryption_key_pair,
        encryption_key_pair,
        delete_encryption_key_pair,
        EncryptionKey,
        HpkeKeyPair
    );
    of_key!(
        KeyPackage,
        write_key_package,
        key_package,
        delete_key_package,
        HashReference,
        KeyPackage
    );
    of_key!(Psk, write_psk, psk, delete_psk, PskId, PskBundle);

    fn write_group_state<
        S: traits::GroupState<CURRENT_VERSION>,
        G: traits::GroupId<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        group_state: &S,
    ) -> Result<(), StorageError> {
        self.put(Kind::GroupState, group_id, group_state)
    }

    fn group_state<S: traits::GroupState<CURRENT_VERSION>, G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<Option<S>, StorageError> {
        self.get(Kind::GroupState, group_id)
    }

    fn delete_group_state<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete(Kind::GroupState, group_id)
    }

    fn write_message_secrets<
        G: traits::GroupId<CURRENT_VERSION>,
        M: traits::MessageSecrets<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        message_secrets: &M,
    ) -> Result<(), StorageError> {
        if !self.state().writes_secrets {
            return Ok(());
        }
        self.put(Kind::MessageSecrets, group_id, message_secrets)
    }

    fn message_secrets<
        G: traits::GroupId<CURRENT_VERSION>,
        M: traits::MessageSecrets<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
    ) -> Result<Option<M>, StorageError> {
        self.get(Kind::MessageSecrets, group_id)
    }

    fn delete_message_secrets<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete(Kind::MessageSecrets, group_id)
    }

    fn append_own_leaf_node<
        G: traits::GroupId<CURRENT_VERSION>,
        L: traits::LeafNode<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        leaf_node: &L,
    ) -> Result<(), StorageError> {
        let count = {
            let prefix = key(Kind::OwnLeafNode, group_id)?;
            self.state().keys(&prefix).len()
        };
        // Big endian, so that the list comes back in this order.
        let count = u64::try_from(count).unwrap_or(u64::MAX).to_be_bytes();
        self.put(Kind::OwnLeafNode, &(group_id, count), leaf_node)
    }

    fn own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>, L: traits::LeafNode<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<Vec<L>, StorageError> {
        self.list(Kind::OwnLeafNode, group_id)
    }

    fn delete_own_leaf_nodes<G: traits::GroupId<CURRENT_VERSION>>(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete_all(Kind::OwnLeafNode, group_id)
    }

    fn queue_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        Q: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        proposal_ref: &R,
        proposal: &Q,
    ) -> Result<(), StorageError> {
        self.put(Kind::QueuedProposal, &(group_id, proposal_ref), &(proposal_ref, proposal))
    }

    fn queued_proposal_refs<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
    ) -> Result<Vec<R>, StorageError> {
        // The reference stands first in the value; postcard leaves the rest unread.
        self.list(Kind::QueuedProposal, group_id)
    }

    fn queued_proposals<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
        Q: traits::QueuedProposal<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
    ) -> Result<Vec<(R, Q)>, StorageError> {
        self.list(Kind::QueuedProposal, group_id)
    }

    fn remove_proposal<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        proposal_ref: &R,
    ) -> Result<(), StorageError> {
        self.delete(Kind::QueuedProposal, &(group_id, proposal_ref))
    }

    fn clear_proposal_queue<
        G: traits::GroupId<CURRENT_VERSION>,
        R: traits::ProposalRef<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
    ) -> Result<(), StorageError> {
        self.delete_all(Kind::QueuedProposal, group_id)
    }

    fn write_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        H: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
        key_pairs: &[H],
    ) -> Result<(), StorageError> {
        self.put(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index), &key_pairs)
    }

    fn encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
        H: traits::HpkeKeyPair<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<Vec<H>, StorageError> {
        Ok(self.get(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index))?.unwrap_or_default())
    }

    fn delete_encryption_epoch_key_pairs<
        G: traits::GroupId<CURRENT_VERSION>,
        E: traits::EpochKey<CURRENT_VERSION>,
    >(
        &self,
        group_id: &G,
        epoch: &E,
        leaf_index: u32,
    ) -> Result<(), StorageError> {
        self.delete(Kind::EpochKeyPairs, &(group_id, epoch, leaf_index))
    }
}
