//! What happens, in order, and what must come of it.

use std::{fs, path::Path};

use cc_client::{Call, Failure, Refusal, Reply, Request, RequestId};
use cc_relay::HttpService;
use serde_json::Value;

use super::{RelayProcess, Teller, demo, member::Member, wire::Wire};
use crate::{error::CliError, talk::error::TalkError};

const GROUP: &str = "Garden";
const ALICE: &str = "Alice";
const CAROL: &str = "Carol";
/// Names that are looked for. Three letters are in any megabyte by chance.
const NAMES: [&str; 2] = [ALICE, CAROL];
const FIRST: &str = "The tomatoes are planted";
const ANSWER: &str = "I water them on Friday";
const LATE: &str = "Welcome to the garden, Carol";
const BEFORE_KILL: &str = "Carol reads this one";
const WHILE_DEAD: [&str; 3] =
    ["Carol was killed a moment ago", "nobody told her of this", "nor of this"];
const CHANGED: &str = "The key is under the third pot";
const SECRET: &str = "The key is now somewhere else";

pub(super) fn tell(
    program: &Path,
    folder: &Path,
    relay: &RelayProcess,
    wire: &Wire,
    teller: &mut Teller,
) -> Result<(), CliError> {
    let address = format!("http://{}", wire.address());
    let url = format!("http://{}", relay.address).parse().map_err(|error| demo(&error))?;
    teller.chapter("A group")?;
    teller.say("a relay listens on this machine; it has no accounts")?;
    let member = |name| Member::new(name, program, folder, &address);
    let [alice, bob, carol] = [member(ALICE)?, member("Bob")?, member(CAROL)?];
    teller.say("Alice, Bob and Carol each make keys, in a profile and processes of their own")?;
    alice.run(&["found", GROUP])?;
    alice.run(&["invite", GROUP, &bob.link()?])?;
    check(has(&bob.run(&["receive"])?, "entered"), "Bob is in the group")?;
    teller.say(format_args!("Alice founds {GROUP:?}, and invites Bob by his link"))?;
    alice.run(&["send", GROUP, FIRST])?;
    teller.say(format_args!("Alice: {FIRST}"))?;
    check(texts(&bob.run(&["receive"])?) == [FIRST], "Bob reads what Alice wrote")?;
    bob.run(&["send", GROUP, ANSWER])?;
    check(texts(&alice.run(&["receive"])?) == [ANSWER], "Alice reads what Bob answered")?;
    teller.say(format_args!("Bob:   {ANSWER}"))?;
    let number = |member: &Member, of: &str| {
        let members = member.run(&["members", GROUP])?;
        let found = members.iter().find(|member| member["name"] == of);
        let number = found.and_then(|member| member["safety_number"].as_str());
        number.map(str::to_owned).ok_or_else(|| failed("both have a safety number"))
    };
    let theirs = number(&alice, "Bob")?;
    check(theirs == number(&bob, "Alice")?, "Alice and Bob have one safety number")?;
    alice.run(&["verify", "Bob", &theirs])?;
    teller.say("they compare their safety number, and Alice marks Bob as verified:")?;
    teller.say(format_args!("       {theirs}"))?;

    teller.chapter("A late joiner")?;
    let link = alice.run(&["link", GROUP])?;
    let link = link.first().and_then(|line| line["link"].as_str());
    let link = link.ok_or_else(|| failed("a group has a link"))?;
    carol.run(&["join", link, "--message", "it is me, from next door"])?;
    let asking = alice.run(&["requests"])?;
    let shown = asking.first().and_then(|request| request["safety_number"].as_str());
    let shown = shown.map(str::to_owned).ok_or_else(|| failed("Alice sees who asks"))?;
    check(!has(&carol.run(&["receive"])?, "entered"), "who asks is not in the group")?;
    teller.say(
        "Carol asks to join by a link of Alice's, who sees her name and the number to compare:",
    )?;
    teller.say(format_args!("       {shown}"))?;
    alice.run(&["accept", "Carol"])?;
    let seen = carol.run(&["receive"])?;
    check(has(&seen, "entered"), "Carol is in the group")?;
    check(shown == number(&carol, "Alice")?, "the number that was shown is Carol's")?;
    alice.run(&["send", GROUP, LATE])?;
    teller.say("Alice lets her in")?;
    teller.say(format_args!("Alice: {LATE}"))?;
    let seen = texts(&carol.run(&["receive"])?);
    check(seen == [LATE], "Carol reads what came after her, and nothing older")?;
    teller.say("Carol reads that, and nothing of what was said before she came")?;
    let seen = bob.run(&["receive"])?;
    check(has(&seen, "joined") && texts(&seen) == [LATE], "Bob is told that Carol came")?;

    teller.chapter("A member that is killed")?;
    let mut follower = carol.follow()?;
    alice.run(&["send", GROUP, BEFORE_KILL])?;
    while follower.next()?["text"] != BEFORE_KILL {}
    follower.kill()?;
    teller.say(format_args!("Alice: {BEFORE_KILL}"))?;
    teller.say("Carol has read it, and her process is killed (SIGKILL)")?;
    for (at, text) in WHILE_DEAD.iter().enumerate() {
        let (member, name) = if at % 2 == 0 { (&bob, "Bob:  ") } else { (&alice, "Alice:") };
        member.run(&["send", GROUP, text])?;
        teller.say(format_args!("{name} {text}"))?;
    }
    let printed = texts(&carol.run(&["receive"])?);
    let again = printed.strip_prefix(&[BEFORE_KILL.to_owned()]).unwrap_or(&printed);
    check(again == WHILE_DEAD, "Carol reads everything that she missed")?;
    let kept = texts(&carol.run(&["history", GROUP])?);
    let all: Vec<&str> = [LATE, BEFORE_KILL].into_iter().chain(WHILE_DEAD).collect();
    check(kept == all, "Carol has every message once")?;
    teller.say("Carol is back: she has every message, each once, in the same order")?;

    teller.chapter("A message that is changed on the wire")?;
    wire.change_next_message();
    alice.run(&["send", GROUP, CHANGED])?;
    check(wire.changed() == 1, "one bit of one message was changed on its way")?;
    teller.say(format_args!("Alice: {CHANGED}"))?;
    teller.say("one bit of it is flipped on its way, behind Alice's back")?;
    for member in [&bob, &carol] {
        let seen = member.run(&["receive"])?;
        let forged = seen.iter().any(|entry| entry["why"] == "forged");
        check(forged, "the changed message is refused, and told")?;
        check(texts(&seen).iter().any(|text| text == CHANGED), "the message itself arrives")?;
        teller.say(format_args!(
            "{}: the changed one is refused, and the message arrives all the same",
            member.name
        ))?;
    }
    teller.say("Alice's program saw that the log had something else, and sent hers again")?;

    teller.chapter("A removal")?;
    let old_key = wire.seen().last_read.ok_or_else(|| failed("the group is read"))?;
    alice.run(&["remove", GROUP, "Bob"])?;
    teller.say("Alice removes Bob")?;
    alice.run(&["send", GROUP, SECRET])?;
    teller.say(format_args!("Alice: {SECRET}"))?;
    let seen = carol.run(&["receive"])?;
    check(texts(&seen) == [SECRET] && has(&seen, "left"), "Carol reads on")?;
    let seen = bob.run(&["receive"])?;
    let told = seen.iter().any(|entry| entry["kind"] == "left" && entry["myself"] == true);
    check(told && texts(&seen).is_empty(), "Bob is told, and reads nothing")?;
    check(bob.run(&["send", GROUP, "hello?"]).is_err(), "Bob sends nothing")?;
    teller
        .say("Carol reads it. Bob is told that he is out; he reads and sends nothing any more")?;
    let id = RequestId::random().map_err(|error| demo(&error))?;
    let answer = HttpService::new(&url).perform(&Request { id, call: Call::Read(old_key) });
    let refused = match &answer {
        Ok(Reply::Page(page)) => page.items.last().is_none_or(|last| last.commit),
        Err(Failure::Refused(Refusal::Denied)) => true,
        _ => false,
    };
    check(refused, "the relay gives nothing of the new epoch for an old token")?;
    teller.say("asked with the token that Bob had, the relay gives nothing behind his removal")?;

    teller.chapter("What the relay saw")?;
    let seen = wire.seen();
    teller.say(format_args!(
        "{} appends of {} bytes ({} of them changes of membership or keys), {} reads",
        seen.appends.0, seen.appends.1, seen.commits, seen.reads
    ))?;
    teller.say(format_args!(
        "{} key packages, {} of them handed out; {} random addresses, as {}...",
        seen.key_packages,
        seen.claims,
        seen.logs.len(),
        seen.logs
            .first()
            .map(|log| log.to_string().chars().take(16).collect::<String>())
            .unwrap_or_default()
    ))?;
    let said = [FIRST, ANSWER, LATE, BEFORE_KILL, CHANGED, SECRET, GROUP].into_iter();
    let said: Vec<_> = said.chain(WHILE_DEAD).chain(NAMES).collect();
    let stored = stored(&relay.store)?;
    for text in &said {
        let text = text.as_bytes();
        check(
            !contains(&seen.bytes, text),
            "no text, and no name of a group or member, was on the wire",
        )?;
        check(
            !contains(&stored, text),
            "no text, and no name of a group or member, is in the relay's file",
        )?;
    }
    teller.say(format_args!(
        "looked for {} texts, the names of the group and its members too, in {} bytes of traffic and {} bytes on the relay's disk:",
        said.len(),
        seen.bytes.len(),
        stored.len()
    ))?;
    teller.say("none is there")?;
    teller.chapter("Everything was as told.")
}

/// The files of the relay's database.
fn stored(path: &Path) -> Result<Vec<u8>, TalkError> {
    let mut bytes = fs::read(path).map_err(|error| demo(&error))?;
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    if let Ok(log) = fs::read(log) {
        bytes.extend_from_slice(&log);
    }
    Ok(bytes)
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

fn has(entries: &[Value], kind: &str) -> bool {
    entries.iter().any(|entry| entry["kind"] == kind)
}

/// The texts of messages, in their order.
fn texts(entries: &[Value]) -> Vec<String> {
    let messages = entries.iter().filter(|entry| entry["kind"] == "message");
    messages.filter_map(|entry| entry["text"].as_str()).map(str::to_owned).collect()
}

fn check(holds: bool, what: &str) -> Result<(), TalkError> {
    if holds { Ok(()) } else { Err(failed(what)) }
}

fn failed(what: &str) -> TalkError {
    TalkError::Demo(format!("it does not hold that {what}"))
}
