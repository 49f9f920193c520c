//! The account at rest: a record of the identity and the prekeys of two periods, and one for each one-time
//! prekey and for each initial message that is remembered. So a key that was used is a record that goes.
//!
//! | name | record |
//! |---|---|
//! | (empty) | 64 identity, 4 next id, 1 whether X3DH is accepted, the current period, 1 (+ n) the former one, 4 + 4 how many one-time prekeys of each kind |
//! | `e`, `f` | the initial messages that were seen: see `seen.rs` |
//! | `k` 4 | a one-time prekey, by its id: 1 kind, 1 whether it was published, 32 or 64 secret |
//!
//! A period is 4 id, 32 signed prekey, 64 last-resort prekey, 4 + 4 how many initial messages of how many peers
//! were seen.

use alloc::vec::Vec;

use cc_core::Secret;

use super::{Account, StagedSession, StagedUse};
use crate::{
    Error,
    identity::IdentityKeyPair,
    limits::Limits,
    prekey::{MAX_ONE_TIME, MAX_SEEN, OneTime, Period},
    seen::{self, Seen},
    state::{self, Records, Source, State},
};

impl State for Account {
    const KIND: u8 = state::ACCOUNT;

    fn write(&self, to: &mut Records) {
        to.put(b"", |writer| {
            self.identity.write(writer);
            writer.u32(self.next_id);
            writer.flag(self.accept_x3dh);
            self.current.write(writer);
            writer.flag(self.former.is_some());
            if let Some(period) = &self.former {
                period.write(writer);
            }
            writer.count(self.curve.iter().count());
            writer.count(self.kem.iter().count());
        });
        for period in core::iter::once(&self.current).chain(&self.former) {
            period.seen().write(period.id(), to);
        }
        let curve = self.curve.iter().map(|(id, out, key)| (id, out, CURVE, &key.expose()[..]));
        let kem = self.kem.iter().map(|(id, out, key)| (id, out, KEM, &key.expose()[..]));
        for (id, published, kind, secret) in curve.chain(kem) {
            to.put(&[ONE_TIME, &id.to_be_bytes()].concat(), |writer| {
                writer.u8(kind);
                writer.flag(published);
                writer.put(secret);
            });
        }
    }

    fn read(from: &mut Source, _: &Limits) -> Result<Self, Error> {
        let (mut account, counts) = from.take(b"", |reader| {
            let identity = IdentityKeyPair::read(reader)?;
            let (next_id, accept_x3dh) = (reader.u32()?, reader.flag()?);
            let (current, seen) = Period::read(reader)?;
            let (former, seen_before) = if reader.flag()? {
                let (former, seen) = Period::read(reader)?;
                (Some(former), seen)
            } else {
                (None, [0, 0])
            };
            let (curve, kem) = (OneTime::default(), OneTime::default());
            let counts =
                [seen[0], seen[1], seen_before[0], seen_before[1], reader.u32()?, reader.u32()?];
            Ok((Self { identity, next_id, current, former, curve, kem, accept_x3dh }, counts))
        })?;
        read_seen(&mut account, from)?;
        from.within(ONE_TIME, |from| {
            while let Some(name) = from.next_name() {
                let id = <[u8; 4]>::try_from(&name[..]).map_err(|_| Error::InvalidState)?;
                let id = u32::from_be_bytes(id);
                from.take(&name, |reader| {
                    match (reader.u8()?, reader.flag()?) {
                        (CURVE, out) => account.curve.restore(id, out, reader.secret()?),
                        (KEM, out) => account.kem.restore(id, out, reader.secret()?),
                        _ => return Err(Error::InvalidState),
                    }
                    Ok(())
                })?;
            }
            Ok(())
        })?;
        let here = [
            account.current.seen().len(),
            account.current.seen().peers_len(),
            account.former.as_ref().map_or(0, |period| period.seen().len()),
            account.former.as_ref().map_or(0, |period| period.seen().peers_len()),
            account.curve.iter().count(),
            account.kem.iter().count(),
        ];
        let most = [MAX_SEEN, MAX_SEEN, MAX_SEEN, MAX_SEEN, MAX_ONE_TIME, MAX_ONE_TIME];
        for ((here, most), count) in here.into_iter().zip(most).zip(counts) {
            if here > most || u32::try_from(here) != Ok(count) {
                return Err(Error::InvalidState);
            }
        }
        Ok(account)
    }
}

const ONE_TIME: &[u8] = b"k";
/// Kinds of one-time prekeys.
const CURVE: u8 = 0;
const KEM: u8 = 1;

fn read_seen(account: &mut Account, from: &mut Source) -> Result<(), Error> {
    let mut seen = Vec::with_capacity(2);
    for period in core::iter::once(&mut account.current).chain(&mut account.former) {
        seen.push((period.id(), period.seen_mut()));
    }
    Seen::read_all(from, seen)
}

/// What a session takes from the account when it begins, for giving it back when the store fails.
#[derive(Debug)]
pub(crate) struct UsedPrekeys {
    curve: Option<(u32, Secret<32>)>,
    kem: Option<(u32, Secret<64>)>,
    seen: Option<(u32, seen::Undo)>,
}

impl Account {
    /// What [`Account::apply`] will take.
    pub(crate) fn prekeys_used_by(&self, staged: &StagedSession) -> UsedPrekeys {
        self.prekeys_of(&staged.used)
    }

    /// What [`Account::use_up`] will take.
    pub(crate) fn prekeys_of(&self, used: &StagedUse) -> UsedPrekeys {
        let StagedUse { handshake, .. } = used;
        let curve = handshake.one_time_prekey;
        let kem = handshake.kem.as_ref().map(|(id, _)| *id);
        let seen = self
            .period(handshake.signed_prekey)
            .map(|period| (period.id(), period.seen().before_insert(seen::peer_id(used.peer()))));
        UsedPrekeys {
            curve: curve.and_then(|id| Some((id, self.curve.get(id)?.duplicate()))),
            kem: kem.and_then(|id| Some((id, self.kem.get(id)?.duplicate()))),
            seen: seen.filter(|_| !self.uses_one_time_key(handshake)),
        }
    }

    pub(crate) fn restore_prekeys(&mut self, used: UsedPrekeys) {
        let UsedPrekeys { curve, kem, seen } = used;
        if let Some((id, secret)) = curve {
            self.curve.put_back(id, secret);
        }
        if let Some((id, secret)) = kem {
            self.kem.put_back(id, secret);
        }
        if let Some((id, undo)) = seen
            && let Some(period) = self.period_mut(id)
        {
            period.seen_mut().undo(undo);
        }
    }
}
