//! The delivery service and the people: who is in the group, what was said, and who has read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tempfile::TempDir;

use crate::{
    process::{Answer, Part, Process},
    uses,
};

/// People in the group, most of the time.
const PEOPLE: usize = 4;
/// Messages that may be on the way to somebody before they have to read.
const BACKLOG: usize = 12;

pub(crate) struct World {
    directory: TempDir,
    stack: &'static str,
    random: Random,
    members: Vec<Member>,
    /// Everything the service took, in its order.
    log: Vec<Entry>,
    kills: u64,
    /// Nobody is killed while this is set.
    calm: bool,
    texts: u64,
    generations: u64,
    changes: u64,
    rejoins: u64,
    overtaken: u64,
    redelivered: u64,
    /// Keys and nonces that were compared in the end, by cipher.
    uses: BTreeMap<String, usize>,
}

struct Member {
    part: Part,
    process: Option<Process>,
    id: String,
    /// The next entry to read.
    cursor: usize,
    /// Where it read from and up to: what it must have read in the end.
    since: usize,
    epoch: Option<u64>,
    removed: bool,
    /// By number in the inbox: the text, and whether it was acknowledged.
    inbox: BTreeMap<String, (String, bool)>,
    outbox: Vec<String>,
    staged: Option<String>,
}

struct Entry {
    wire: String,
    author: usize,
    /// `None` for a commit.
    text: Option<String>,
}

impl World {
    pub(crate) fn new(stack: &'static str, seed: u64) -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
            stack,
            random: Random(seed),
            members: Vec::new(),
            log: Vec::new(),
            kills: 0,
            calm: false,
            texts: 0,
            generations: 0,
            changes: 0,
            rejoins: 0,
            overtaken: 0,
            redelivered: 0,
            uses: BTreeMap::new(),
        }
    }

    pub(crate) fn kills(&self) -> u64 {
        self.kills
    }

    pub(crate) fn summary(&self) -> String {
        format!(
            "{} texts, {} changes ({} overtaken), {} rejoins, {} redelivered, no use twice of {:?}",
            self.texts, self.changes, self.overtaken, self.rejoins, self.redelivered, self.uses
        )
    }

    /// A founder, and the others.
    pub(crate) fn begin(&mut self) {
        self.person("founder");
        // Founding is part of the creation of the store.
        self.ask(0, "authenticator", &[]);
        while self.members.len() < PEOPLE {
            self.add();
        }
    }

    pub(crate) fn step(&mut self) {
        let who = self.somebody();
        match self.random.below(12) {
            0 => self.change(who, "update", &[], None),
            1 => self.contend(),
            2 if self.random.below(3) == 0 => self.exchange(),
            3 if self.random.below(3) == 0 => self.come_back(who),
            4..=6 => self.read(who),
            _ => self.talk(who),
        }
    }

    /// Everybody reads all, agrees, and has read each text once; no key and nonce sealed twice.
    pub(crate) fn end(&mut self) {
        self.calm = true;
        let present = self.present();
        for &who in &present {
            self.read(who);
        }
        let agreed: BTreeSet<_> =
            present.iter().map(|&who| self.ask(who, "authenticator", &[]).unwrap()).collect();
        assert_eq!(agreed.len(), 1, "the members are in different groups");
        for &who in &present {
            self.talk(who);
            for &other in &present {
                self.read(other);
            }
        }
        for &who in &present {
            self.members[who].process = None;
            self.run(who);
            let member = &self.members[who];
            assert!(member.outbox.is_empty() && member.staged.is_none());
        }
        self.uses = self.compare_uses();
        // Each layer seals each text and each commit once at least, and MLS the sender beside it.
        let least = usize::try_from(self.texts + self.changes).unwrap();
        let signal: &[_] = if self.stack == "signal" { &["signal-message"] } else { &[] };
        for cipher in [&["aes-gcm", "root-message"], signal].concat() {
            assert!(self.uses[cipher] >= least, "{cipher} was recorded too seldom");
        }
        assert!(self.uses["mls"] >= 2 * least, "MLS was recorded too seldom");
    }

    /// Compares the keys and nonces of all that anybody ever handed out.
    fn compare_uses(&self) -> BTreeMap<String, usize> {
        uses::compare(self.members.iter().map(|member| member.part.store()))
    }

    /// Says something new.
    fn talk(&mut self, who: usize) {
        // Within the window of past epochs of everybody else.
        self.read(who);
        self.texts += 1;
        let text = format!("text-{}", self.texts);
        loop {
            let answer = self.ask(who, "say", &[&hex::encode(&text)]);
            let made = match answer.as_deref().and_then(<[_]>::first) {
                Some(line) => Some(line.strip_prefix("out ").expect(line).to_string()),
                // Killed: it is in the outbox, or it was never made.
                None => self.outgoing(who).into_iter().next(),
            };
            if let Some(wire) = made {
                self.post(who, wire.clone(), Some(text));
                self.sent(who, &wire);
                return;
            }
        }
    }

    /// What the member's outbox has, once it runs again.
    fn outgoing(&mut self, who: usize) -> Vec<String> {
        self.run(who);
        self.members[who].outbox.clone()
    }

    fn sent(&mut self, who: usize, wire: &str) {
        loop {
            let answer = self.ask(who, "sent", &[wire]);
            if answer.is_some() {
                self.members[who].outbox.retain(|other| other != wire);
                return;
            }
            if !self.outgoing(who).iter().any(|other| other == wire) {
                return;
            }
        }
    }

    fn post(&mut self, author: usize, wire: String, text: Option<String>) {
        self.log.push(Entry { wire, author, text });
        for who in self.present() {
            if self.log.len() - self.members[who].cursor > BACKLOG && who != author {
                self.read(who);
            }
        }
    }

    /// Reads all that is on the way.
    fn read(&mut self, who: usize) {
        while self.members[who].cursor < self.log.len() && !self.members[who].removed {
            let entry = &self.log[self.members[who].cursor];
            if entry.author == who {
                self.members[who].cursor += 1;
                continue;
            }
            let (wire, text) = (entry.wire.clone(), entry.text.clone());
            let before = self.members[who].epoch;
            let answer = self.ask(who, "take", &[&wire]);
            match (answer.as_deref().and_then(<[_]>::first), text) {
                (Some(line), Some(text)) => {
                    self.take_in(who, line);
                    self.expect_read(who, &text);
                }
                (Some(line), None) => self.moved(who, line),
                (None, text) => {
                    self.run(who);
                    let member = &mut self.members[who];
                    match text {
                        Some(text) => {
                            let unread = |(other, done): &(String, bool)| *other == text && !done;
                            if member.inbox.values().any(unread) {
                                self.redelivered += 1;
                                self.expect_read(who, &text);
                            }
                        }
                        None if member.removed || member.epoch != before => {
                            member.cursor += 1;
                            member.staged = None;
                        }
                        None => {}
                    }
                }
            }
        }
    }

    /// The text at the cursor was read: once, and the application is done with it.
    fn expect_read(&mut self, who: usize, text: &str) {
        let member = &self.members[who];
        let read: Vec<_> = member
            .inbox
            .iter()
            .filter(|(_, (other, _))| other == text)
            .map(|(number, _)| number.clone())
            .collect();
        let [number] = read.as_slice() else { panic!("{text} was read {} times", read.len()) };
        loop {
            let answer = self.ask(who, "acknowledge", &[number]);
            if answer.is_some() {
                break;
            }
            // Killed: it is there again, or the acknowledgement is in force.
            if !self.unacknowledged(who).contains(number) {
                break;
            }
        }
        let member = &mut self.members[who];
        member.inbox.get_mut(number).unwrap().1 = true;
        member.cursor += 1;
    }

    fn unacknowledged(&mut self, who: usize) -> BTreeSet<String> {
        let last = self.run(who);
        last.unwrap_or_default()
            .iter()
            .filter_map(|line| line.strip_prefix("in "))
            .map(|entry| entry.split_once(' ').unwrap().0.to_string())
            .collect()
    }

    /// `line` says where a commit led.
    fn moved(&mut self, who: usize, line: &str) {
        let member = &mut self.members[who];
        match line.strip_prefix("epoch ") {
            Some(epoch) => member.epoch = Some(epoch.parse().unwrap()),
            None => {
                assert_eq!(line, "removed");
                member.removed = true;
                member.epoch = None;
            }
        }
        if member.staged.take().is_some() {
            self.overtaken += 1;
        }
        let member = &mut self.members[who];
        member.cursor += 1;
    }

    /// Stages a change and has it taken by the service, unless `first` gets there before.
    fn change(&mut self, who: usize, command: &str, arguments: &[&str], first: Option<usize>) {
        self.stage(who, command, arguments);
        if let Some(other) = first {
            self.stage(other, "update", &[]);
            self.accept(other);
            self.read(who);
            let staged = self.ask_until(who, "restage", &[], |member| member.staged.is_some());
            self.note_staged(who, staged);
        }
        self.accept(who);
    }

    fn stage(&mut self, who: usize, command: &str, arguments: &[&str]) {
        self.read(who);
        let staged = self.ask_until(who, command, arguments, |member| member.staged.is_some());
        self.note_staged(who, staged);
    }

    fn note_staged(&mut self, who: usize, line: Option<String>) {
        if let Some(line) = line {
            self.members[who].staged = Some(parse_staged(&line));
        }
    }

    /// The service takes the commit that `who` staged, and `who` confirms it. Gives the welcome, where
    /// somebody was added.
    fn accept(&mut self, who: usize) -> Option<String> {
        self.changes += 1;
        let commit = self.members[who].staged.clone().expect("a staged change");
        self.post(who, commit, None);
        let before = self.members[who].epoch;
        loop {
            let answer = self.ask(who, "confirm", &[]);
            if let Some(line) = answer.as_deref().and_then(<[_]>::first) {
                let epoch = line.strip_prefix("epoch ").expect(line);
                self.members[who].epoch = Some(epoch.parse().unwrap());
                break;
            }
            self.run(who);
            if self.members[who].epoch != before {
                break;
            }
        }
        self.members[who].staged = None;
        // As the program finds it, if it is killed now.
        let welcome = self.ask_until(who, "welcome", &[], |_| false);
        let welcome = welcome.filter(|welcome| welcome != "none")?;
        self.sent(who, &welcome);
        Some(welcome)
    }

    /// Two stage at once, and the service takes one of them first.
    fn contend(&mut self) {
        let present = self.present();
        let a = self.random.below(present.len());
        let b = (a + 1 + self.random.below(present.len() - 1)) % present.len();
        self.change(present[a], "update", &[], Some(present[b]));
    }

    /// Somebody goes, and somebody comes.
    fn exchange(&mut self) {
        let present = self.present();
        let (who, gone) = (present[0], present[1 + self.random.below(present.len() - 1)]);
        let id = self.members[gone].id.clone();
        self.change(who, "remove", &[&id], None);
        self.read(gone);
        assert!(self.members[gone].removed);
        self.members[gone].process = None;
        self.add();
    }

    fn add(&mut self) {
        self.generations += 1;
        let who = self.person(&format!("person{}", self.generations));
        let package = self.ask_until(who, "package", &[], |_| false).unwrap();
        let present = self.present();
        let host = present[self.random.below(present.len())];
        self.stage(host, "add", &[&package]);
        self.welcome(host, who);
    }

    /// The staged change of `host` brings `who` in.
    fn welcome(&mut self, host: usize, who: usize) {
        let welcome = self.accept(host).expect("somebody was added");
        let before = self.members[who].epoch;
        let joined = self.ask_until(who, "join", &[&welcome], |member| member.epoch != before);
        let member = &mut self.members[who];
        if let Some(line) = joined {
            member.epoch = Some(line.strip_prefix("epoch ").expect(&line).parse().unwrap());
        }
        member.cursor = self.log.len();
        member.since = member.cursor;
        member.removed = false;
        member.staged = None;
    }

    /// A member misses some of the log, commits included, and is added anew.
    fn come_back(&mut self, who: usize) {
        let present = self.present();
        let host = *present.iter().find(|&&host| host != who).unwrap();
        self.read(who);
        self.stage(host, "update", &[]);
        // `who` never hears of it.
        self.accept(host);
        let package = self.ask_until(who, "rejoin", &[], |_| false).unwrap();
        self.stage(host, "readmit", &[&package]);
        self.welcome(host, who);
        self.rejoins += 1;
    }

    /// Asks until there is an answer, or, after a kill, the member is found to have done it.
    fn ask_until(
        &mut self,
        who: usize,
        command: &str,
        arguments: &[&str],
        done: impl Fn(&Member) -> bool,
    ) -> Option<String> {
        loop {
            if let Some(answer) = self.ask(who, command, arguments) {
                return answer.into_iter().next();
            }
            self.run(who);
            if done(&self.members[who]) {
                return None;
            }
        }
    }

    fn ask(&mut self, who: usize, command: &str, arguments: &[&str]) -> Answer {
        self.run(who);
        let line = [&[command], arguments].concat().join(" ");
        let kill = self.when_to_kill(false);
        let process = self.members[who].process.as_mut().unwrap();
        let answer = process.ask(Some(&line), kill);
        if kill.is_some() {
            self.members[who].process = None;
        }
        if let Some(refused) = answer.as_deref().and_then(<[_]>::first)
            && refused.starts_with("refused")
        {
            // The better reason, if it is there.
            self.compare_uses();
            panic!("{} does not {command}: {refused}", self.members[who].part.name);
        }
        answer
    }

    /// Starts the member's process if it does not run, and gives what it found in its store.
    fn run(&mut self, who: usize) -> Answer {
        while self.members[who].process.is_none() {
            let mut process = Process::start(&self.members[who].part);
            let kill = self.when_to_kill(true);
            let found = process.ask(None, kill);
            if kill.is_none() {
                self.members[who].process = Some(process);
            }
            if let Some(found) = found {
                self.found(who, &found);
                if self.members[who].process.is_some() {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Takes note of what a member has after a restart.
    fn found(&mut self, who: usize, found: &[String]) {
        let member = &mut self.members[who];
        member.outbox.clear();
        member.staged = None;
        for line in found {
            let words: Vec<_> = line.split(' ').collect();
            match words.as_slice() {
                ["standing", standing, id] => {
                    member.id = (*id).to_string();
                    member.removed = *standing == "removed";
                    member.epoch = standing.parse().ok();
                }
                ["out", wire] => member.outbox.push((*wire).to_string()),
                ["staged", ..] => member.staged = Some(parse_staged(line)),
                _ => {}
            }
        }
        for line in found.iter().filter(|line| line.starts_with("in ")) {
            self.take_in(who, line);
        }
    }

    /// A message as the application gets it: `in number text`.
    fn take_in(&mut self, who: usize, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        let ["in", number, text] = words.as_slice() else { panic!("not a message: {line}") };
        let inbox = &mut self.members[who].inbox;
        let (known, acknowledged) =
            inbox.entry((*number).to_string()).or_insert_with(|| ((*text).to_string(), false));
        assert_eq!(known, text, "another text under the same number");
        assert!(!*acknowledged, "{text} came again after it was acknowledged");
    }

    fn when_to_kill(&mut self, starting: bool) -> Option<Duration> {
        if self.calm || self.random.below(if starting { 8 } else { 5 }) > 0 {
            return None;
        }
        self.kills += 1;
        // From before the command is read to after the answer, the start of a process included; the
        // short times, in which most of the work is done, as often as the long ones.
        let longest = 1 << (6 + self.random.below(if starting { 10 } else { 7 }));
        Some(Duration::from_micros(u64::try_from(self.random.below(longest)).unwrap()))
    }

    fn person(&mut self, name: &str) -> usize {
        let part = Part {
            store: self.directory.path().join(format!("{name}.sqlite")),
            name: name.to_string(),
            stack: self.stack.to_string(),
        };
        self.members.push(Member {
            part,
            process: None,
            id: String::new(),
            cursor: 0,
            since: 0,
            epoch: None,
            removed: false,
            inbox: BTreeMap::new(),
            outbox: Vec::new(),
            staged: None,
        });
        self.members.len() - 1
    }

    fn present(&self) -> Vec<usize> {
        let inside = |who: &usize| self.members[*who].epoch.is_some();
        (0..self.members.len()).filter(inside).collect()
    }

    fn somebody(&mut self) -> usize {
        let present = self.present();
        present[self.random.below(present.len())]
    }
}

fn parse_staged(line: &str) -> String {
    line.split(' ').nth(1).unwrap().to_string()
}

/// SplitMix64: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).unwrap();
        usize::try_from((z ^ (z >> 31)) % bound).unwrap()
    }
}
