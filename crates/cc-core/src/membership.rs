//! What the group modes of different layers have in common: taking a place in a stack, which changes can
//! be made, the present epoch and the past ones, a change that is staged, and a state with copies to go
//! back to. What an epoch consists of is the layer's own matter: see [`Epoch`].

mod change;
mod past;
mod placement;
mod state;
mod versions;

pub use change::{ChangeError, check_change};
pub use past::PastEpochs;
pub use placement::Placement;
pub use state::{Epoch, GroupState, Keys, PendingChange, Phase};
pub use versions::Versions;
