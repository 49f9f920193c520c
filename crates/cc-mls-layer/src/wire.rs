//! MLSMessage (RFC 9420 section 6) to and from bytes. Only the canonical encoding passes.

use cc_core::LayerError;
use openmls::prelude::{
    ContentType, DeserializeBytes as _, KeyPackageIn, MlsMessageBodyIn, MlsMessageIn,
    PrivateMessageIn, PublicMessageIn, Welcome, group_info::VerifiableGroupInfo,
    tls_codec::Serialize as _,
};

pub(crate) fn private_message(
    bytes: &[u8],
    content: ContentType,
) -> Result<PrivateMessageIn, LayerError> {
    match message(bytes)? {
        MlsMessageBodyIn::PrivateMessage(message) if message.content_type() == content => {
            Ok(message)
        }
        _ => Err(LayerError::rejected()),
    }
}

pub(crate) fn public_message(
    bytes: &[u8],
    content: ContentType,
) -> Result<PublicMessageIn, LayerError> {
    match message(bytes)? {
        MlsMessageBodyIn::PublicMessage(message) if message.content_type() == content => {
            Ok(message)
        }
        _ => Err(LayerError::rejected()),
    }
}

pub(crate) fn group_info(bytes: &[u8]) -> Result<VerifiableGroupInfo, LayerError> {
    match message(bytes)? {
        MlsMessageBodyIn::GroupInfo(info) => Ok(info),
        _ => Err(LayerError::rejected()),
    }
}

pub(crate) fn welcome(bytes: &[u8]) -> Result<Welcome, LayerError> {
    match message(bytes)? {
        MlsMessageBodyIn::Welcome(welcome) => Ok(welcome),
        _ => Err(LayerError::rejected()),
    }
}

pub(crate) fn key_package(bytes: &[u8]) -> Result<KeyPackageIn, LayerError> {
    match message(bytes)? {
        MlsMessageBodyIn::KeyPackage(key_package) => Ok(key_package),
        _ => Err(LayerError::rejected()),
    }
}

fn message(bytes: &[u8]) -> Result<MlsMessageBodyIn, LayerError> {
    let message =
        MlsMessageIn::tls_deserialize_exact_bytes(bytes).map_err(|_| LayerError::rejected())?;
    let canonical = message.tls_serialize_detached().map_err(|_| LayerError::rejected())?;
    if canonical == bytes { Ok(message.extract()) } else { Err(LayerError::rejected()) }
}
