//! The layer's one record in a store, `layer`. It is written once and never again. Its bytes are in the
//! [crate documentation](crate#bytes-in-a-store).

use alloc::{boxed::Box, vec::Vec};

use cc_core::{SecretBytes, store::StoreError};

use crate::{AesKey, Algorithm, Argon2Params, Password, mode::Mode};

pub(crate) const KEY: &[u8] = b"layer";

const VERSION: u16 = 1;
const FRONT_LEN: usize = 4;

pub(crate) fn encode(mode: &Mode) -> SecretBytes {
    let (number, algorithm, parts): (u8, _, [&[u8]; 2]) = match mode {
        Mode::Key(key) => (1, key.algorithm(), [key.expose(), &[]]),
        Mode::Password(password) => {
            let (params, password) = password.parts();
            (2, Algorithm::Aes256, [&params.map(Argon2Params::to_bytes).concat(), password])
        }
        Mode::Inherited(inherited) => (3, inherited.algorithm(), [&[], &[]]),
    };
    let algorithm = match algorithm {
        Algorithm::Aes256 => 1,
        Algorithm::Aes128 => 2,
    };
    let [high, low] = VERSION.to_be_bytes();
    // Of the right size at once: a vector that grows leaves copies behind.
    let len = FRONT_LEN + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut record = Vec::with_capacity(len);
    record.extend_from_slice(&[high, low, number, algorithm]);
    parts.iter().for_each(|part| record.extend_from_slice(part));
    SecretBytes::new(record)
}

pub(crate) fn decode(record: &[u8]) -> Result<Mode, StoreError> {
    let malformed = || StoreError::corrupt("the record of an AES layer is malformed");
    let (version, rest) = record.split_first_chunk().ok_or_else(malformed)?;
    match u16::from_be_bytes(*version) {
        0 => return Err(malformed()),
        VERSION => {}
        newer => return Err(StoreError::Newer { version: newer.into() }),
    }
    let ([mode, algorithm], rest) = rest.split_first_chunk().ok_or_else(malformed)?;
    let algorithm = match algorithm {
        1 => Algorithm::Aes256,
        2 => Algorithm::Aes128,
        _ => return Err(malformed()),
    };
    match (mode, algorithm) {
        (1, _) => {
            let key = AesKey::copy_from(rest).map_err(|_| malformed())?;
            if key.algorithm() == algorithm { Ok(Mode::Key(key)) } else { Err(malformed()) }
        }
        (2, Algorithm::Aes256) => {
            let (params, rest) = rest.split_first_chunk().ok_or_else(malformed)?;
            let (ceiling, password) = rest.split_first_chunk().ok_or_else(malformed)?;
            let params = [params, ceiling].map(Argon2Params::from_bytes);
            let [Ok(params), Ok(ceiling)] = params else { return Err(malformed()) };
            let password = Password::from_parts([params, ceiling], password);
            Ok(Mode::Password(Box::new(password.ok_or_else(malformed)?)))
        }
        (3, algorithm) if rest.is_empty() => Ok(Mode::inherited(algorithm)),
        _ => Err(malformed()),
    }
}
