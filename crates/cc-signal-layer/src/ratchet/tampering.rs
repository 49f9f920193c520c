//! What the tests of thieves and of peers that lie do with a ratchet.

use alloc::vec::Vec;

use super::{Change, PREFIX_LEN, Ratchet, Sending, with_associated_data};
use crate::{
    chain_key::ChainKey,
    header::{self, ENCRYPTED_LEN},
    limits::Limits,
    message_key::{HybridKey, OneTimeKey as _, TAG_LEN},
    root_key::RootKey,
    spqr::Spqr,
};

impl Ratchet {
    /// Sets the number of the next message sent, to see what a peer does that lies about gaps.
    pub(crate) fn set_sending_number(&mut self, to: u32) {
        if let Sending::Chain { number, .. } = &mut self.sending {
            *number = to;
        }
    }

    /// Sets the claimed length of the chain before.
    pub(crate) fn set_previous(&mut self, to: u32) {
        self.previous = to;
    }

    pub(crate) fn spqr_mut(&mut self) -> &mut Spqr {
        &mut self.spqr
    }

    /// Gives this the post-quantum ratchet of another one.
    pub(crate) fn replace_spqr(&mut self, by: &Self) {
        self.spqr = by.spqr.duplicate();
    }

    /// Gives this all but the post-quantum ratchet of another one.
    pub(crate) fn replace_double(&mut self, by: &Self) {
        let spqr = self.spqr.duplicate();
        *self = Self { spqr, ..by.duplicate() };
    }

    /// Leaves the header keys and takes away what gives message keys.
    pub(crate) fn replace_chain_keys(&mut self) {
        let random = || cc_core::Secret::random().unwrap();
        self.root = RootKey::new(random());
        if let Some(receiving) = &mut self.receiving {
            receiving.chain = ChainKey::new(random());
        }
    }

    /// As [`Ratchet::open`] and [`Ratchet::apply`], for somebody who does not mind that what was agreed in
    /// the post-quantum ratchet is not what it has: whether the text is readable.
    pub(crate) fn read_as_thief(
        &mut self,
        session_ad: &[u8; 32],
        ad: &[u8],
        message: &[u8],
        limits: &Limits,
    ) -> bool {
        let mut message = Vec::from(message);
        let (prefix, rest) = message.split_first_chunk_mut::<PREFIX_LEN>().unwrap();
        let (body, tag) = rest.split_last_chunk_mut::<TAG_LEN>().unwrap();
        let header: [u8; ENCRYPTED_LEN] = prefix[1..].try_into().unwrap();
        let Ok((plain, classical, double)) = self.find_key(&header, limits) else { return false };
        let Ok(spqr) = self.spqr.read_header(&plain.spqr) else { return false };
        let Ok((post_quantum, change)) = self.spqr.find_key(&spqr, double.missing(limits)) else {
            return false;
        };
        let key = HybridKey::new(classical, post_quantum);
        let opened = with_associated_data([session_ad, &header, ad], |ad| {
            key.decrypt(header::salt(&header), ad, body, tag).is_ok()
        });
        if opened {
            let spqr = self.spqr.receive_as_thief(&spqr, change);
            self.apply(Change { double, spqr }, limits);
        }
        opened
    }
}
