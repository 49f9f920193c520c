//! How mail is sealed: to the key of its reader, padded, with nothing in the clear but a hint at the key.

use cc_core::{Opaque, SecretBytes};
use sha2::{Digest as _, Sha256};
use tls_codec::{TlsDeserializeBytes, TlsSerializeBytes, TlsSize};

use super::address::{MailAddress, MailKey};
use crate::{
    Client, Fault, LogId,
    frame::{self, FrameError, Mail, MailItem},
    hpke::{self, Context, Kem},
    padme::padme,
    records::{EventRecord, RequestRecord},
};

const INFO: &[u8] = b"cc-client/1 mail";
const HINT: &[u8] = b"cc-client/1 mail hint";
/// Bytes of the least plaintext: invitations to small groups, requests to be added anew and refusals have no more.
const MIN_PADDED: usize = 8 << 10;

/// An item of a mailbox, as the delivery service sees it: HPKE (RFC 9180, base mode) to the key of the mailbox's owner.
#[derive(Debug, Clone, PartialEq, Eq, TlsSize, TlsSerializeBytes, TlsDeserializeBytes)]
pub(crate) struct SealedMail {
    /// By which the owner finds the key. Who does not know the key cannot tell two of one key from two of two.
    pub(super) hint: [u8; 4],
    pub(super) encapsulated: Opaque,
    pub(super) ciphertext: Opaque,
}

fn hint(public: &[u8], encapsulated: &[u8]) -> [u8; 4] {
    let hash = Sha256::new().chain_update(HINT).chain_update(public).chain_update(encapsulated);
    let hash: [u8; 32] = hash.finalize().into();
    [hash[0], hash[1], hash[2], hash[3]]
}

fn context(kem: Kem, mailbox: &LogId) -> Context<'_> {
    Context { kem, info: INFO, aad: mailbox.as_bytes(), psk: None }
}

/// An item with this mail for whoever has the address; `None` where its key is none.
pub(crate) fn seal(to: &MailAddress, mail: &Mail) -> Result<Option<Vec<u8>>, Fault> {
    let Some(kem) = to.kem() else { return Ok(None) };
    let plain = padded(&SecretBytes::new(frame::encode(mail)?))?;
    let (mailbox, public) = (to.mailbox(), to.body.key.as_slice());
    let sealed = hpke::seal(&context(kem, &mailbox), public, plain.expose())?;
    let Some(hpke::Sealed { encapsulated, ciphertext }) = sealed else { return Ok(None) };
    let hint = hint(public, encapsulated.as_slice());
    let item = MailItem::Sealed(SealedMail { hint, encapsulated, ciphertext });
    frame::encode(&item).map(Some)
}

/// What was sealed to one of these keys of the mailbox's owner.
pub(crate) fn open(
    keys: &[MailKey],
    mailbox: &LogId,
    sealed: &SealedMail,
) -> Result<Mail, FrameError> {
    let SealedMail { hint: hinted, encapsulated, ciphertext } = sealed;
    let (encapsulated, ciphertext) = (encapsulated.as_slice(), ciphertext.as_slice());
    let plain = keys.iter().filter(|key| hint(&key.public, encapsulated) == *hinted).find_map(
        |MailKey { kem, private, .. }| {
            hpke::open(&context(Kem::of_id(*kem)?, mailbox), private, encapsulated, ciphertext)
        },
    );
    let plain = plain.ok_or(FrameError::Malformed)?;
    frame::decode(unpadded(plain.expose()).ok_or(FrameError::Malformed)?)
}

/// The length before it, 4 bytes, and zeros behind it, as Padmé has it.
fn padded(mail: &SecretBytes) -> Result<SecretBytes, Fault> {
    let len = u32::try_from(mail.expose().len()).map_err(|_| Fault::TooLong)?;
    let mut plain = Vec::with_capacity(padded_len(mail.expose().len()));
    plain.extend(len.to_be_bytes());
    plain.extend(mail.expose());
    plain.resize(padded_len(mail.expose().len()), 0);
    Ok(SecretBytes::new(plain))
}

fn padded_len(mail: usize) -> usize {
    let len = mail.saturating_add(4).max(MIN_PADDED);
    u64::try_from(len).map(padme).ok().and_then(|len| usize::try_from(len).ok()).unwrap_or(len)
}

/// What [`padded`] has padded: each mail has one form.
fn unpadded(plain: &[u8]) -> Option<&[u8]> {
    let (len, rest) = plain.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (mail, zeros) = rest.split_at_checked(len)?;
    let whole = padded_len(len) == plain.len() && zeros.iter().all(|byte| *byte == 0);
    whole.then_some(mail)
}

impl Client {
    /// Sends this to whoever has the address; that it cannot be sealed to is told, as mail that the service does not take.
    pub(crate) fn send_mail(
        &mut self,
        to: &MailAddress,
        mail: &Mail,
    ) -> Result<Option<crate::RequestId>, Fault> {
        let mailbox = to.mailbox();
        if let Some(item) = seal(to, mail)? {
            self.state.add_request(&RequestRecord::Mail { mailbox, item }).map(Some)
        } else {
            let why = "its key is none".to_owned();
            self.state.emit(&EventRecord::NotDelivered { mailbox, why })?;
            Ok(None)
        }
    }

    /// Opens what was sealed to a key of this device.
    pub(crate) fn open_mail(&self, sealed: &SealedMail) -> Result<Mail, FrameError> {
        open(&self.state.mail_keys.keys, &self.state.mailbox, sealed)
    }
}
