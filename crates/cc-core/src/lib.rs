#![doc = include_str!("../README.md")]
#![no_std]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod buffer;
mod bundle;
mod cascade;
mod clean_stack;
mod codec;
mod envelope;
mod error;
mod group;
pub mod kdf;
pub mod key_use;
mod layer;
pub mod limits;
pub mod membership;
mod pair;
mod pair_bundle;
mod peek;
pub mod random;
mod secret;
#[cfg(feature = "serde")]
pub mod serde_array;
mod stack;
pub mod store;

pub use buffer::Buffer;
pub use bundle::{Bundle, Part, PartList};
pub use cascade::{ChainSecret, Contribution, key_commitment};
pub use clean_stack::with_clean_stack;
pub use codec::{Opaque, decode_list};
pub use envelope::{Binding, DecodeError, Header, Hint, Kind, WIRE_VERSION};
pub use error::{LayerError, LayerErrorKind, error_chain};
pub use group::{
    ChangeParts, ChangeRequest, CommitOutcome, GroupLayer, KeyPackageInfo, Member, MemberId,
    NewMember, PartContext, Standing, Transcript, part_digest,
};
pub use layer::{
    Attachment, CipherLayer, Configure, LayerContext, Opened, Properties, Recalled, Restore,
};
pub use pair::{Initiated, PairKeys, PairKeysOf, RestorePairKeys};
pub use pair_bundle::{PairBundle, PairBundlePart, PairId, PairOpening, PairOpeningPart};
pub use peek::Envelope;
pub use random::RandomError;
pub use secret::{Secret, SecretBytes};
pub use stack::{LayerDescriptor, StackId};
