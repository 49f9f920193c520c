//! What travels of a request to join, and how it is sealed.

use core::fmt;

use cc_aes_layer::AesKey;
use cc_core::{Opaque, Secret, SecretBytes, random};
use serde::{Deserialize, Serialize};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};
use zeroize::Zeroize as _;

use super::{
    hosts::MAX_HOSTS,
    link::{JoinLink, LinkKeys},
};
use crate::{
    Fault, JoinLinkId, JoinRequestId, LogId,
    device::DeviceCertificate,
    frame::{self, KeyPackageOffer, List},
    hpke::{self, Context, Kem, Psk},
    person::PersonKeys,
    records::StoredSecret,
};

/// Bytes of an item with a request at the most.
pub(super) const MAX_REQUEST_LEN: usize = 64 << 10;
const INFO: &[u8] = b"cc-client/1 join";
const ANSWERED: &[u8] = b"cc-client/1 join answered";
const WITHDRAWN: &[u8] = b"cc-client/1 join withdrawn";
/// What a device signs its request under.
pub(super) const JOIN: &str = "join request";

/// A request as the delivery service sees it: HPKE (RFC 9180, mode PSK) to the key of a link, under its secret.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct SealedJoin {
    pub(super) link: JoinLinkId,
    pub(super) encapsulated: Opaque,
    pub(super) ciphertext: Opaque,
}

/// What is in a [`SealedJoin`].
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(super) struct JoinRequest {
    pub(super) body: JoinBody,
    /// Ed25519 by the device key of who asks, over a label and the body: nobody asks with the key package of another.
    pub(super) signature: [u8; 64],
}

/// What is signed of a [`JoinRequest`].
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(super) struct JoinBody {
    pub(super) link: JoinLinkId,
    /// Whom this is for: the mailboxes, as the link has them.
    pub(super) to: List<LogId, MAX_HOSTS>,
    /// What an answer or a withdrawal is sealed under.
    pub(super) answer_key: AnswerKey,
    /// What the person says, in UTF-8.
    pub(super) message: Opaque,
    pub(super) keys: PersonKeys,
    pub(super) certificate: DeviceCertificate,
    /// Made for this request.
    pub(super) offer: KeyPackageOffer,
}

/// What is said of a request, sealed under the key that was in it: an answer, or nothing with a withdrawal.
#[derive(Debug, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct SealedReply {
    pub(super) request: JoinRequestId,
    sealed: Opaque,
}

/// What becomes of a request other than that its asker gets a welcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinAnswer {
    Declined,
    /// It was accepted, and cannot be carried out.
    Lapsed,
    /// Who asked has come in by another way.
    MemberAlready,
}

impl JoinAnswer {
    const ALL: [Self; 3] = [Self::Declined, Self::Lapsed, Self::MemberAlready];

    /// As it travels.
    const fn number(self) -> u8 {
        match self {
            Self::Declined => 0,
            Self::Lapsed => 1,
            Self::MemberAlready => 2,
        }
    }
}

/// A key that one request's answer is sealed under, or its withdrawal.
#[derive(
    Clone, PartialEq, Eq, Serialize, Deserialize, TlsSize, TlsSerializeBytes, TlsDeserializeBytes,
)]
pub(super) struct AnswerKey([u8; 32]);

impl AnswerKey {
    pub(super) fn generate() -> Result<Self, Fault> {
        Ok(Self(random::array()?))
    }

    fn key(&self) -> Option<AesKey> {
        Secret::copy_from(&self.0).map(AesKey::aes256)
    }

    pub(super) fn answer(
        &self,
        request: JoinRequestId,
        answer: JoinAnswer,
    ) -> Result<SealedReply, Fault> {
        self.seal(ANSWERED, request, &[answer.number()])
    }

    /// What who was asked says of the request; `None` for what somebody else made, and `Some(None)` for an answer of
    /// a later version.
    pub(super) fn answer_in(&self, reply: &SealedReply) -> Option<Option<JoinAnswer>> {
        let plain = self.open(ANSWERED, reply)?;
        Some(JoinAnswer::ALL.into_iter().find(|answer| plain[..] == [answer.number()]))
    }

    pub(super) fn withdrawal(&self, request: JoinRequestId) -> Result<SealedReply, Fault> {
        self.seal(WITHDRAWN, request, &[])
    }

    /// Whether who asked has withdrawn the request by this.
    pub(super) fn is_withdrawn_by(&self, reply: &SealedReply) -> bool {
        self.open(WITHDRAWN, reply).is_some_and(|plain| plain.is_empty())
    }

    fn seal(
        &self,
        label: &[u8],
        request: JoinRequestId,
        plain: &[u8],
    ) -> Result<SealedReply, Fault> {
        let key = self.key().ok_or(Fault::JoinLink)?;
        let sealed = Opaque(key.seal(&reply_context(label, &request), plain)?);
        Ok(SealedReply { request, sealed })
    }

    fn open(&self, label: &[u8], reply: &SealedReply) -> Option<Vec<u8>> {
        self.key()?.open(&reply_context(label, &reply.request), &reply.sealed.0).ok()
    }
}

fn reply_context(label: &[u8], request: &JoinRequestId) -> Vec<u8> {
    [label, request.as_bytes()].concat()
}

impl Drop for AnswerKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for AnswerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnswerKey(..)")
    }
}

/// New keys for a link.
pub(super) fn new_keys() -> Result<LinkKeys, Fault> {
    let (private, public) = hpke::generate(Kem::X25519)?;
    Ok(LinkKeys {
        public: public.try_into().map_err(|_| Fault::Random(cc_core::RandomError))?,
        private: StoredSecret(private),
        secret: StoredSecret(Secret::random()?),
    })
}

fn context<'a>(aad: &'a [u8], link: &'a JoinLinkId, secret: &'a [u8; 32]) -> Context<'a> {
    let psk = Some(Psk { secret, id: link.as_bytes() });
    Context { kem: Kem::X25519, info: INFO, aad, psk }
}

/// What a request is bound to: the link, and whose it is.
fn binding(link: &JoinLinkId, mailboxes: &[LogId]) -> Vec<u8> {
    let mailboxes = mailboxes.iter().flat_map(LogId::as_bytes);
    link.as_bytes().iter().chain(mailboxes).copied().collect()
}

pub(super) fn seal(link: &JoinLink, request: &JoinRequest) -> Result<SealedJoin, Fault> {
    let id = link.id();
    let plain = SecretBytes::new(frame::encode(request)?);
    let aad = binding(&id, link.mailboxes());
    let context = context(&aad, &id, link.secret().expose());
    let sealed = hpke::seal(&context, link.key(), plain.expose())?.ok_or(Fault::JoinLink)?;
    let hpke::Sealed { encapsulated, ciphertext } = sealed;
    Ok(SealedJoin { link: id, encapsulated, ciphertext })
}

/// What was sealed for this link of the owner of `mailboxes`; `None` for anything else.
pub(super) fn open(
    keys: &LinkKeys,
    mailboxes: &[LogId],
    sealed: &SealedJoin,
) -> Option<JoinRequest> {
    let SealedJoin { link, encapsulated, ciphertext } = sealed;
    let aad = binding(link, mailboxes);
    let context = context(&aad, link, keys.secret.0.expose());
    let (encapsulated, ciphertext) = (encapsulated.as_slice(), ciphertext.as_slice());
    let plain = hpke::open(&context, keys.private.0.expose(), encapsulated, ciphertext)?;
    frame::decode(plain.expose()).ok()
}
