//! The settings of one member: what the group has in common, and how long secrets are kept.

use openmls::prelude::{
    Capabilities, CredentialType, Extension, ExtensionType, Extensions, GroupContext, LeafNode,
    MlsGroupCreateConfig, MlsGroupJoinConfig, PURE_CIPHERTEXT_WIRE_FORMAT_POLICY,
    RequiredCapabilitiesExtension, SenderRatchetConfiguration, UnknownExtension,
};
use openmls_rust_crypto::RustCrypto;
use openmls_traits::crypto::OpenMlsCrypto as _;

/// A ciphersuite of RFC 9420 section 17.1, as openmls names it.
pub use openmls_traits::types::Ciphersuite;

use crate::{
    credential::{MlsCredential, Policy},
    error::MlsError,
};

mod plain;
mod record;

pub(crate) use record::StoredConfig;

/// Bytes of the longest group name.
pub(crate) const MAX_NAME_LEN: usize = 4096;

/// The KeyPackage extension with the binding of the parts below and the validity: 48 bytes. Private use,
/// RFC 9420 section 17.3.
pub(crate) const BINDING_EXTENSION: u16 = 0xf0cc;

/// The GroupContext extension with the group's name in UTF-8. Private use, RFC 9420 section 17.3.
pub(crate) const NAME_EXTENSION: u16 = 0xf0cd;

/// The LeafNode extension with what the program says of a member. Private use, RFC 9420 section 17.3.
pub(crate) const LEAF_DATA_EXTENSION: u16 = 0xf0ce;

/// The settings of one member.
///
/// Members of one group share the ciphersuite; everything else is each member's own affair.
///
/// ```
/// use cc_mls_layer::MlsConfig;
///
/// let config = MlsConfig::default().with_max_past_epochs(1).with_padding(64);
/// assert_eq!(config.max_past_epochs(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlsConfig {
    ciphersuite: Ciphersuite,
    padding: usize,
    max_past_epochs: usize,
    out_of_order_tolerance: u32,
    max_forward_distance: u32,
    pub(crate) key_package_lifetime: u64,
    pub(crate) min_remaining_lifetime: u64,
    pub(crate) max_lifetime: u64,
    checkpoint_interval: u32,
    plain_peers: bool,
    plain_group: bool,
    tree_in_welcome: bool,
    pub(crate) policy: Policy,
    extension_types: Vec<u16>,
    required_extensions: Vec<u16>,
    requires_x509: bool,
}

impl MlsConfig {
    /// The most epochs whose messages can be kept readable.
    pub const MAX_PAST_EPOCHS: usize = 64;
    /// The most generations that a message of one sender may be late.
    pub const MAX_DISTANCE: u32 = 10_000;
    /// The most generations of one sender that may be skipped at once.
    pub const MAX_FORWARD_DISTANCE: u32 = 1 << 20;
    /// The largest padding block, in bytes.
    pub const MAX_PADDING: usize = 65_536;
    /// The most messages between two checkpoints.
    pub const MAX_CHECKPOINT_INTERVAL: u32 = 1024;
    /// The longest life of a key package, in seconds: 84 days, as long as other libraries accept.
    pub const MAX_KEY_PACKAGE_LIFETIME: u64 = 84 * 24 * 3600;

    /// The ciphersuites that work here, the default first: three of RFC 9420, and with the feature
    /// `draft-pq` the post-quantum ones of a draft.
    #[must_use]
    pub fn ciphersuites() -> Vec<Ciphersuite> {
        RustCrypto::default().supported_ciphersuites()
    }

    /// The ciphersuite; `MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519` unless changed.
    #[must_use]
    pub const fn with_ciphersuite(mut self, ciphersuite: Ciphersuite) -> Self {
        self.ciphersuite = ciphersuite;
        self
    }

    /// Messages are padded to a multiple of this many bytes, to hide their length; 0 for none, 32
    /// unless changed, at most [`MAX_PADDING`](Self::MAX_PADDING).
    #[must_use]
    pub const fn with_padding(mut self, bytes: usize) -> Self {
        self.padding = bytes;
        self
    }

    /// How many epochs back messages still open, and their exporter secrets are still known: 3
    /// unless changed, at most [`MAX_PAST_EPOCHS`](Self::MAX_PAST_EPOCHS). The fewer, the better
    /// forward secrecy.
    #[must_use]
    pub const fn with_max_past_epochs(mut self, epochs: usize) -> Self {
        self.max_past_epochs = epochs;
        self
    }

    /// How many generations of one sender a message may come late: 1000 unless changed, at most
    /// [`MAX_DISTANCE`](Self::MAX_DISTANCE). The keys of messages that were skipped are kept so long.
    #[must_use]
    pub const fn with_out_of_order_tolerance(mut self, generations: u32) -> Self {
        self.out_of_order_tolerance = generations;
        self
    }

    /// How many generations of one sender may be skipped at once: 20,000 unless changed, at most
    /// [`MAX_FORWARD_DISTANCE`](Self::MAX_FORWARD_DISTANCE). In a stack a commit is sealed as a message of
    /// its sender, so this is also how many messages of one sender and epoch may be lost on the way to its
    /// commit. It bounds the work that one message of a *member* can cause, some 5 us a generation; of the
    /// keys skipped, only those within the [tolerance](Self::with_out_of_order_tolerance) are kept.
    #[must_use]
    pub const fn with_max_forward_distance(mut self, generations: u32) -> Self {
        self.max_forward_distance = generations;
        self
    }

    /// How long a new key package may be used to add this member, in seconds: 84 days less one hour
    /// unless changed, at most [`MAX_KEY_PACKAGE_LIFETIME`](Self::MAX_KEY_PACKAGE_LIFETIME). It is valid
    /// from a day before it was made, with plain peers from an hour before, for skewed clocks.
    #[must_use]
    pub const fn with_key_package_lifetime(mut self, seconds: u64) -> Self {
        self.key_package_lifetime = seconds;
        self
    }

    /// How much of its validity somebody else's key package must have left when this member adds by it, in
    /// seconds: an hour unless changed. Whoever follows the change looks at no clock.
    #[must_use]
    pub const fn with_min_remaining_lifetime(mut self, seconds: u64) -> Self {
        self.min_remaining_lifetime = seconds;
        self
    }

    /// For how long in all somebody else's key package may be valid to be added by this member, in
    /// seconds: 85 days unless changed (RFC 9420 section 7.2). This also refuses one without end.
    #[must_use]
    pub const fn with_max_lifetime(mut self, seconds: u64) -> Self {
        self.max_lifetime = seconds;
        self
    }

    /// The ratchets are written to the state every so many messages: 64 unless changed, at most
    /// [`MAX_CHECKPOINT_INTERVAL`](Self::MAX_CHECKPOINT_INTERVAL). In between, one small record per
    /// message is written, so that the cost of a message does not grow with the group. To write the
    /// ratchets takes time for all of them, and a store gets what changed. Whoever steals the stored
    /// state can read the messages since the last checkpoint. Where the ratchets were read back from a
    /// checkpoint meanwhile (by a restart, or by a revert of more than a send), the keys of the
    /// messages opened since that checkpoint are back as those of skipped messages, and later
    /// checkpoints write them until the windows of
    /// [generations](Self::with_out_of_order_tolerance) or [epochs](Self::with_max_past_epochs) are
    /// over. With 0 or 1 every message writes a checkpoint and neither happens.
    #[must_use]
    pub const fn with_checkpoint_interval(mut self, messages: u32) -> Self {
        self.checkpoint_interval = messages;
        self
    }

    /// Who may be in the group: `decide` gets the credential and the signature key of everyone who is
    /// about to enter it, and refuses them with `false`. It is asked about the key packages that this
    /// member adds by, about the leaves that others add or update, and about every leaf of a group
    /// that this member joins (RFC 9420 section 5.3.1). What is refused is refused as a whole, key
    /// package, commit or welcome, and changes nothing.
    ///
    /// Without it, basic credentials are let in whatever they say, and X.509 ones never.
    ///
    /// **This crate does not read certificates.** For an X.509 credential `decide` must verify the
    /// chain, that it may speak for its member, *and that the public key in the first certificate is
    /// the signature key*: `subjectPublicKey` as it stands for Ed25519, an uncompressed point for
    /// P-256. Whoever leaves that out lets anyone in with somebody else's certificate.
    ///
    /// A commit is refused too when the committer's certificate, accepted long ago, is not accepted
    /// any more; the others then remove that member. All members of a group need a policy before
    /// anyone has an X.509 credential, and the same answers, or they part. A policy is no part of
    /// what a store keeps, and must not call into the layer.
    ///
    /// ```
    /// use cc_mls_layer::{MlsConfig, MlsCredential};
    ///
    /// let config = MlsConfig::default().with_credential_policy(|credential, _signature_key| {
    ///     matches!(credential, MlsCredential::Basic { identity } if identity.starts_with(b"dev/"))
    /// });
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn with_credential_policy(
        mut self,
        decide: impl Fn(&MlsCredential, &[u8]) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.policy = Policy::new(decide);
        self
    }

    /// Extension types that the application knows beside those of this crate, for the capabilities of
    /// this member's leaves (RFC 9420 section 7.2); none unless changed.
    #[must_use]
    pub fn with_extension_types(mut self, types: Vec<u16>) -> Self {
        self.extension_types = types;
        self
    }

    /// What a group founded with this configuration requires of all who are added: these extension
    /// types, and with `x509` that they can read X.509 credentials (RFC 9420 section 11.1). The founder
    /// must be able to do it too. Nothing is required unless changed. This crate knows no proposal
    /// types of the application's, so none can be required.
    #[must_use]
    pub fn with_required_capabilities(mut self, extension_types: Vec<u16>, x509: bool) -> Self {
        self.required_extensions = extension_types;
        self.requires_x509 = x509;
        self
    }

    /// The ciphersuite.
    #[must_use]
    pub const fn ciphersuite(&self) -> Ciphersuite {
        self.ciphersuite
    }

    /// Bytes of a padding block.
    #[must_use]
    pub const fn padding(&self) -> usize {
        self.padding
    }

    /// How many epochs back messages still open.
    #[must_use]
    pub const fn max_past_epochs(&self) -> usize {
        self.max_past_epochs
    }

    /// Messages between two checkpoints; 0 and 1 are the same.
    #[must_use]
    pub const fn checkpoint_interval(&self) -> u32 {
        self.checkpoint_interval
    }

    pub(crate) fn check(&self) -> Result<(), MlsError> {
        check_ciphersuite(self.ciphersuite)?;
        let bounds = [
            (self.padding <= Self::MAX_PADDING, "the padding is over MlsConfig::MAX_PADDING"),
            (
                self.max_past_epochs <= Self::MAX_PAST_EPOCHS,
                "the past epochs are over MlsConfig::MAX_PAST_EPOCHS",
            ),
            (
                self.out_of_order_tolerance <= Self::MAX_DISTANCE,
                "the tolerance is over MlsConfig::MAX_DISTANCE",
            ),
            (
                self.max_forward_distance <= Self::MAX_FORWARD_DISTANCE,
                "the distance is over MlsConfig::MAX_FORWARD_DISTANCE",
            ),
            (
                self.key_package_lifetime <= Self::MAX_KEY_PACKAGE_LIFETIME,
                "the lifetime is over MlsConfig::MAX_KEY_PACKAGE_LIFETIME",
            ),
            (
                self.checkpoint_interval <= Self::MAX_CHECKPOINT_INTERVAL,
                "the interval is over MlsConfig::MAX_CHECKPOINT_INTERVAL",
            ),
            (
                self.required_extensions.iter().all(|kind| self.knows(*kind)),
                "an extension type is required that this member does not know",
            ),
            (
                !self.requires_x509 || self.policy.is_set(),
                "X.509 is required of members, and this one has no credential policy",
            ),
        ];
        match bounds.iter().find(|(holds, _)| !holds) {
            Some((_, broken)) => Err(MlsError::Config(broken)),
            None => Ok(()),
        }
    }

    /// What every leaf of this crate can do (RFC 9420 section 7.2): nothing beyond the defaults but
    /// the private extensions, key packages of last resort, what the application knows, and X.509
    /// credentials where there is somebody to verify them.
    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities::new(
            None,
            Some(&[self.ciphersuite]),
            Some(&self.known_extensions().collect::<Vec<_>>()),
            None,
            self.policy.is_set().then_some(&[CredentialType::Basic, CredentialType::X509][..]),
        )
    }

    fn known_extensions(&self) -> impl Iterator<Item = ExtensionType> {
        let own = [
            ExtensionType::Unknown(BINDING_EXTENSION),
            ExtensionType::Unknown(NAME_EXTENSION),
            ExtensionType::Unknown(LEAF_DATA_EXTENSION),
            ExtensionType::LastResort,
        ];
        let types = self.extension_types.iter().copied().map(ExtensionType::from);
        own.into_iter().chain(types.filter(move |kind| !own.contains(kind)))
    }

    fn knows(&self, extension_type: u16) -> bool {
        self.known_extensions().any(|known| known == ExtensionType::from(extension_type))
    }

    fn required_capabilities(&self) -> Option<RequiredCapabilitiesExtension> {
        let extensions: Vec<_> =
            self.required_extensions.iter().copied().map(ExtensionType::from).collect();
        let credentials: &[_] = if self.requires_x509 { &[CredentialType::X509] } else { &[] };
        let any = !extensions.is_empty() || self.requires_x509;
        any.then(|| RequiredCapabilitiesExtension::new(&extensions, &[], credentials))
    }

    pub(crate) fn join_config(&self) -> MlsGroupJoinConfig {
        MlsGroupJoinConfig::builder()
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .padding_size(self.padding)
            .max_past_epochs(self.max_past_epochs)
            .sender_ratchet_configuration(self.ratchet())
            .use_ratchet_tree_extension(self.ratchet_tree_in_group_info())
            .build()
    }

    pub(crate) fn create_config(
        &self,
        name: &str,
        leaf: Extensions<LeafNode>,
        now: u64,
    ) -> Result<MlsGroupCreateConfig, MlsError> {
        let mut context = Extensions::<GroupContext>::empty();
        if !name.is_empty() {
            let name = UnknownExtension(name.as_bytes().to_vec());
            context
                .add(Extension::Unknown(NAME_EXTENSION, name))
                .map_err(|error| MlsError::Library(error.to_string()))?;
        }
        if let Some(required) = self.required_capabilities() {
            context
                .add(Extension::RequiredCapabilities(required))
                .map_err(|error| MlsError::Library(error.to_string()))?;
        }
        let builder = MlsGroupCreateConfig::builder()
            .ciphersuite(self.ciphersuite)
            .wire_format_policy(PURE_CIPHERTEXT_WIRE_FORMAT_POLICY)
            .padding_size(self.padding)
            .max_past_epochs(self.max_past_epochs)
            .sender_ratchet_configuration(self.ratchet())
            .use_ratchet_tree_extension(self.ratchet_tree_in_group_info())
            .lifetime(self.lifetime(now))
            .capabilities(self.capabilities())
            .with_group_context_extensions(context)
            .with_leaf_node_extensions(leaf)
            .map_err(|error| MlsError::Library(error.to_string()))?;
        Ok(builder.build())
    }

    fn ratchet(&self) -> SenderRatchetConfiguration {
        SenderRatchetConfiguration::new(self.out_of_order_tolerance, self.max_forward_distance)
    }
}

impl Default for MlsConfig {
    fn default() -> Self {
        Self {
            ciphersuite: Ciphersuite::MLS_128_DHKEMX25519_AES128GCM_SHA256_Ed25519,
            padding: 32,
            max_past_epochs: 3,
            out_of_order_tolerance: 1000,
            max_forward_distance: 20_000,
            key_package_lifetime: Self::MAX_KEY_PACKAGE_LIFETIME - HOUR,
            min_remaining_lifetime: HOUR,
            max_lifetime: Self::MAX_KEY_PACKAGE_LIFETIME + 24 * HOUR,
            checkpoint_interval: 64,
            plain_peers: false,
            plain_group: false,
            tree_in_welcome: true,
            policy: Policy::default(),
            extension_types: Vec::new(),
            required_extensions: Vec::new(),
            requires_x509: false,
        }
    }
}

/// In seconds.
pub(crate) const HOUR: u64 = 3600;

pub(crate) fn check_ciphersuite(ciphersuite: Ciphersuite) -> Result<(), MlsError> {
    RustCrypto::default().supports(ciphersuite).map_err(|_| MlsError::Ciphersuite(ciphersuite))
}

pub(crate) fn check_name(name: &str) -> Result<(), MlsError> {
    if name.len() > MAX_NAME_LEN {
        return Err(MlsError::Name { max: MAX_NAME_LEN, len: name.len() });
    }
    Ok(())
}
