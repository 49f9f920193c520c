//! From when to when key packages may be used (RFC 9420 sections 7.2 and 10.1).
//!
//! openmls compares the lifetime of an added leaf with the clock of everyone who follows, however late. In stacks
//! it is therefore without end, and the validity of a key package stands in the extension that binds it, for who
//! adds by it.

use openmls::prelude::{KeyPackage, Lifetime};

use crate::{MlsConfig, config::HOUR};

/// From when to when a key package may be used to add its owner, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

impl Validity {
    /// What the leaf of a key package says.
    pub(crate) fn of_leaf(key_package: &KeyPackage) -> Self {
        let lifetime = key_package.life_time();
        Self { not_before: lifetime.not_before(), not_after: lifetime.not_after() }
    }
}

impl MlsConfig {
    /// The validity of a key package made at `now`.
    pub(crate) const fn validity(&self, now: u64) -> Validity {
        let skew = if self.plain_peers() { HOUR } else { 24 * HOUR };
        Validity {
            not_before: now.saturating_sub(skew),
            not_after: now.saturating_add(self.key_package_lifetime),
        }
    }

    /// Whether a key package of this validity may be added at `now`.
    pub(crate) const fn accepts(&self, validity: Validity, now: u64) -> bool {
        let Validity { not_before, not_after } = validity;
        not_before <= now
            && now < not_after
            && not_after - now >= self.min_remaining_lifetime
            && not_after - not_before <= self.max_lifetime
    }

    /// The lifetime of a leaf made at `now`. Members with other libraries look for the validity there.
    pub(crate) fn lifetime(&self, now: u64) -> Lifetime {
        if !self.plain_peers() {
            return unbounded();
        }
        let Validity { not_before, not_after } = self.validity(now);
        Lifetime::init(not_before, not_after)
    }

    /// Whether the lifetime of an added leaf lets everyone follow the change, whatever their clock says. Of
    /// plain peers it does not.
    pub(crate) fn accepts_lifetime(&self, key_package: &KeyPackage) -> bool {
        self.plain_peers() || *key_package.life_time() == unbounded()
    }
}

/// The lifetime of every leaf in a stack.
fn unbounded() -> Lifetime {
    Lifetime::init(0, u64::MAX)
}
