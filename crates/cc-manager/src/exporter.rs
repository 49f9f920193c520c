//! Secrets of an epoch for uses outside the stack.

use cc_core::{
    GroupLayer, LayerError, Secret,
    kdf::{hkdf, hkdf_expand},
};

use crate::{CascadingCipherManager, Error, layers::failed};

/// Under which the layers export what is combined here.
const LAYER_LABEL: &[u8] = b"cascading-cipher/1 export";

type Export = fn(&dyn GroupLayer, &[u8]) -> Result<Option<Secret<32>>, LayerError>;

impl CascadingCipherManager {
    /// A secret of the present epoch for a use of the caller's own: the same for all members, known only
    /// to who has the epoch's secrets in every group layer, and unknown to who comes later. It has
    /// nothing in common with the keys of messages, and neither messages nor layers that are added to the
    /// stack or taken out of it change it. `label` names the use, `context` is any public bytes.
    ///
    /// HKDF-SHA-256 over what the group layers export, bottom first, each with the result so far as the
    /// salt; then expanded with label and context. `None` outside a group, and where a group layer does
    /// not [export](GroupLayer::export_secret).
    ///
    /// # Errors
    /// [`Error::Layer`] with a layer that failed.
    pub fn export_secret(&self, label: &[u8], context: &[u8]) -> Result<Option<Secret<32>>, Error> {
        self.export(label, context, |group, label| group.export_secret(label))
    }

    /// What [`export_secret`](Self::export_secret) gives once the [staged
    /// change](Self::staged_change) is in force. `None` without one.
    ///
    /// # Errors
    /// As [`export_secret`](Self::export_secret).
    pub fn export_next_secret(
        &self,
        label: &[u8],
        context: &[u8],
    ) -> Result<Option<Secret<32>>, Error> {
        if self.staged_change().is_none() {
            return Ok(None);
        }
        self.export(label, context, |group, label| group.export_next_secret(label))
    }

    fn export(
        &self,
        label: &[u8],
        context: &[u8],
        of_layer: Export,
    ) -> Result<Option<Secret<32>>, Error> {
        let mut combined: Option<Secret<32>> = None;
        for (position, group) in self.stack.groups() {
            let exported = of_layer(group, LAYER_LABEL);
            let Some(exported) = exported.map_err(|error| failed(position, group, error))? else {
                return Ok(None);
            };
            let salt = combined.as_ref().map_or(&[][..], |combined| combined.expose());
            let layer = group.descriptor();
            let info = [LAYER_LABEL, layer.id.as_bytes(), &layer.version.to_be_bytes()];
            combined = Some(hkdf(salt, exported.expose(), &info));
        }
        let len = u64::try_from(label.len()).unwrap_or(u64::MAX).to_be_bytes();
        let info: [&[u8]; 4] = [b"cascading-cipher/1 exported", &len, label, context];
        Ok(combined.map(|combined| hkdf_expand(&combined, &info)))
    }
}
