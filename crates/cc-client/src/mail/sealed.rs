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

impl Kem {
    /// Bytes of the least plaintext of mail: invitations to small groups, requests to be added anew and answers have no more.
    /// With keys for X-Wing in them, they are longer.
    const fn min_padded(self) -> usize {
        match self {
            Self::X25519 => 8 << 10,
            Self::XWing => 16 << 10,
        }
    }
}

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
    seal_bytes(to, SecretBytes::new(frame::encode(mail)?).expose())
}

/// As [`seal`], mail as it travels.
pub(crate) fn seal_bytes(to: &MailAddress, mail: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
    let Some(kem) = to.kem() else { return Ok(None) };
    let plain = padded(kem, mail)?;
    let (mailbox, public) = (to.mailbox(), to.body.key.as_slice());
    let sealed = hpke::seal(&context(kem, &mailbox), public, plain.expose())?;
    let Some(hpke::Sealed { encapsulated, ciphertext }) = sealed else { return Ok(None) };
    let hint = hint(public, encapsulated.as_slice());
    let item = MailItem::Sealed(SealedMail { hint, encapsulated, ciphertext });
    frame::encode(&item).map(Some)
}

/// The keys that an item may have been sealed to: one, or none, but for a chance of 1 in 2^32.
fn hinted<'a>(keys: &'a [MailKey], sealed: &'a SealedMail) -> impl Iterator<Item = &'a MailKey> {
    keys.iter().filter(|key| hint(&key.public, sealed.encapsulated.as_slice()) == sealed.hint)
}

/// What was sealed to one of these keys of the mailbox's owner.
pub(crate) fn open(
    keys: &[MailKey],
    mailbox: &LogId,
    sealed: &SealedMail,
) -> Result<Mail, FrameError> {
    let SealedMail { encapsulated, ciphertext, .. } = sealed;
    let opened = hinted(keys, sealed).find_map(|MailKey { kem, private, .. }| {
        let (encapsulated, ciphertext) = (encapsulated.as_slice(), ciphertext.as_slice());
        let kem = Kem::of_id(*kem)?;
        let plain =
            hpke::open(&context(kem, mailbox), private.0.expose(), encapsulated, ciphertext)?;
        Some((kem, plain))
    });
    let (kem, plain) = opened.ok_or(FrameError::Malformed)?;
    frame::decode(unpadded(kem, plain.expose()).ok_or(FrameError::Malformed)?)
}

/// The length before it, 4 bytes, and zeros behind it, as Padmé has it.
fn padded(kem: Kem, mail: &[u8]) -> Result<SecretBytes, Fault> {
    let len = u32::try_from(mail.len()).map_err(|_| Fault::TooLong)?;
    let mut plain = Vec::with_capacity(padded_len(kem, mail.len()));
    plain.extend(len.to_be_bytes());
    plain.extend(mail);
    plain.resize(padded_len(kem, mail.len()), 0);
    Ok(SecretBytes::new(plain))
}

fn padded_len(kem: Kem, mail: usize) -> usize {
    let len = mail.saturating_add(4).max(kem.min_padded());
    u64::try_from(len).map(padme).ok().and_then(|len| usize::try_from(len).ok()).unwrap_or(len)
}

/// What [`padded`] has padded: each mail has one form.
fn unpadded(kem: Kem, plain: &[u8]) -> Option<&[u8]> {
    let (len, rest) = plain.split_first_chunk()?;
    let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
    let (mail, zeros) = rest.split_at_checked(len)?;
    let whole = padded_len(kem, len) == plain.len() && zeros.iter().all(|byte| *byte == 0);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        frame::Invitation,
        mail::MailKeys,
        testing::{client, mail_to},
    };

    fn invitation(of: &Client, len: usize) -> Mail {
        Mail::Invitation(Invitation {
            package: [1; 32],
            log: LogId::from_bytes([2; 32]),
            position: crate::Position(3),
            welcome: Opaque(vec![4; len]),
            inviter: of.mail_address().unwrap(),
            roster: Opaque(Vec::new()),
        })
    }

    #[test]
    fn mail_of_every_length_has_one_form() {
        let bob = client("Bob");
        let mut lens = std::collections::BTreeSet::new();
        for len in [0, 1, 7000, 7700, 7900, 8100, 20_000, 100_000] {
            let mail = invitation(&bob, len);
            let item = mail_to(&bob, &mail);
            lens.insert(item.len());
            assert!(item.len() < len + len / 8 + Kem::X25519.min_padded() + 200, "{len}");
            let Ok(MailItem::Sealed(sealed)) = frame::decode(&item) else { panic!("sealed") };
            assert_eq!(bob.open_mail(&sealed), Ok(mail));
        }
        assert!(lens.len() <= 4, "{lens:?}");
        // Longer, shorter, or with something behind it.
        let plain = padded(Kem::XWing, &[1; 100]).unwrap();
        let plain = plain.expose();
        assert_eq!(unpadded(Kem::XWing, plain), Some(&[1; 100][..]));
        assert_eq!(unpadded(Kem::XWing, &plain[..plain.len() - 1]), None);
        assert_eq!(unpadded(Kem::XWing, &[plain, &[0]].concat()), None);
        let mut dirty = plain.to_vec();
        dirty[200] = 1;
        assert_eq!(unpadded(Kem::XWing, &dirty), None);
        dirty[..4].copy_from_slice(&u32::MAX.to_be_bytes());
        assert_eq!(unpadded(Kem::XWing, &dirty), None);
        assert_eq!(unpadded(Kem::XWing, &[]), None);
    }

    #[test]
    fn noise_costs_one_opening_at_the_most_and_that_of_strangers_none() {
        let bob = client("Bob");
        let mut keys = bob.state.mail_keys.clone();
        for _ in 0..3 {
            keys.keys.extend(MailKeys::create(&bob.identity).unwrap().keys.clone());
        }
        let mut opened = 0;
        for at in 0..2_000_u32 {
            let key = &keys.keys[at as usize % 4];
            let encapsulated = Opaque([at.to_be_bytes(); 8].concat());
            // Who knows the key knows what its hint is.
            let hint = hint(&key.public, encapsulated.as_slice());
            let mut sealed = SealedMail { hint, encapsulated, ciphertext: Opaque(vec![0; 100]) };
            opened += hinted(&keys.keys, &sealed).count();
            assert_eq!(open(&keys.keys, &bob.mailbox(), &sealed), Err(FrameError::Malformed));
            sealed.hint[0] ^= 1;
            assert_eq!(hinted(&keys.keys, &sealed).count(), 0);
        }
        assert_eq!(opened, 2_000);
    }
}
