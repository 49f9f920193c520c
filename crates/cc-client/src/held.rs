//! Items of a group's log that came before what opens them.

use serde::{Deserialize, Serialize};

use crate::{
    Client, Fate, Fault, GroupId, Item, Ledger, LogId, Now, Position,
    frame::{self, GroupItem},
    records, seat,
};

/// Items of one group that are kept to be opened again.
const MAX_HELD: usize = 256;
/// Bytes of them.
const MAX_HELD_LEN: u64 = 8 << 20;

impl Client {
    /// Keeps an item that is early; past the bound the oldest is given up.
    pub(crate) fn hold(&mut self, group: &GroupId, item: &Item) -> Result<(), Fault> {
        let record = self.state.group_mut(group)?;
        if record.held.iter().any(|(held, _)| *held == item.position) {
            return Ok(());
        }
        let len = u32::try_from(item.bytes.len()).unwrap_or(u32::MAX);
        record.held.push((item.position, len));
        let bytes =
            |held: &[(Position, u32)]| held.iter().map(|(_, len)| u64::from(*len)).sum::<u64>();
        let mut surplus = Vec::new();
        while record.held.len() > MAX_HELD || bytes(&record.held) > MAX_HELD_LEN {
            surplus.push(record.held.remove(0).0);
        }
        let held = HeldItem { commit: item.commit, bytes: item.bytes.clone() };
        self.state.put(&records::held(group), records::key(item.position.0), &held)?;
        for oldest in surplus {
            self.state.delete(&records::held(group), records::key(oldest.0))?;
            self.tell(group, oldest, Fate::TooLate)?;
        }
        Ok(())
    }

    /// Opens again what was early.
    pub(crate) fn retry_held(
        &mut self,
        log: &LogId,
        now: Now,
        ledger: &mut Ledger,
    ) -> Result<(), Fault> {
        let Some(record) = self.state.groups.get(log) else { return Ok(()) };
        for (position, _) in record.held.clone() {
            let scope = records::held(log);
            let held: Option<HeldItem> = self.state.get(&scope, &records::key(position.0))?;
            let fate = match held {
                None => Fate::TooLate,
                Some(HeldItem { commit, bytes }) => match frame::decode(&bytes) {
                    Ok(GroupItem::Sealed(wire)) => {
                        let item = Item { position, commit, bytes: Vec::new() };
                        let opened = seat::open(self.group_seat(log)?, log, wire.as_slice())?;
                        self.take_opened(log, opened, &item, now)?
                    }
                    Err(_) => Fate::Malformed,
                },
            };
            if fate.is_final() {
                self.state.delete(&scope, records::key(position.0))?;
                self.state.group_mut(log)?.held.retain(|(held, _)| *held != position);
                self.tell(log, position, fate)?;
                ledger.fates.push((*log, position, fate));
            }
        }
        Ok(())
    }
}

/// An item that is kept to be opened again.
#[derive(Serialize, Deserialize)]
struct HeldItem {
    commit: bool,
    bytes: Vec<u8>,
}
