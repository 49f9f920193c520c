//! A password, and messages sealed under it alone.
//!
//! Argon2id (RFC 9106) makes a key of the password; a message carries what the receiver needs to do
//! the same. In this order, all integers big-endian, with `n` the length of the plaintext:
//!
//! | bytes | field |
//! |---|---|
//! | 16 | salt of Argon2id, random |
//! | 4 | memory in KiB |
//! | 1 | passes |
//! | 1 | lanes |
//! | 32 | commitment |
//! | 40 + `n` | [AES-256 message](crate::AesKey::seal) under the key |
//!
//! ```text
//! root[32]       = Argon2id(password, salt, memory, passes, lanes), version 0x13
//! key[32]        = HKDF-Expand(root, "cascading-cipher/1 aes password key")
//! commitment[32] = HKDF-Expand(root, "cascading-cipher/1 aes password commitment")
//! ```
//!
//! # Why there is a commitment
//! AES-GCM commits to no key: one message can be made to open under thousands of keys, and whoever
//! sees whether it was accepted rules out thousands of passwords with each try (a partitioning
//! oracle, Len, Grubbs and Ristenpart 2021). The commitment fits one password only.
//!
//! # What it costs, and what an attacker can make it cost
//! Argon2id runs once in a sealer's life, for its one salt, and once for each salt that a receiver
//! meets: [`Password`] remembers the keys of the last eight that turned out to be genuine. A message
//! never costs more than one run, with parameters that are checked first, and none for a header that
//! is too short.
//!
//! Still, somebody who sends made-up salts makes the receiver run Argon2id once for each, with up to
//! the accepted memory: 256 MiB and 8 passes unless [`Password::accept_at_most`] says otherwise. That
//! took 1.2 s on a 2-core machine, where the recommended parameters took 0.1 s and the least 0.02 s.
//! They push nothing out of the cache, for only genuine keys enter it, but they do keep a processor
//! busy. In a stack, put the password below a layer with a key of its own: messages open top-down, so
//! that a forgery fails there and never reaches Argon2id. Where the password stands alone or on top
//! and strangers can send, limit how often they may.
//!
//! This is the one place where the bytes of a message make a layer allocate more than their size.

use alloc::{boxed::Box, vec::Vec};
use core::fmt;

use argon2::{Algorithm as Variant, Argon2, Block, Params, Version};
use cc_core::{
    Buffer, Secret, SecretBytes, kdf::hkdf_expand, key_commitment, random, with_clean_stack,
};
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::{AesError, AesKey};

/// A password, with the Argon2id parameters to seal under and the most that opening may cost.
///
/// The password is overwritten on drop and does not show in `Debug`. Its bytes are taken as they are:
/// where people type it on different keyboards, normalize it first (RFC 8265).
///
/// Sealing and opening take `&mut self`, for they remember keys. See the
/// [crate documentation](crate#passwords) for what that saves and for what a stranger can cost.
pub struct Password {
    password: SecretBytes,
    params: Argon2Params,
    ceiling: Argon2Params,
    /// What this instance seals under, once it did.
    sealing: Option<Box<Derived>>,
    /// What others sealed under, most recently used first; at most [`REMEMBERED`].
    opening: Vec<Derived>,
}

impl Password {
    /// This password, with [`Argon2Params::RECOMMENDED`].
    ///
    /// # Errors
    /// [`AesError::EmptyPassword`].
    pub fn new(password: impl AsRef<[u8]>) -> Result<Self, AesError> {
        let password = password.as_ref();
        if password.is_empty() {
            return Err(AesError::EmptyPassword);
        }
        Ok(Self {
            password: SecretBytes::new(password.to_vec()),
            params: Argon2Params::RECOMMENDED,
            ceiling: Argon2Params::DEFAULT_CEILING,
            sealing: None,
            opening: Vec::new(),
        })
    }

    /// Seals under these parameters, and accepts what others seal under them.
    #[must_use]
    pub fn with_params(mut self, params: Argon2Params) -> Self {
        self.params = params;
        self.sealing = None;
        self.ceiling = self.ceiling.max(params);
        self
    }

    /// Opens nothing that costs more than this in memory, passes or lanes. Before it is called: 256
    /// MiB, 8 passes, 16 lanes, or what this instance seals under where that is more.
    #[must_use]
    pub fn accept_at_most(mut self, ceiling: Argon2Params) -> Self {
        self.ceiling = ceiling.max(self.params);
        self
    }

    /// Seals one message: 94 bytes longer than `plaintext`. The first call runs Argon2id.
    ///
    /// # Errors
    /// [`AesError::Random`] when the operating system has no randomness, [`AesError::OutOfMemory`]
    /// when the first call finds too little of it, [`AesError::TooLong`] beyond 64 GiB.
    pub fn seal(&mut self, associated_data: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, AesError> {
        let mut buffer = Buffer::with_room(plaintext, ROOM, ROOM);
        self.seal_in_place(associated_data, &mut buffer)?;
        Ok(buffer.as_slice().to_vec())
    }

    /// Opens what [`Password::seal`] made of the same associated data. Runs Argon2id for a salt that
    /// it does not remember.
    ///
    /// # Errors
    /// [`AesError::Rejected`] for anything else; [`AesError::Argon2Ceiling`] where the message asks for
    /// more than is [accepted](Self::accept_at_most); [`AesError::OutOfMemory`] when the memory that the message asks for could not be had.
    pub fn open(&mut self, associated_data: &[u8], message: &[u8]) -> Result<Vec<u8>, AesError> {
        let (header, rest) = message.split_first_chunk().ok_or(AesError::Rejected)?;
        if rest.len() < MIN_MESSAGE_LEN {
            return Err(AesError::Rejected);
        }
        self.opening_key(header)?.open(associated_data, rest)
    }

    /// [`Password::seal`], in place. Where the buffer has 78 bytes of room in front and 16 behind,
    /// nothing is moved.
    ///
    /// # Errors
    /// As [`Password::seal`]; the buffer is then to be thrown away.
    pub fn seal_in_place(
        &mut self,
        associated_data: &[u8],
        buffer: &mut Buffer,
    ) -> Result<(), AesError> {
        let (header, key) = self.sealing_key()?;
        key.seal_in_place(associated_data, buffer)?;
        buffer.prepend(&header);
        Ok(())
    }

    /// [`Password::open`], in place.
    ///
    /// # Errors
    /// As [`Password::open`]; the buffer is then to be thrown away, and holds no plaintext.
    pub fn open_in_place(
        &mut self,
        associated_data: &[u8],
        buffer: &mut Buffer,
    ) -> Result<(), AesError> {
        if buffer.len() < HEADER_LEN + MIN_MESSAGE_LEN {
            return Err(AesError::Rejected);
        }
        let header = buffer.take_front().ok_or(AesError::Rejected)?;
        self.opening_key(&header)?.open_in_place(associated_data, buffer)
    }

    /// A secret of this password, this salt and these parameters, for a format with rules of its own:
    ///
    /// ```text
    /// secret[32] = HKDF-Expand(root, "cascading-cipher/1 aes password secret")
    /// ```
    ///
    /// with the root of the [crate documentation](crate#passwords)'s messages. Runs Argon2id in every call, and
    /// nothing tells whether the password is the one that was meant: what is sealed under the secret has to.
    ///
    /// # Errors
    /// [`AesError::Argon2Ceiling`] where this asks for more than is [accepted](Self::accept_at_most), before
    /// anything is run; [`AesError::OutOfMemory`] when its memory could not be had.
    pub fn derive_secret(
        &self,
        salt: &[u8; PASSWORD_SALT_LEN],
        params: Argon2Params,
    ) -> Result<Secret<32>, AesError> {
        if !params.within(self.ceiling) {
            return Err(AesError::Argon2Ceiling { asked: params, ceiling: self.ceiling });
        }
        let root = root(&self.password, salt, params)?;
        Ok(hkdf_expand(&root, &[b"cascading-cipher/1 aes password secret"]))
    }

    /// The parameters to seal under.
    #[must_use]
    pub const fn params(&self) -> Argon2Params {
        self.params
    }

    /// A value that is equal for equal passwords.
    pub(crate) fn commitment(&self) -> Secret<32> {
        key_commitment(self.password.expose())
    }

    /// What it takes to make this instance again: parameters for sealing, the most that is accepted,
    /// and the password.
    pub(crate) fn parts(&self) -> ([Argon2Params; 2], &[u8]) {
        ([self.params, self.ceiling], self.password.expose())
    }

    /// The instance of these [`parts`](Self::parts), where they can be those of one.
    pub(crate) fn from_parts(
        [params, ceiling]: [Argon2Params; 2],
        password: &[u8],
    ) -> Option<Self> {
        let password = Self::new(password).ok()?;
        params.within(ceiling).then_some(Self { params, ceiling, ..password })
    }

    /// This instance's key, and the header by which others find it.
    pub(crate) fn sealing_key(&mut self) -> Result<([u8; HEADER_LEN], &AesKey), AesError> {
        let derived = match self.sealing.take() {
            Some(derived) => derived,
            None => Box::new(Derived::new(&self.password, random::array()?, self.params)?),
        };
        let derived = self.sealing.insert(derived);
        Ok((derived.header(), &derived.key))
    }

    /// The key that a header names. Only one that fits its commitment is given out or remembered.
    pub(crate) fn opening_key(&mut self, header: &[u8; HEADER_LEN]) -> Result<&AesKey, AesError> {
        let (salt, params, commitment) = parse(header)?;
        if !params.within(self.ceiling) {
            return Err(AesError::Argon2Ceiling { asked: params, ceiling: self.ceiling });
        }
        let is_it = |derived: &Derived| derived.salt == salt && derived.params == params;
        let derived = if self.sealing.as_deref().is_some_and(is_it) {
            self.sealing.as_deref()
        } else if let Some(at) = self.opening.iter().position(is_it) {
            let derived = self.opening.remove(at);
            self.opening.insert(0, derived);
            self.opening.first()
        } else {
            let derived = Derived::new(&self.password, salt, params)?;
            if !derived.fits(&commitment) {
                return Err(AesError::Rejected);
            }
            self.opening.truncate(REMEMBERED - 1);
            self.opening.insert(0, derived);
            self.opening.first()
        };
        match derived {
            Some(derived) if derived.fits(&commitment) => Ok(&derived.key),
            _ => Err(AesError::Rejected),
        }
    }
}

/// What one run of Argon2id costs.
///
/// | | least | recommended | accepted by default | most |
/// |---|---|---|---|---|
/// | memory, KiB | 19 456 (19 MiB) | 65 536 (64 MiB) | 262 144 (256 MiB) | 1 048 576 (1 GiB) |
/// | passes | 2 | 3 | 8 | 16 |
/// | lanes | 1 | 1 | 16 | 16 |
///
/// The least is what OWASP asks for (Password Storage Cheat Sheet); nothing below it is ever sealed
/// or opened. The recommended is the second choice of RFC 9106 section 4 with one lane instead of
/// four: this implementation computes lanes one after the other, so that more of them would help
/// only the attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Argon2Params {
    memory_kib: u32,
    passes: u8,
    lanes: u8,
}

impl Argon2Params {
    /// 19 MiB, 2 passes, 1 lane.
    pub const LEAST: Self = Self { memory_kib: 19 << 10, passes: 2, lanes: 1 };
    /// 64 MiB, 3 passes, 1 lane.
    pub const RECOMMENDED: Self = Self { memory_kib: 64 << 10, passes: 3, lanes: 1 };
    /// 1 GiB, 16 passes, 16 lanes.
    pub const MOST: Self = Self { memory_kib: 1 << 20, passes: 16, lanes: 16 };

    /// 256 MiB, 8 passes, 16 lanes: what is accepted where nothing else is said.
    pub const DEFAULT_CEILING: Self = Self { memory_kib: 256 << 10, passes: 8, lanes: 16 };

    /// Memory in KiB, passes over it, and lanes.
    ///
    /// # Errors
    /// [`AesError::Argon2Bounds`] for less than [`LEAST`](Self::LEAST) or more than
    /// [`MOST`](Self::MOST) of any.
    pub const fn new(memory_kib: u32, passes: u8, lanes: u8) -> Result<Self, AesError> {
        let params = Self { memory_kib, passes, lanes };
        if params.within(Self::MOST) && Self::LEAST.within(params) {
            Ok(params)
        } else {
            Err(AesError::Argon2Bounds { memory_kib, passes, lanes })
        }
    }

    /// Memory in KiB.
    #[must_use]
    pub const fn memory_kib(self) -> u32 {
        self.memory_kib
    }

    /// Passes over the memory.
    #[must_use]
    pub const fn passes(self) -> u8 {
        self.passes
    }

    /// Lanes.
    #[must_use]
    pub const fn lanes(self) -> u8 {
        self.lanes
    }

    /// As in a message's header.
    pub(crate) const fn to_bytes(self) -> [u8; PARAMS_LEN] {
        let [a, b, c, d] = self.memory_kib.to_be_bytes();
        [a, b, c, d, self.passes, self.lanes]
    }

    pub(crate) const fn from_bytes(bytes: &[u8; PARAMS_LEN]) -> Result<Self, AesError> {
        let [a, b, c, d, passes, lanes] = *bytes;
        Self::new(u32::from_be_bytes([a, b, c, d]), passes, lanes)
    }

    const fn within(self, other: Self) -> bool {
        self.memory_kib <= other.memory_kib
            && self.passes <= other.passes
            && self.lanes <= other.lanes
    }

    fn max(self, other: Self) -> Self {
        Self {
            memory_kib: self.memory_kib.max(other.memory_kib),
            passes: self.passes.max(other.passes),
            lanes: self.lanes.max(other.lanes),
        }
    }
}

impl Default for Argon2Params {
    fn default() -> Self {
        Self::RECOMMENDED
    }
}

/// What Argon2id made of the password, one salt and one set of parameters.
struct Derived {
    salt: [u8; SALT_LEN],
    params: Argon2Params,
    commitment: [u8; 32],
    key: AesKey,
}

impl Derived {
    fn new(
        password: &SecretBytes,
        salt: [u8; SALT_LEN],
        params: Argon2Params,
    ) -> Result<Self, AesError> {
        let root = root(password, &salt, params)?;
        let key = hkdf_expand(&root, &[b"cascading-cipher/1 aes password key"]);
        let commitment: Secret<32> =
            hkdf_expand(&root, &[b"cascading-cipher/1 aes password commitment"]);
        let commitment = *commitment.expose();
        Ok(Self { salt, params, commitment, key: AesKey::aes256(key) })
    }

    fn header(&self) -> [u8; HEADER_LEN] {
        let mut header = [0; HEADER_LEN];
        header[..16].copy_from_slice(&self.salt);
        header[16..22].copy_from_slice(&self.params.to_bytes());
        header[22..].copy_from_slice(&self.commitment);
        header
    }

    fn fits(&self, commitment: &[u8; 32]) -> bool {
        self.commitment.ct_eq(commitment).into()
    }
}

/// Bytes of a header: salt, parameters and commitment.
pub(crate) const HEADER_LEN: usize = SALT_LEN + PARAMS_LEN + 32;

const PARAMS_LEN: usize = 4 + 1 + 1;
/// Bytes of the salt of Argon2id.
pub const PASSWORD_SALT_LEN: usize = 16;
const SALT_LEN: usize = PASSWORD_SALT_LEN;
/// Nonce and tag.
const MIN_MESSAGE_LEN: usize = 24 + 16;
const ROOM: usize = HEADER_LEN + MIN_MESSAGE_LEN;
/// Keys that are remembered for opening: as many salts as a few devices that restart now and then
/// bring along.
const REMEMBERED: usize = 8;
/// What Argon2id leaves on the stack is within this.
const ARGON2_STACK: usize = 16 << 10;

/// Salt, parameters within the bounds, and commitment.
fn parse(header: &[u8; HEADER_LEN]) -> Result<([u8; SALT_LEN], Argon2Params, [u8; 32]), AesError> {
    let mut salt = [0; SALT_LEN];
    salt.copy_from_slice(&header[..16]);
    let mut params = [0; PARAMS_LEN];
    params.copy_from_slice(&header[16..22]);
    let params = Argon2Params::from_bytes(&params).map_err(|_| AesError::Rejected)?;
    let mut commitment = [0; 32];
    commitment.copy_from_slice(&header[22..]);
    Ok((salt, params, commitment))
}

fn root(
    password: &SecretBytes,
    salt: &[u8; SALT_LEN],
    params: Argon2Params,
) -> Result<Secret<32>, AesError> {
    with_clean_stack::<ARGON2_STACK, _>(|| argon2id(password.expose(), salt, params))
}

fn argon2id(
    password: &[u8],
    salt: &[u8; SALT_LEN],
    params: Argon2Params,
) -> Result<Secret<32>, AesError> {
    let bounds = |_| AesError::Argon2Bounds {
        memory_kib: params.memory_kib,
        passes: params.passes,
        lanes: params.lanes,
    };
    let params = Params::new(params.memory_kib, params.passes.into(), params.lanes.into(), None)
        .map_err(bounds)?;
    // Ours, so that it is wiped, and so that its lack is an error and not the end of the process.
    let mut memory = Vec::<Block>::new();
    memory.try_reserve_exact(params.block_count()).map_err(|_| AesError::OutOfMemory)?;
    memory.resize(params.block_count(), Block::default());
    let mut root = Secret::zeroed();
    let hashed = Argon2::new(Variant::Argon2id, Version::V0x13, params)
        .hash_password_into_with_memory(password, salt, root.expose_mut(), &mut memory[..]);
    memory.zeroize();
    hashed.map_err(bounds)?;
    Ok(root)
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Password")
            .field("params", &self.params)
            .field("ceiling", &self.ceiling)
            .finish_non_exhaustive()
    }
}
