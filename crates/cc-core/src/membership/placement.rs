//! A group layer takes its place in a stack.

use crate::{Attachment, LayerError, MemberId, Standing};

/// What attaching a group layer comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Who this member is from now on.
    pub member: MemberId,
    /// Whether the layer founds a group of this member alone.
    pub founds: bool,
}

impl Placement {
    /// What becomes of a layer at `place` that knew its member as `known` and is in a group of `members`
    /// members (0 outside). A second call for the same place founds nothing.
    ///
    /// # Errors
    /// [`Misuse`](crate::LayerErrorKind::Misuse) without a member id, and for a new id where other
    /// members know the old one.
    pub fn new(
        place: &Attachment,
        known: Option<MemberId>,
        standing: Standing,
        members: usize,
    ) -> Result<Self, LayerError> {
        let member =
            place.member.ok_or_else(|| LayerError::misuse("a group layer needs a member id"))?;
        let renamed = known.is_some_and(|known| known != member);
        let founds = match standing {
            Standing::Outside => place.founding,
            Standing::Member { .. } if renamed && members > 1 => {
                return Err(LayerError::misuse(
                    "the other members know this one by another id: found a new group, or leave \
                     the group layers of the stack as they are",
                ));
            }
            // Alone in the group, and under a new id: as good as a new group.
            Standing::Member { .. } => renamed,
            Standing::Removed => false,
        };
        Ok(Self { member, founds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LayerErrorKind, StackId};

    #[test]
    fn a_group_is_founded_once_and_only_who_is_alone_is_renamed() {
        let [one, two] = [1, 2].map(|byte| MemberId::from_bytes([byte; 32]));
        let member = Standing::Member { epoch: 7 };
        for (known, standing, members, founding, founds) in [
            (None, Standing::Outside, 0, true, Some(true)),
            (None, Standing::Outside, 0, false, Some(false)),
            (Some(one), Standing::Outside, 0, true, Some(true)),
            (Some(one), member, 3, true, Some(false)),
            (Some(two), member, 1, false, Some(true)),
            (Some(two), member, 2, false, None),
            (Some(two), Standing::Removed, 0, true, Some(false)),
        ] {
            let stack = StackId::of(&[]);
            let place = Attachment { stack, position: 0, member: Some(one), founding };
            let placement = Placement::new(&place, known, standing, members);
            assert_eq!(placement.ok().map(|it| (it.member, it.founds)), founds.map(|it| (one, it)));
            let nobody = Attachment { member: None, ..place };
            let error = Placement::new(&nobody, known, standing, members).unwrap_err();
            assert_eq!(error.kind(), LayerErrorKind::Misuse);
        }
    }
}
