//! Conversations by script: the real program, and a relay in a process of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use crate::common::{self, talk as people};

use std::{
    collections::BTreeSet,
    fs,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use common::{Folder, program, text};
use people::{Person, Relay, lines, texts};

#[test]
fn a_conversation_by_script() {
    let relay = Relay::start();
    let [alice, bob, carol] = ["Alice", "Bob", "Carol"].map(|name| Person::new(name, &relay));
    alice.found("Friends", &[&bob]);

    alice.run(&["send", "Friends", "from an argument"]);
    let sent = alice.run_with(&["send", "Friends", "-"], "from a pipe\nin two lines\n");
    assert_eq!(sent[0]["state"], "sent");
    alice.run_with(&["send", "Friends", "--lines"], "one\n\ntwo\n");
    let expected = ["from an argument", "from a pipe\nin two lines", "one", "two"];
    assert_eq!(bob.receive(), expected);
    assert!(bob.receive().is_empty(), "printed once");
    assert_eq!(bob.history("Friends"), expected);
    assert_eq!(alice.history("Friends"), expected);

    // A late joiner reads what comes, and nothing older.
    bob.run(&["invite", "Friends", &carol.link()]);
    let entered = carol.run(&["receive"]);
    assert!(entered.iter().any(|entry| entry["kind"] == "entered"));
    bob.run(&["send", "Friends", "hello Carol"]);
    assert_eq!(carol.receive(), ["hello Carol"]);
    assert_eq!(alice.receive(), ["hello Carol"]);
    assert_eq!(carol.run(&["members", "Friends"]).len(), 3);

    // A removal in mid-conversation.
    bob.run(&["send", "Friends", "before"]);
    alice.run(&["remove", "Friends", "Bob"]);
    alice.run(&["send", "Friends", "without Bob"]);
    assert_eq!(carol.receive(), ["before", "without Bob"]);
    let seen = bob.run(&["receive"]);
    let removed = |entry: &serde_json::Value| entry["kind"] == "left" && entry["myself"] == true;
    assert!(seen.iter().any(removed), "{seen:?}");
    assert!(texts(&seen).is_empty());
    assert!(bob.fail(7, &["send", "Friends", "still here?"]).contains("not a member"));

    // Leaving.
    carol.run(&["leave", "Friends"]);
    // Whose turn it is to commit that is not known here, and may come after some seconds.
    let gone = (0..60).any(|_| {
        alice.run(&["receive"]);
        carol.run(&["receive"]);
        let gone = carol.run(&["groups"])[0]["member"] == false;
        if !gone {
            thread::sleep(Duration::from_millis(250));
        }
        gone
    });
    assert!(gone);
}

#[test]
fn who_asks_by_a_link_is_shown_and_let_in_or_not() {
    let relay = Relay::start();
    let [alice, bob, carol, other] =
        ["Alice", "Bob", "Carol", "al\u{456}ce"].map(|name| Person::new(name, &relay));
    alice.found("Friends", &[&bob]);
    let link = alice.run(&["link", "Friends"])[0]["link"].as_str().unwrap().to_owned();
    carol.run(&["join", &link, "--message", "from the workshop"]);
    other.run(&["join", &link]);
    let told = alice.run(&["receive"]);
    let asked = told.iter().filter(|entry| entry["kind"] == "join-requested");
    assert_eq!(asked.count(), 2, "{told:?}");
    let requests = alice.run(&["requests", "Friends"]);
    let of = |name: &str| requests.iter().find(|request| request["name"] == name).unwrap();
    assert_eq!(of("Carol")["message"], "from the workshop");
    assert_eq!(of("Carol")["resembles"].as_array().unwrap().len(), 0);
    assert_eq!(of("al\u{456}ce")["resembles"].as_array().unwrap().len(), 1);
    let list = alice.run(&["link", "Friends", "--list"]);
    assert_eq!((list[0]["waiting"].as_u64(), list[0]["link"].as_str()), (Some(2), Some(&*link)));
    // Until she decides, they are outside.
    assert_eq!(alice.run(&["members", "Friends"]).len(), 2);
    assert!(carol.run(&["groups"]).is_empty());
    let imitator = of("al\u{456}ce")["request"].as_str().unwrap();
    alice.run(&["decline", &imitator[..8]]);
    alice.run(&["accept", "Carol"]);
    let told = other.run(&["receive"]);
    assert!(told.iter().any(|entry| entry["kind"] == "join-declined"), "{told:?}");
    let told = carol.run(&["receive"]);
    assert!(told.iter().any(|entry| entry["kind"] == "entered"), "{told:?}");
    let told = bob.run(&["receive"]);
    let joined = |entry: &serde_json::Value| {
        entry["kind"] == "introduced" && entry["members"][0]["name"] == "Carol"
    };
    assert!(told.iter().any(joined), "{told:?}");
    // Answered is answered.
    assert!(alice.fail(7, &["accept", "Carol"]).contains("cascade requests"));
    alice.fail(7, &["decline", &imitator[..8]]);
    // A link of one's own, one of a person, and one that is over.
    alice.fail(2, &["join", &link]);
    carol.fail(2, &["join", &bob.link()]);
    bob.fail(2, &["invite", "Friends", &link]);
    alice.run(&["link", "Friends", "--revoke"]);
    assert!(alice.run(&["link", "Friends", "--list"]).is_empty());
    other.run(&["join", &link]);
    assert!(alice.run(&["requests"]).is_empty());
}

#[test]
fn marks_are_kept_and_wrong_numbers_refused() {
    let relay = Relay::start();
    let [alice, bob] = ["Alice", "Bob"].map(|name| Person::new(name, &relay));
    alice.found("Two", &[&bob]);
    alice.run(&["receive"]);
    bob.run(&["send", "Two", "hello"]);
    alice.run(&["receive"]);
    let member = |of: &Person, name: &str| {
        let members = of.run(&["members", "Two"]);
        members.into_iter().find(|member| member["name"] == name).unwrap()
    };
    let number = member(&alice, "Bob")["safety_number"].as_str().unwrap().to_owned();
    assert_eq!(member(&bob, "Alice")["safety_number"], number.as_str());
    assert_eq!(member(&alice, "Bob")["trust"], "not verified");
    let wrong: String = number.chars().map(|c| if c == '1' { '2' } else { '1' }).collect();
    alice.fail(7, &["verify", "Bob", &wrong]);
    assert_eq!(member(&alice, "Bob")["trust"], "not verified");
    alice.run(&["verify", "Bob", &number]);
    assert_eq!(member(&alice, "Bob")["trust"], "verified");
    alice.fail(7, &["verify", "Nobody", &number]);
}

#[test]
fn attachments_reports_and_trees() {
    let relay = Relay::start();
    let [alice, bob] = ["Alice", "Bob"].map(|name| Person::new(name, &relay));
    alice.found("Files", &[&bob]);
    let content = common::content(3 << 20);
    fs::write(alice.path("plan.pdf"), &content).unwrap();
    let path = alice.path("plan.pdf");
    alice.run(&["send", "Files", "the plan", "--attach", path.to_str().unwrap()]);
    let seen = bob.run(&["receive"]);
    let message = seen.iter().find(|entry| entry["content"] == "attachment").unwrap();
    assert_eq!(message["text"], "the plan");
    assert_eq!(message["attachment"]["name"], "plan.pdf");
    assert_eq!(message["attachment"]["length"], content.len());
    let number = message["number"].to_string();
    let saved = bob.path("saved.pdf");
    bob.run(&["save", &number, saved.to_str().unwrap()]);
    assert!(fs::read(&saved).unwrap() == content);
    bob.fail(7, &["save", "100000", saved.to_str().unwrap()]);

    let report = &bob.run(&["report", &number])[0];
    let layers = report["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3, "{report}");
    assert!(report["relay"]["position"].as_u64().unwrap() > 0);

    let output = bob.command(&["tree", "Files"]).output().unwrap();
    let drawn = text(&output.stdout);
    assert!(drawn.contains("Alice") && drawn.contains("Bob"), "{drawn}");
    let svg = bob.path("tree.svg");
    let drawn = bob.command(&["tree", "Files", "--svg", svg.to_str().unwrap()]).output().unwrap();
    assert!(drawn.status.success());
    assert!(fs::read_to_string(svg).unwrap().starts_with("<svg"));
}

#[test]
fn what_cannot_be_done_has_a_status_and_an_advice() {
    let relay = Relay::start();
    let alice = Person::new("Alice", &relay);
    alice.fail(7, &["send", "Nowhere", "hello"]);
    alice.fail(2, &["invite", "Nowhere", "cascade:nonsense"]);
    alice.fail(1, &["init", "--name", "Again", "--relay", &relay.url()]);
    alice.run(&["found", "Alone"]);
    // A link of another relay, and one for a device that does not exist.
    let other = alice.link().replace(&relay.url(), "https://relay.example");
    alice.fail(2, &["invite", "Alone", &other]);

    let folder = Folder::new();
    folder.write("right", "a passphrase\n");
    folder.write("wrong", "another\n");
    let with = |file: &str, arguments: &[&str]| {
        let more = ["--profile", "p", "--passphrase-file", file];
        folder.cascade(&[arguments, &more].concat()).output().unwrap()
    };
    let init = ["init", "--name", "Dora", "--relay", &relay.url()];
    assert!(with("right", &init).status.success());
    assert_eq!(with("wrong", &["me"]).status.code(), Some(4));
    assert!(with("right", &["me"]).status.success());
    let stderr = folder.fail(1, &["me", "--profile", "nothing"], b"");
    assert!(stderr.contains("cascade init"), "{stderr}");
}

#[test]
fn what_is_said_without_a_relay_goes_later() {
    let mut relay = Relay::start();
    let [alice, bob] = ["Alice", "Bob"].map(|name| Person::new(name, &relay));
    alice.found("Offline", &[&bob]);
    relay.kill();
    let start = Instant::now();
    alice.fail(6, &["send", "Offline", "into the dark", "--timeout", "1"]);
    assert!(start.elapsed() < Duration::from_secs(20));
    relay.restart();
    alice.run(&["receive"]);
    assert_eq!(bob.receive(), ["into the dark"]);
}

#[test]
fn push_tells_at_once_and_another_process_waits_for_the_profile() {
    let relay = Relay::start();
    let [alice, bob] = ["Alice", "Bob"].map(|name| Person::new(name, &relay));
    alice.found("Push", &[&bob]);
    let follow = ["receive", "--follow", "--count", "1", "--for", "60"];
    let follower = bob.command(&follow).spawn().unwrap();
    // Until it follows, for it to be told by push.
    thread::sleep(Duration::from_millis(1500));
    let start = Instant::now();
    alice.run(&["send", "Push", "now"]);
    let output = follower.wait_with_output().unwrap();
    assert_eq!(texts(&lines(&output)), ["now"]);
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());

    let follower = bob.command(&["receive", "--follow", "--for", "1"]).spawn().unwrap();
    thread::sleep(Duration::from_millis(300));
    bob.run(&["me"]);
    assert!(follower.wait_with_output().unwrap().status.success());
}

#[test]
fn nothing_is_lost_over_kills() {
    everything_arrives_once(4, 3, 2);
}

/// 1,000 messages from 10 members: `cargo test -p cc-cli --test talk -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn a_thousand_messages_over_kills() {
    everything_arrives_once(10, 10, 10);
}

/// `members` send `each` messages a round. Now and then a sender, a reader or the relay is killed.
fn everything_arrives_once(members: usize, rounds: usize, each: usize) {
    let mut relay = Relay::start();
    let names = (0..members).map(|at| format!("member {at}"));
    let people: Vec<_> = names.map(|name| Person::new(&name, &relay)).collect();
    let others: Vec<_> = people.iter().skip(1).collect();
    people[0].found("All", &others);
    let mut expected = BTreeSet::new();
    for round in 0..rounds {
        for (at, person) in people.iter().enumerate() {
            let texts: Vec<_> =
                (0..each).map(|n| format!("round {round} member {at} message {n}")).collect();
            expected.extend(texts.iter().cloned());
            // Kills at moments that differ from run to run: of who sends, and of who reads.
            if (round + at) % 3 == 0 {
                let mut sender = person.command(&["send", "All", "--lines"]);
                let mut sender = sender.stdin(Stdio::piped()).spawn().unwrap();
                let lines = texts.join("\n");
                let _gone =
                    std::io::Write::write_all(&mut sender.stdin.take().unwrap(), lines.as_bytes());
                let reader = &people[(at + 1) % members];
                let mut reader = reader.command(&["receive", "--follow"]).spawn().unwrap();
                thread::sleep(Duration::from_millis(60 * (at as u64 + 1)));
                if at % 2 == 0 {
                    relay.restart();
                }
                sender.kill().unwrap();
                reader.kill().unwrap();
                sender.wait().unwrap();
                reader.wait().unwrap();
            }
            // What the killed one did not keep is said again; nothing else is.
            let kept = person.history("All");
            let missing: Vec<_> =
                texts.iter().filter(|text| !kept.contains(text)).cloned().collect();
            if !missing.is_empty() {
                person.run_with(&["send", "All", "--lines"], &missing.join("\n"));
            }
        }
    }
    for person in &people {
        person.run(&["receive"]);
    }
    for person in &people {
        person.run(&["receive"]);
        let mut got = person.history("All");
        let count = got.len();
        got.sort();
        got.dedup();
        assert_eq!(got.len(), count, "{}: nothing twice", person.name);
        let got: BTreeSet<_> = got.into_iter().collect();
        assert_eq!(got, expected, "{}: nothing lost", person.name);
    }
}

/// Whatever is set for other relays, profiles and machines.
#[test]
fn the_demonstration_holds() {
    let output = std::process::Command::new(program())
        .arg("demo")
        .envs([("CC_RELAY_TLS_CERT", "/no/file"), ("CC_RELAY_TLS_KEY", "/no/file")])
        .envs([("CASCADE_PROFILE", "/no/folder"), ("CASCADE_RELAY", "https://relay.invalid")])
        .envs([("ALL_PROXY", "http://127.0.0.1:1"), ("HTTP_PROXY", "http://127.0.0.1:1")])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("Everything was as told."), "{stdout}");
}

#[test]
fn history_is_passed_on_under_the_name_of_who_does_it() {
    let relay = Relay::start();
    let [alice, bob, carol] = ["Alice", "Bob", "Carol"].map(|name| Person::new(name, &relay));
    alice.found("Friends", &[&bob]);
    alice.run(&["send", "Friends", "said before Carol"]);
    bob.run(&["receive"]);
    bob.run(&["send", "Friends", "an answer"]);
    alice.run(&["receive"]);
    alice.run(&["invite", "Friends", &carol.link()]);
    assert!(texts(&carol.run(&["receive"])).is_empty());
    bob.run(&["receive"]);
    bob.fail(7, &["share", "Friends", "Dora"]);
    // Bob says that it was so, twice.
    for _ in 0..2 {
        let told = bob.run(&["share", "Friends", "Carol"]);
        assert_eq!(told[0]["passed_on"], 2, "{told:?}");
    }
    let seen = carol.run(&["receive"]);
    assert!(texts(&seen).is_empty(), "none of it is a message: {seen:?}");
    let forwarded: Vec<_> = seen.iter().filter(|entry| entry["kind"] == "forwarded").collect();
    assert_eq!(forwarded.len(), 2, "each once: {seen:?}");
    for (entry, (author, said)) in
        forwarded.iter().zip([("Alice", "said before Carol"), ("Bob", "an answer")])
    {
        assert_eq!(entry["by"]["name"], "Bob");
        assert_eq!(entry["claimed_from"]["name"], author);
        assert_eq!(entry["text"], said);
    }
    // Alice was there, and is told nothing.
    assert!(!alice.run(&["receive"]).iter().any(|entry| entry["kind"] == "forwarded"));
}

#[test]
fn who_asked_takes_it_back_and_asks_again() {
    let relay = Relay::start();
    let [alice, carol] = ["Alice", "Carol"].map(|name| Person::new(name, &relay));
    alice.run(&["found", "Friends"]);
    let link = alice.run(&["link", "Friends"])[0]["link"].as_str().unwrap().to_owned();
    assert!(carol.fail(7, &["withdraw"]).contains("cascade requests --mine"));
    // From standard input, and from a file.
    carol.run_with(&["join", "-"], &format!("{link}\n"));
    assert_eq!(alice.run(&["requests"]).len(), 1);
    let file = carol.path("friends.link");
    std::fs::write(&file, &link).unwrap();
    let file = file.to_str().unwrap();
    let mine = carol.run(&["requests", "--mine"]);
    assert_eq!(mine.len(), 1, "{mine:?}");
    carol.fail(7, &["withdraw", "ffffffff"]);
    carol.run(&["withdraw", file]);
    assert!(carol.run(&["requests", "--mine"]).is_empty());
    let told = alice.run(&["receive"]);
    let withdrawn = told.iter().find(|entry| entry["kind"] == "join-withdrawn").unwrap();
    assert_eq!((&withdrawn["who"]["name"], &withdrawn["let_in"]), (&"Carol".into(), &false.into()));
    alice.fail(7, &["accept", "Carol"]);
    // After all.
    carol.run(&["join", file]);
    alice.run(&["accept", "Carol"]);
    let told = carol.run(&["receive"]);
    assert!(told.iter().any(|entry| entry["kind"] == "entered"), "{told:?}");
    carol.fail(2, &["join", "no-such-file"]);
}

#[test]
fn a_name_is_changed_for_members() {
    let relay = Relay::start();
    let [alice, bob] = ["Alice", "Bob"].map(|name| Person::new(name, &relay));
    alice.found("Friends", &[&bob]);
    alice.run(&["receive"]);
    bob.run(&["rename", "Robert"]);
    assert_eq!(bob.run(&["me"])[0]["name"], "Robert");
    let seen = alice.run(&["receive"]);
    let renamed = seen.iter().find(|entry| entry["kind"] == "renamed").unwrap();
    assert_eq!((renamed["from"].as_str(), renamed["to"].as_str()), (Some("Bob"), Some("Robert")));
    bob.run(&["send", "Friends", "it is me"]);
    let seen = alice.run(&["receive"]);
    let message = seen.iter().find(|entry| entry["kind"] == "message").unwrap();
    assert_eq!(message["from"]["name"], "Robert");
    bob.fail(2, &["rename", &"x".repeat(1025)]);
    bob.fail(2, &["rename", ""]);
}

/// Escape sequences, also those of one character, and what turns the direction of text, from a name, a text, a title
/// and the name of a file.
#[test]
fn nothing_that_others_write_does_something_to_a_terminal() {
    const EVIL: &str = "E\u{9b}2J\x1b]0;x\x07\u{202e}ve";
    let relay = Relay::start();
    let [alice, eve] = ["Alice", "Eve"].map(|name| Person::new(name, &relay));
    eve.run(&["rename", EVIL]);
    eve.found(EVIL, &[&alice]);
    let file = eve.path(EVIL);
    fs::write(&file, "x").unwrap();
    eve.run(&["send", EVIL, EVIL, "--attach", file.to_str().unwrap()]);
    let harmless = |shown: &str| {
        let obeyed = |character: char| {
            character != '\n' && (character.is_control() || character == '\u{202e}')
        };
        assert!(!shown.contains(obeyed), "{shown:?}");
    };
    let output = alice.command(&["receive"]).output().unwrap();
    harmless(&text(&output.stdout));
    let told = lines(&output);
    let message = told.iter().find(|entry| entry["kind"] == "message").unwrap();
    assert_eq!((&message["text"], &message["from"]["name"]), (&EVIL.into(), &EVIL.into()));
    let group = message["group"].as_str().unwrap();
    let number = message["number"].to_string();
    for command in [
        &["report", &number][..],
        &["history", group],
        &["members", group],
        &["groups"],
        &["tree", group],
    ] {
        harmless(&alice.plain(command));
        harmless(&text(&alice.command(command).output().unwrap().stdout));
    }
    for command in [&["me"][..], &["device"], &["history", group], &["requests"]] {
        harmless(&eve.plain(command));
    }
    let error = alice.fail(7, &["history", EVIL.strip_suffix('e').unwrap()]);
    harmless(&error);
}
