//! What all members agree on beside the members: the group's name and what everyone must be able to
//! do (RFC 9420 sections 7.2, 11.1 and 12.1.7).

use cc_core::LayerError;
use openmls::prelude::{
    Extension, ExtensionType, Extensions, GroupContext, RequiredCapabilitiesExtension,
    UnknownExtension,
};

use crate::{
    MlsError, MlsLayer,
    config::{MAX_NAME_LEN, NAME_EXTENSION, check_name},
};

impl MlsLayer {
    /// The next change that this member stages also renames the group, or with an empty name takes
    /// its name away. Whoever the change adds learns the new name, and so does everyone else once it
    /// is in force. A change that fails or is discarded takes the wish with it: say it again.
    ///
    /// Every member must know this crate's private extension for the name, which those of other
    /// libraries say in their leaves' capabilities; from then on it is required of all who are added.
    ///
    /// # Errors
    /// [`MlsError::Name`] over 4096 bytes, [`MlsError::NoGroup`].
    pub fn rename_group(&mut self, name: impl Into<String>) -> Result<(), MlsError> {
        let name = name.into();
        check_name(&name)?;
        self.active().map_err(|_| MlsError::NoGroup)?;
        self.new_name = Some(name);
        Ok(())
    }
}

/// The extensions of a group with another name.
pub(crate) fn renamed(
    old: &Extensions<GroupContext>,
    name: &str,
) -> Result<Extensions<GroupContext>, MlsError> {
    let library =
        |error: openmls::prelude::InvalidExtensionError| MlsError::Library(error.to_string());
    let mut new = old.clone();
    if name.is_empty() {
        let _ = new.remove(ExtensionType::Unknown(NAME_EXTENSION));
        return Ok(new);
    }
    let extension = UnknownExtension(name.as_bytes().to_vec());
    new.add_or_replace(Extension::Unknown(NAME_EXTENSION, extension)).map_err(library)?;
    // openmls changes a group's extensions only to what the group requires of its members.
    let (mut extensions, proposals, credentials) = match old.required_capabilities() {
        Some(old) => (old.extension_types().to_vec(), old.proposal_types(), old.credential_types()),
        None => (Vec::new(), &[][..], &[][..]),
    };
    if !extensions.contains(&ExtensionType::Unknown(NAME_EXTENSION)) {
        extensions.push(ExtensionType::Unknown(NAME_EXTENSION));
    }
    let required = RequiredCapabilitiesExtension::new(&extensions, proposals, credentials);
    new.add_or_replace(Extension::RequiredCapabilities(required)).map_err(library)?;
    Ok(new)
}

/// Whether a commit may lead from `old` to `new`: another name, and nothing else.
pub(crate) fn check_renamed(
    old: &Extensions<GroupContext>,
    new: &Extensions<GroupContext>,
) -> Result<(), LayerError> {
    let name = match new.unknown(NAME_EXTENSION) {
        Some(name) if name.0.is_empty() || name.0.len() > MAX_NAME_LEN => {
            return Err(LayerError::rejected());
        }
        Some(name) => std::str::from_utf8(&name.0).map_err(|_| LayerError::rejected())?,
        None => "",
    };
    let expected = renamed(old, name)?;
    let same = new.iter().count() == expected.iter().count()
        && new.iter().all(|extension| expected.iter().any(|known| known == extension));
    if same { Ok(()) } else { Err(LayerError::rejected()) }
}
