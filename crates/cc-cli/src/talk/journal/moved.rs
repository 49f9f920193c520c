//! The journal of a profile that was moved to another device by an export.

use cc_client::{Client, EventId, Fault};

use super::{AppRecord, Draft, MessageState, What, entry, entry_key, last, put, sent_key};

/// Why a message that waited when the profile was exported does not go from here.
const MOVED: &str = "it waited on the device that this profile was exported from";

/// An export has nothing with which a message is sent: what waited says so from now on, instead of waiting for ever.
pub(crate) fn moved(client: &mut Client) -> Result<(), Fault> {
    let mut draft = Draft::default();
    for number in 1..=last(client)? {
        let Some(mut entry) = entry(client, number)? else { continue };
        if let What::Message(message) = &mut entry.what
            && message.state == MessageState::Waiting
        {
            message.state = MessageState::Refused(MOVED.to_owned());
            draft.records.push(AppRecord { key: sent_key(&message.id), value: None });
            draft.records.push(put(entry_key(number), &entry)?);
        }
    }
    client.acknowledge(EventId(0), &draft.records()?)
}
