//! The tests of groups, with Diffie-Hellman keys.

use crate::{Curve, DhKeyPair};

crate::group_tests!(x25519, DhKeyPair, Curve::X25519);
crate::group_tests!(p256, DhKeyPair, Curve::P256);
