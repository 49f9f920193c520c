//! Entries of the journal as JSON, and as lines for people.

use cc_client::{Body, GroupId, JoinLapse, MessageRef, Snapshot};
use cc_core::MemberId;
use serde_json::{Map, Value, json};

use super::{
    journal::{Entry, Forwarded, Gone, LayerLine, Message, MessageState, Unreadable, What, Who},
    session::content,
};
use crate::untrusted_text::{called, harmless};

/// Members that one line names.
const INTRODUCED: usize = 8;

/// What a group is called; its id where that is not known.
pub(crate) fn title(snapshot: &Snapshot, group: &GroupId) -> String {
    let known = snapshot.groups.get(group).map(|group| group.title.clone());
    known.filter(|title| !title.is_empty()).unwrap_or_else(|| group.to_string())
}

/// An entry as a JSON object.
pub(crate) fn json(snapshot: &Snapshot, entry: &Entry) -> Value {
    let (kind, fields) = kind(entry);
    let mut object = Map::new();
    object.insert("number".into(), entry.number.into());
    object.insert("at".into(), entry.at.into());
    object.insert("kind".into(), kind.into());
    if let Some(group) = &entry.group {
        object.insert("group".into(), group.to_string().into());
        object.insert("title".into(), title(snapshot, group).into());
    }
    if let Value::Object(fields) = fields {
        object.extend(fields);
    }
    Value::Object(object)
}

fn kind(entry: &Entry) -> (&'static str, Value) {
    match &entry.what {
        What::Message(message) => ("message", message_json(message)),
        What::Entered { title } => ("entered", json!({ "name": title })),
        What::Joined { who } => ("joined", json!({ "who": who_json(who) })),
        What::Left { who, myself } => ("left", json!({ "who": who_json(who), "myself": myself })),
        What::KeysChanged { who } => ("keys-renewed", json!({ "who": who.as_ref().map(who_json) })),
        What::Unreadable { position, why } => {
            ("unreadable", json!({ "position": position.0, "why": unreadable(*why).0 }))
        }
        What::Missed { from, to } => ("missed", json!({ "after": from.0, "through": to.0 })),
        What::Diverged => ("diverged", json!({})),
        What::Stranded => ("stranded", json!({})),
        What::Repaired { from, to } => ("repaired", json!({ "after": from.0, "through": to.0 })),
        What::Refused { operation, why } => {
            ("refused", json!({ "operation": operation.to_string(), "why": why }))
        }
        What::Linked { person, name } => {
            ("linked", json!({ "person": person.to_string(), "name": name }))
        }
        What::TrustChanged { person, from, to } => (
            "trust-changed",
            json!({
                "person": person.to_string(),
                "from": format!("{from:?}").to_lowercase(),
                "to": format!("{to:?}").to_lowercase(),
            }),
        ),
        What::DeviceAdded { person, device } => {
            ("device-added", json!({ "person": person.to_string(), "who": who_json(device) }))
        }
        What::DeviceRevoked { person, device } => {
            ("device-revoked", json!({ "person": person.to_string(), "who": who_json(device) }))
        }
        What::ConflictingClaims { device, people } => (
            "conflicting-claims",
            json!({ "who": who_json(device), "people": people.map(|id| id.to_string()) }),
        ),
        What::Other { description } => ("other", json!({ "description": description })),
        What::RolledBack { from, to } => ("rolled-back", json!({ "from": from.0, "to": to.0 })),
        What::OwnKeysReplaced { conflicting } => {
            ("own-keys-replaced", json!({ "conflicting": conflicting }))
        }
        What::NotDelivered { why } => ("not-delivered", json!({ "why": why })),
        What::JoinRequested { request, who, message } => (
            "join-requested",
            json!({ "request": request.to_string(), "who": who_json(who), "message": message }),
        ),
        What::JoinDeclined { request } => {
            ("join-declined", json!({ "request": request.to_string() }))
        }
        What::JoinLapsed { request, why } => {
            ("join-lapsed", json!({ "request": request.to_string(), "why": lapse(*why).0 }))
        }
        What::JoinWithdrawn { request, who, let_in } => (
            "join-withdrawn",
            json!({ "request": request.to_string(), "who": who_json(who), "let_in": let_in }),
        ),
        What::JoinAnswered { request, who, accepted } => (
            "join-answered",
            json!({ "request": request.to_string(), "who": who_json(who), "accepted": accepted }),
        ),
        What::JoinLinkFull { link } => ("join-link-full", json!({ "link": link.to_string() })),
        What::Forwarded(forwarded) => ("forwarded", forwarded_json(forwarded)),
        What::Introduced { members } => {
            let members: Vec<_> = members.iter().map(who_json).collect();
            ("introduced", json!({ "members": members }))
        }
        What::Renamed { person, from, to } => {
            ("renamed", json!({ "person": person.to_string(), "from": from, "to": to }))
        }
    }
}

fn message_json(message: &Message) -> Value {
    let (state, position, why) = match &message.state {
        MessageState::Waiting => ("waiting", None, None),
        MessageState::Sent(position) => ("sent", Some(position.0), None),
        MessageState::Refused(why) => ("refused", None, Some(why)),
    };
    let mut object = json!({
        "from": who_json(&message.from),
        "mine": message.mine,
        "message": message.id.to_string(),
        "state": state,
        "position": position,
    });
    let Value::Object(fields) = &mut object else { return object };
    if let Some(why) = why {
        fields.insert("why".into(), why.as_str().into());
    }
    add_gone(fields, message.gone);
    add_content(fields, &message.content);
    object
}

fn add_gone(fields: &mut Map<String, Value>, gone: Option<Gone>) {
    let gone = match gone {
        Some(Gone::Deleted) => "deleted",
        Some(Gone::Edited) => "edited",
        Some(Gone::Expired) => "expired",
        None => return,
    };
    fields.insert("gone".into(), gone.into());
}

/// What was passed on: `by` says so, and `claimed_from` is who is said to have written it.
fn forwarded_json(forwarded: &Forwarded) -> Value {
    let (author, name) = &forwarded.author;
    let mut object = json!({
        "by": who_json(&forwarded.by),
        "claimed_from": { "device": MemberId::from_bytes(*author).to_string(), "name": name },
        "claimed_at": forwarded.written,
        "message": forwarded.id.to_string(),
    });
    if let Value::Object(fields) = &mut object {
        add_gone(fields, forwarded.gone);
        add_content(fields, &forwarded.content);
    }
    object
}

fn add_content(fields: &mut Map<String, Value>, bytes: &[u8]) {
    let Some(content) = content(bytes) else {
        fields.insert("content".into(), "unsupported".into());
        return;
    };
    let about = |on: &MessageRef| json!({ "message": on.message.to_string() });
    let (kind, text, more) = match &content.body {
        Body::Text(text) => ("text", Some(text), Value::Null),
        Body::Edit { of, text } => ("edit", Some(text), about(of)),
        Body::Deletion { of } => ("deletion", None, about(of)),
        Body::Reaction { to, reaction, withdrawn } => {
            fields.insert("withdrawn".into(), (*withdrawn).into());
            ("reaction", Some(reaction), about(to))
        }
        Body::Reply { to, text } => ("reply", Some(text), about(to)),
        Body::Attachment { attachment, text } => {
            let file = json!({
                "name": attachment.name(),
                "media_type": attachment.media_type(),
                "length": attachment.length(),
            });
            fields.insert("attachment".into(), file);
            ("attachment", Some(text), Value::Null)
        }
        Body::Custom { name, .. } => ("custom", Some(name), Value::Null),
        _ => ("unsupported", None, Value::Null),
    };
    fields.insert("content".into(), kind.into());
    if let Some(text) = text {
        fields.insert("text".into(), text.as_str().into());
    }
    if !more.is_null() {
        fields.insert("about".into(), more);
    }
}

fn who_json(who: &Who) -> Value {
    json!({
        "name": who.name,
        "device": who.member().to_string(),
        "person": who.person.map(|id| id.to_string()),
    })
}

/// An entry as a line for people.
pub(crate) fn line(snapshot: &Snapshot, entry: &Entry) -> String {
    let text = text(entry);
    match &entry.group {
        Some(group) => {
            format!("#{} [{}] {text}", entry.number, called(&title(snapshot, group)))
        }
        None => format!("#{} {text}", entry.number),
    }
}

/// What an entry says, without its number and its group.
pub(crate) fn text(entry: &Entry) -> String {
    text_of(&entry.what)
}

pub(crate) fn text_of(what: &What) -> String {
    let name = |who: &Who| called(&who.name);
    match what {
        What::Message(message) => {
            let state = match &message.state {
                MessageState::Waiting => "  (waiting)".to_owned(),
                MessageState::Sent(_) => String::new(),
                MessageState::Refused(why) => format!("  (not sent: {why})"),
            };
            format!("{}: {}{state}", name(&message.from), message_text(message))
        }
        What::Forwarded(Forwarded { by, author: (_, author), content, gone, .. }) => format!(
            "{} passes on, as written by {}: {}",
            name(by),
            called(author),
            gone_text(*gone).map_or_else(|| content_text(content), str::to_owned)
        ),
        What::Entered { title } => format!("you are in {}", harmless(title)),
        What::Joined { who } if who.is_introduced() => format!("{} is here now", name(who)),
        What::Joined { who } => format!("a new member ({}) is here now", name(who)),
        What::Introduced { members } => introduced(members),
        What::Renamed { from, to, .. } => {
            format!("{} is called {} from now on", called(from), called(to))
        }
        What::Left { myself: true, .. } => "you are not a member any more".to_owned(),
        What::Left { who, .. } => format!("{} is not here any more", name(who)),
        What::KeysChanged { who: Some(who) } => format!("{} has renewed its keys", name(who)),
        What::KeysChanged { who: None } => "a member has renewed its keys".to_owned(),
        What::Unreadable { position, why } => {
            format!("item {} of the log: {}", position.0, unreadable(*why).1)
        }
        What::Missed { from, to } => {
            format!("the relay no longer has items {} to {}", from.next().0, to.0)
        }
        What::Diverged => "out of step with the group; asked to be added anew".to_owned(),
        What::Stranded => {
            "still out of step: somebody in the group should remove this device and invite it again"
                .to_owned()
        }
        What::Repaired { .. } => "in step again; what was sent in between is lost".to_owned(),
        What::Refused { why, .. } => format!("refused: {why}"),
        What::Linked { name, .. } => format!("this is a device of {} now", harmless(name)),
        What::TrustChanged { person, to, .. } => {
            format!("person {person} is now {}", format!("{to:?}").to_lowercase())
        }
        What::DeviceAdded { device, .. } => format!("{} has one more device", name(device)),
        What::DeviceRevoked { device, .. } => format!("{} has given up a device", name(device)),
        What::ConflictingClaims { device, .. } => {
            format!("the device of {} says that it is of two persons", name(device))
        }
        What::Other { description } => harmless(description),
        What::RolledBack { .. } => {
            "the relay has lost what was read already: it was put back to an \
                                    old copy, or shows another log"
                .to_owned()
        }
        What::OwnKeysReplaced { conflicting: false } => {
            "your key was replaced on another device; if that was not you, it was stolen".to_owned()
        }
        What::OwnKeysReplaced { conflicting: true } => {
            "your key was replaced twice: one of the two was a thief".to_owned()
        }
        What::NotDelivered { why } => format!("an invitation was not delivered: {}", harmless(why)),
        What::JoinRequested { who, message, .. } if message.is_empty() => {
            format!("{} asks to join", name(who))
        }
        What::JoinRequested { who, message, .. } => {
            format!("{} asks to join: {}", name(who), harmless(message))
        }
        What::JoinDeclined { .. } => "a request to join a group was declined".to_owned(),
        What::JoinLapsed { why, .. } => lapse(*why).1.to_owned(),
        What::JoinWithdrawn { who, let_in: false, .. } => {
            format!("{} does not ask to join any more", name(who))
        }
        What::JoinWithdrawn { who, .. } => {
            format!("{} has asked to join, and does not want to any more: it is removed", name(who))
        }
        What::JoinAnswered { who, accepted: true, .. } => {
            format!("another device of yours lets {} in", name(who))
        }
        What::JoinAnswered { who, .. } => {
            format!("another device of yours has declined {}", name(who))
        }
        What::JoinLinkFull { .. } => {
            "more ask to join by a link than it takes; further ones are turned away".to_owned()
        }
    }
}

/// Who has said who it is, in a line.
fn introduced(members: &[Who]) -> String {
    let short = |who: &Who| who.member().to_string().chars().take(8).collect::<String>();
    let name = |who: &Who| format!("{} ({})", called(&who.name), short(who));
    let names: Vec<_> = members.iter().take(INTRODUCED).map(name).collect();
    let names = names.join(", ");
    match members.len().saturating_sub(INTRODUCED) {
        0 => format!("members say who they are: {names}"),
        more => format!("members say who they are: {names} and {more} more"),
    }
}

fn message_text(message: &Message) -> String {
    gone_text(message.gone).map_or_else(|| content_text(&message.content), str::to_owned)
}

const fn gone_text(gone: Option<Gone>) -> Option<&'static str> {
    match gone {
        Some(Gone::Deleted) => Some("(deleted)"),
        Some(Gone::Edited) => Some("(edited: the text is in a later message)"),
        Some(Gone::Expired) => Some("(disappeared)"),
        None => None,
    }
}

fn content_text(bytes: &[u8]) -> String {
    let Some(content) = content(bytes) else {
        return "(of a kind that this program does not know)".to_owned();
    };
    match &content.body {
        Body::Text(text) | Body::Reply { text, .. } => harmless(text),
        Body::Edit { text, .. } => format!("(instead of an earlier message) {}", harmless(text)),
        Body::Deletion { .. } => "(deletes an earlier message)".to_owned(),
        Body::Reaction { reaction, withdrawn: false, .. } => harmless(reaction),
        Body::Reaction { reaction, .. } => format!("(takes back {})", harmless(reaction)),
        Body::Attachment { attachment, text } => {
            let (name, length) = (harmless(attachment.name()), attachment.length());
            format!(
                "{}{}(file {name}, {length} bytes)",
                harmless(text),
                if text.is_empty() { "" } else { " " }
            )
        }
        Body::Custom { name, .. } => format!("({})", harmless(name)),
        _ => "(of a kind that this program does not know)".to_owned(),
    }
}

/// For programs, and for people.
const fn lapse(why: JoinLapse) -> (&'static str, &'static str) {
    match why {
        JoinLapse::Expired => {
            ("expired", "nobody answered a request to join in time; ask again, by a new link")
        }
        JoinLapse::NotPossible => (
            "not-possible",
            "a request to join was accepted, and could not be carried out any more; ask again",
        ),
        JoinLapse::MemberAlready => {
            ("member-already", "a request to join is over: you are in that group already")
        }
        _ => ("other", "nothing comes of a request to join"),
    }
}

/// For programs, and for people.
const fn unreadable(why: Unreadable) -> (&'static str, &'static str) {
    match why {
        Unreadable::TooLate => ("too-late", "it came too late, its keys are gone"),
        Unreadable::Unsupported => ("unsupported", "it needs a newer version of this program"),
        Unreadable::Forged => {
            ("forged", "REFUSED: it was changed or made by somebody who is no member")
        }
        Unreadable::OrphanWelcome => ("orphan-welcome", "an invitation for keys that are not here"),
        Unreadable::Other => ("other", "it cannot be read"),
        Unreadable::Unconfirmed => {
            ("unconfirmed", "REFUSED: an invitation to a group that its log does not know")
        }
        Unreadable::Misaddressed => {
            ("misaddressed", "REFUSED: an invitation to an address that is not its group's")
        }
    }
}

/// The layers of a message, from the text to the wire.
pub(crate) fn layers(layers: &[LayerLine]) -> Vec<String> {
    let line = |(position, layer): (usize, &LayerLine)| {
        let time = layer.microseconds.map_or(String::new(), |time| format!("{time:>8} us"));
        let LayerLine { name, version, bytes_in, bytes_out, .. } = layer;
        format!(
            "{position}  {name:<8} version {version}  {bytes_in:>8} -> {bytes_out:>8} bytes{time}"
        )
    };
    layers.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use cc_client::{Content, OperationId, Position};

    use super::*;

    #[test]
    fn what_a_relay_does_is_told_in_words_and_without_control_characters() {
        let told = |what: What| {
            let entry = Entry { number: 1, at: 0, group: None, what };
            (kind(&entry).0, text(&entry))
        };
        let (kind, text) = told(What::NotDelivered { why: "full\u{1b}[2J".to_owned() });
        assert_eq!(kind, "not-delivered");
        assert!(text.starts_with("an invitation was not delivered: full"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let (kind, text) = told(What::RolledBack { from: Position(7), to: Position(3) });
        assert!(kind == "rolled-back" && text.contains("an old copy"), "{text}");
        let who = |name: &str| Who { device: [7; 32], person: None, name: name.to_owned() };
        let person = Some(cc_client::PersonId::from_bytes([1; 32]));
        let members = vec![who("Bob\u{1b}[2J"); 10];
        let (kind, text) = told(What::Introduced { members });
        assert_eq!(kind, "introduced");
        assert!(text.contains("(07070707)") && text.ends_with("and 2 more"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        let (author, id) =
            (([8; 32], "Alice\u{1b}[2J".to_owned()), OperationId::from_bytes([1; 16]));
        let content = Content::text("hello").encode().unwrap();
        let forwarded = Forwarded { by: who("Bob"), author, id, written: 0, content, gone: None };
        let (kind, text) = told(What::Forwarded(forwarded));
        assert_eq!(kind, "forwarded");
        assert!(text.starts_with("Bob passes on, as written by \"Alice"), "{text}");
        assert!(text.ends_with(": hello") && !text.contains('\u{1b}'), "{text}");
        // A name that looks like the beginning of what another says is shown as a name.
        for name in ["Alice: yes", "Bob passes on, as written by Alice", "", " Alice", "#7 [x] A"] {
            let (_, text) = told(What::Joined { who: Who { person, ..who(name) } });
            assert!(text.starts_with('"') && text.ends_with("\" is here now"), "{text}");
        }
        let (_, text) = told(What::Joined { who: Who { person, ..who("O'Neil Jr.") } });
        assert_eq!(text, "O'Neil Jr. is here now");
        let (kind, text) = told(What::Joined { who: who("07070707") });
        assert!(kind == "joined" && text == "a new member (07070707) is here now", "{text}");
        for (conflicting, word) in [(false, "stolen"), (true, "thief")] {
            let (kind, text) = told(What::OwnKeysReplaced { conflicting });
            assert!(kind == "own-keys-replaced" && text.contains(word), "{text}");
        }
        let (kind, text) =
            told(What::Unreadable { position: Position(2), why: Unreadable::Unconfirmed });
        assert!(kind == "unreadable" && text.contains("REFUSED"), "{text}");
    }
}
