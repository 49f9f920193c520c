//! The group mode of a layer.

/// Implements [`GroupLayer`](cc_core::GroupLayer) for a layer one of whose modes is a
/// [`Group`](crate::Group). The layer has the methods `public_key`, and `as_group` and `as_group_mut`, which
/// give the group, or a [`Misuse`](cc_core::LayerErrorKind::Misuse) in another mode; everything of the
/// implementation fails with that then, and [`CipherLayer::group`](cc_core::CipherLayer::group) is to offer
/// no group layer.
#[macro_export]
macro_rules! group_layer {
    ($layer:ty) => {
        impl $crate::cc_core::GroupLayer for $layer {
            fn commitment(&self) -> [u8; 32] {
                $crate::MemberPublicKey::commitment(self.public_key())
            }

            fn standing(&self) -> $crate::cc_core::Standing {
                self.as_group().map_or($crate::cc_core::Standing::Outside, |group| group.standing())
            }

            fn members(&self) -> $crate::Vec<$crate::cc_core::Member> {
                self.as_group().map_or_else(|_| $crate::Vec::new(), |group| group.members())
            }

            /// The public key. It is the same in every bundle and is not signed here: the signature is that
            /// of a layer above, over the member id, which the
            /// [`commitment`](cc_core::GroupLayer::commitment) goes into.
            fn key_package(
                &mut self,
                _: &$crate::cc_core::PartContext<'_>,
            ) -> Result<$crate::Vec<u8>, $crate::cc_core::LayerError> {
                self.as_group()?.key_package()
            }

            fn inspect_key_package(
                &self,
                part: &[u8],
            ) -> Result<$crate::cc_core::KeyPackageInfo, $crate::cc_core::LayerError> {
                self.as_group()?.inspect_key_package(part)
            }

            fn epoch_authenticator(&self) -> Option<[u8; 32]> {
                self.as_group().ok()?.epoch_authenticator()
            }

            fn export_secret(
                &self,
                label: &[u8],
            ) -> Result<Option<$crate::cc_core::Secret<32>>, $crate::cc_core::LayerError> {
                Ok(self.as_group()?.export_secret(label))
            }

            fn export_next_secret(
                &self,
                label: &[u8],
            ) -> Result<Option<$crate::cc_core::Secret<32>>, $crate::cc_core::LayerError> {
                Ok(self.as_group()?.export_next_secret(label))
            }

            fn stage_change(
                &mut self,
                request: &$crate::cc_core::ChangeRequest<'_>,
                context: &$crate::cc_core::PartContext<'_>,
            ) -> Result<$crate::cc_core::ChangeParts, $crate::cc_core::LayerError> {
                self.as_group_mut()?.stage_change(request, context)
            }

            fn next_contribution(
                &mut self,
            ) -> Result<Option<$crate::cc_core::Contribution>, $crate::cc_core::LayerError> {
                self.as_group()?.next_contribution()
            }

            fn confirm_change(&mut self) -> Result<(), $crate::cc_core::LayerError> {
                self.as_group_mut()?.confirm_change()
            }

            fn discard_change(&mut self) -> Result<(), $crate::cc_core::LayerError> {
                self.as_group_mut()?.discard_change();
                Ok(())
            }

            fn process_commit(
                &mut self,
                part: &[u8],
                context: &$crate::cc_core::PartContext<'_>,
            ) -> Result<$crate::cc_core::CommitOutcome, $crate::cc_core::LayerError> {
                self.as_group_mut()?.process_commit(part, context)
            }

            fn is_invited(&self, part: &[u8]) -> Option<bool> {
                self.as_group().ok()?.is_invited(part)
            }

            fn join(
                &mut self,
                part: &[u8],
                context: &$crate::cc_core::PartContext<'_>,
            ) -> Result<Option<$crate::cc_core::MemberId>, $crate::cc_core::LayerError> {
                self.as_group_mut()?.join(part, context).map(Some)
            }
        }
    };
}
