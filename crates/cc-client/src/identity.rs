//! One identity for all groups: the long-lived keys of every layer of a recipe.

use cc_core::{MemberId, Secret, SecretBytes, store::StoreError};
use cc_dh_layer::{Curve, DhKeyPair};
use cc_mlkem_layer::{HybridKeyPair, ParameterSet};
use cc_mls_layer::MlsIdentity;
use cc_primitives::ed25519::SigningKey;
use cc_signal_layer::{Account, IdentityKeyPair};
use serde::{Deserialize, Serialize};

use crate::{Fault, MailboxKey, Recipe, device::MAX_NAME_LEN, recipe::Keys, records};

/// What the MLS credential of a client's device says: whoever keeps a key package sees it, the directory among
/// them. Who a member is, members learn from certificates, which are sealed.
const NAMELESS: &str = "";

/// What a person says of itself. Members of its groups see it, the delivery service does not.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// The name that others see.
    pub name: String,
    /// What this device is called.
    pub device: String,
}

impl Profile {
    /// A name, and a device without one.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), device: String::new() }
    }

    /// What the device is called: "Telephone".
    #[must_use]
    pub fn with_device(mut self, name: impl Into<String>) -> Self {
        self.device = name.into();
        self
    }
}

/// Made once, kept in the store, and the same in every group.
pub(crate) struct Identity {
    pub(crate) profile: Profile,
    pub(crate) recipe: Recipe,
    /// The id that this person has in every group of the recipe.
    pub(crate) id: MemberId,
    /// Of the mailbox to which welcomes go.
    pub(crate) mailbox: MailboxKey,
    keys: Keys,
}

/// The identity as it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    device: String,
    recipe: Recipe,
    id: [u8; 32],
    mailbox: [u8; 32],
    dh: Option<(bool, [u8; 32])>,
    mlkem: Option<Vec<u8>>,
    signal: Option<Vec<u8>>,
    mls: Option<(Vec<u8>, Vec<u8>)>,
}

impl Drop for Stored {
    fn drop(&mut self) {
        use zeroize::Zeroize as _;
        self.mailbox.zeroize();
        if let Some((_, key)) = &mut self.dh {
            key.zeroize();
        }
        self.mlkem.zeroize();
        self.signal.zeroize();
        if let Some((private, _)) = &mut self.mls {
            private.zeroize();
        }
    }
}

impl Identity {
    pub(crate) fn generate(profile: Profile, recipe: Recipe) -> Result<Self, Fault> {
        Self::with_credential(profile, recipe, NAMELESS)
    }

    /// As [`generate`](Self::generate), with this name in the clear of its key packages.
    pub(crate) fn with_credential(
        profile: Profile,
        recipe: Recipe,
        credential: &str,
    ) -> Result<Self, Fault> {
        if profile.name.len().max(profile.device.len()) > MAX_NAME_LEN {
            return Err(Fault::TooLong);
        }
        let keys = Keys::generate(&recipe, credential)?;
        let (id, mailbox) = (MemberId::from_bytes([0; 32]), MailboxKey::generate()?);
        let mut identity = Self { profile, recipe, id, mailbox, keys };
        let probe = identity.recipe.build(&identity, crate::recipe::Role::Invited)?.build()?;
        identity.id = probe.member_id().ok_or(Fault::Recipe("a recipe needs a group layer"))?;
        Ok(identity)
    }

    pub(crate) fn encode(&self) -> Result<SecretBytes, Fault> {
        let Keys { dh, mlkem, signal, mls } = &self.keys;
        let stored = Stored {
            name: self.profile.name.clone(),
            device: self.profile.device.clone(),
            recipe: self.recipe.clone(),
            id: *self.id.as_bytes(),
            mailbox: *self.mailbox.seed().expose(),
            dh: dh.as_ref().map(|pair| {
                (pair.public_key().curve() == Curve::P256, *pair.private_key().expose())
            }),
            mlkem: mlkem.as_ref().map(|pair| pair.private_key().expose().to_vec()),
            signal: signal.as_ref().map(|pair| pair.export().expose().to_vec()),
            mls: match mls {
                Some(mls) => {
                    Some((mls.private_key()?.expose().to_vec(), mls.signature_key().to_vec()))
                }
                None => None,
            },
        };
        records::encode(&stored)
    }

    pub(crate) fn decode(bytes: &SecretBytes) -> Result<Self, Fault> {
        let stored: Stored = records::decode(bytes)?;
        let damaged = || Fault::Store(StoreError::corrupt("the identity is malformed"));
        let dh = match &stored.dh {
            Some((p256, key)) => {
                let curve = if *p256 { Curve::P256 } else { Curve::X25519 };
                let key = cc_core::Secret::copy_from(key).ok_or_else(damaged)?;
                Some(DhKeyPair::from_private_key(curve, key)?)
            }
            None => None,
        };
        let mlkem = stored
            .mlkem
            .as_deref()
            .map(|key| HybridKeyPair::from_private_key(ParameterSet::MlKem768, key))
            .transpose()?;
        let signal = stored.signal.as_deref().map(IdentityKeyPair::load).transpose()?;
        let mls = match &stored.mls {
            Some((private, public)) => Some(MlsIdentity::basic(
                NAMELESS,
                cc_mls_layer::MlsConfig::default().ciphersuite(),
                &SecretBytes::new(private.clone()),
                public,
            )?),
            None => None,
        };
        Ok(Self {
            profile: Profile::new(stored.name.clone()).with_device(stored.device.clone()),
            recipe: stored.recipe.clone(),
            id: MemberId::from_bytes(stored.id),
            mailbox: MailboxKey::from_seed(
                &cc_core::Secret::copy_from(&stored.mailbox).ok_or_else(damaged)?,
            ),
            keys: Keys { dh, mlkem, signal, mls },
        })
    }

    pub(crate) fn dh(&self, curve: Curve) -> Result<DhKeyPair, Fault> {
        let pair = self.keys.dh.as_ref().ok_or_else(missing)?;
        Ok(DhKeyPair::from_private_key(curve, pair.private_key().duplicate())?)
    }

    pub(crate) fn mlkem(&self) -> Result<HybridKeyPair, Fault> {
        let pair = self.keys.mlkem.as_ref().ok_or_else(missing)?;
        let private = pair.private_key();
        Ok(HybridKeyPair::from_private_key(ParameterSet::MlKem768, private.expose())?)
    }

    /// An account of the same identity, with prekeys of its own.
    pub(crate) fn account(&self) -> Result<Account, Fault> {
        let pair = self.keys.signal.as_ref().ok_or_else(missing)?;
        Ok(Account::with_identity(IdentityKeyPair::load(pair.export().expose())?)?)
    }

    /// The key with which this device signs: that of the MLS layer, to which the member id commits.
    pub(crate) fn device_key(&self) -> Result<SigningKey, Fault> {
        let mls = self.keys.mls.as_ref().ok_or_else(missing)?;
        let seed = mls.private_key()?;
        let seed = Secret::copy_from(seed.expose())
            .ok_or(Fault::Recipe("the MLS layer does not sign with Ed25519"))?;
        Ok(SigningKey::from_seed(&seed))
    }

    pub(crate) fn mls(&self) -> Result<MlsIdentity, Fault> {
        let mls = self.keys.mls.as_ref().ok_or_else(missing)?;
        Ok(MlsIdentity::basic(
            mls.name().to_owned(),
            mls.ciphersuite(),
            &mls.private_key()?,
            mls.signature_key(),
        )?)
    }
}

fn missing() -> Fault {
    Fault::Recipe("the identity has no key for a layer of the recipe")
}
