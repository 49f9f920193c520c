//! The tests of groups, with hybrid keys, and one for each half of the keys being broken.

use cc_root_group::group_tests;

use crate::{HybridKeyPair, ParameterSet};

group_tests!(mlkem768, HybridKeyPair, ParameterSet::MlKem768);
group_tests!(mlkem1024, HybridKeyPair, ParameterSet::MlKem1024);
