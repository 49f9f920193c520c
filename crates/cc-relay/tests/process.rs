//! The program: killed at any moment it loses nothing that it acknowledged, and does nothing twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use cc_client::{
    Call, Client, Command as ClientCommand, Event, EventId, Failure, LogId, MailboxKey, Now,
    OperationId, Position, Profile, Publish, PublishedPackage, Purpose, Read, ReadAccess, Recipe,
    Refusal, Reply, Request, turn,
};
use cc_core::store::MemoryStore;
use cc_relay::{HttpService, RelayUrl};

use crate::common::{append, commit, id, page, read, token};

/// The program, which can be killed.
struct Process {
    child: Child,
    store: PathBuf,
    url: RelayUrl,
}

impl Process {
    fn start(store: &Path) -> Self {
        Self::start_at(store, "127.0.0.1:0")
    }

    fn start_at(store: &Path, address: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cc-relay"))
            .args(["--listen", address, "--store", &format!("sqlite:{}", store.display())])
            .args(["--client-requests", "0", "--client-connections", "0"])
            .args(["--log-items", "0", "--mailbox-items", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening at ").unwrap().parse().unwrap();
        Self { child, store: store.to_owned(), url }
    }

    /// SIGKILL, and a new one at the same place.
    fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let address = self.url.to_string().split_once("://").unwrap().1.to_owned();
        *self = Self::start_at(&self.store, &address);
    }

    fn id(&self) -> u32 {
        self.child.id()
    }

    fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// Kills, for each of the tests. `CC_RELAY_KILLS` for more.
fn kills() -> u32 {
    std::env::var("CC_RELAY_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(12)
}

/// Kills the relay after pauses of this many milliseconds, until told to stop.
fn killer(
    relay: &Arc<Mutex<Process>>,
    pauses: impl Iterator<Item = u64> + Send + 'static,
) -> (Arc<AtomicBool>, std::thread::JoinHandle<u32>) {
    let stop = Arc::new(AtomicBool::new(false));
    let (stopped, relay) = (Arc::clone(&stop), Arc::clone(relay));
    let thread = std::thread::spawn(move || {
        let mut count = 0;
        for pause in pauses {
            std::thread::sleep(Duration::from_millis(pause));
            if stopped.load(Ordering::Relaxed) {
                break;
            }
            relay.lock().unwrap().kill_and_restart();
            count += 1;
        }
        count
    });
    (stop, thread)
}

/// Until there is an answer, as a client does.
fn insist(service: &HttpService, request: &Request) -> Result<Reply, Failure> {
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match service.perform(request) {
            Err(Failure::Unknown) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5));
            }
            answer => return answer,
        }
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_done_twice() {
    const WRITERS: u8 = 4;
    let folder = tempfile::tempdir().unwrap();
    let relay = Arc::new(Mutex::new(Process::start(&folder.path().join("relay.db"))));
    let url = relay.lock().unwrap().url.clone();
    let service = HttpService::new(&url);
    let (log, access) = (LogId::random().unwrap(), token(1));
    let key = MailboxKey::generate().unwrap();
    insist(&service, &commit(log, &access, 0, None)).unwrap();
    let packages: Vec<_> = (0..=255)
        .flat_map(|low| [[0, low], [1, low]])
        .take(120)
        .map(|bytes| PublishedPackage { bytes: bytes.to_vec(), last_resort: false })
        .collect();
    let publish = id();
    let proof = key.prove(publish, Purpose::Publish(&packages));
    let call = Call::Publish(Publish { mailbox: key.address(), proof, packages });
    let published = insist(&service, &Request { id: publish, call });
    assert_eq!(published, Ok(Reply::Published { remaining: 120 }));
    let mut seed = 7_u64;
    let pauses = (0..kills()).map(move |_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        20 + (seed >> 33) % 150
    });
    let (stop, killed) = killer(&relay, pauses);
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (service, access, mailbox) = (service.clone(), access.clone(), key.address());
            let killing = Arc::clone(&stop);
            std::thread::spawn(move || {
                let (mut acknowledged, mut claimed) = (BTreeMap::new(), Vec::new());
                // As long as there are kills, and some after.
                let mut number = 0;
                while number < 40 || (!killing.load(Ordering::Relaxed) && number < 2_000) {
                    let text = format!("{writer}.{number}").into_bytes();
                    let request = append(log, Some(&access), &[&text]);
                    let Ok(Reply::Appended(position)) = insist(&service, &request) else {
                        panic!("refused")
                    };
                    assert!(acknowledged.insert(position, (request, text)).is_none());
                    if number < 30 {
                        let claim = Request { id: id(), call: Call::Claim(mailbox) };
                        let Ok(Reply::Claimed(Some(package))) = insist(&service, &claim) else {
                            panic!("there is one for each")
                        };
                        claimed.push(package);
                    }
                    number += 1;
                }
                (acknowledged, claimed)
            })
        })
        .collect();
    let killed = killed.join().unwrap();
    stop.store(true, Ordering::Relaxed);
    let (mut acknowledged, mut claimed) = (BTreeMap::new(), BTreeSet::new());
    for writer in writers {
        let (mine, packages) = writer.join().unwrap();
        acknowledged.extend(mine);
        for package in packages {
            assert!(claimed.insert(package), "a key package was handed out twice");
        }
    }
    assert_eq!(killed, kills());
    relay.lock().unwrap().kill_and_restart();
    let mut stored = BTreeMap::new();
    let mut after = 1;
    loop {
        let page = page(insist(&service, &read(log, after, &access)));
        let Some(last) = page.items.last() else { break };
        for item in &page.items {
            assert_eq!(item.position, Position(after + 1), "no gap");
            after = item.position.0;
            stored.insert(item.position, item.bytes.clone());
        }
        assert_eq!(last.position.0, after);
    }
    // All that was acknowledged is where it was acknowledged, and nothing is there besides.
    assert_eq!(stored.len(), acknowledged.len());
    for (position, (request, text)) in &acknowledged {
        assert_eq!(stored.get(position), Some(text));
        // Ids hold over a restart.
        if position.0 % 7 == 0 {
            assert_eq!(insist(&service, request), Ok(Reply::Appended(*position)));
        }
    }
    let end = page(insist(&service, &read(log, after, &access)));
    assert_eq!(end.head, Position(after));
}

/// One of the people.
struct Person {
    client: Client,
    service: HttpService,
    mono: u64,
    received: Vec<Vec<u8>>,
}

impl Person {
    fn turn(&mut self) {
        let now = Now { wall: 1_790_000_000_000, mono: self.mono };
        turn(&mut self.client, &mut self.service, now).unwrap();
        self.mono += 2_000;
        for (id, event) in self.client.events(EventId(0), 1000).unwrap() {
            if let Event::Message { content, .. } = event {
                self.received.push(content);
            }
            self.client.acknowledge(id, &[]).unwrap();
        }
    }
}

#[test]
fn a_thousand_messages_of_ten_people_over_a_relay_that_is_killed() {
    const PEOPLE: usize = 10;
    const EACH: usize = 100;
    let folder = tempfile::tempdir().unwrap();
    let relay = Arc::new(Mutex::new(Process::start(&folder.path().join("relay.db"))));
    let service = HttpService::new(&relay.lock().unwrap().url);
    let mut people: Vec<Person> = (0..PEOPLE)
        .map(|number| {
            let profile = Profile::new(format!("Person {number}"));
            let client = Client::create(MemoryStore::new(), profile, Recipe::group()).unwrap();
            Person { client, service: service.clone(), mono: 0, received: Vec::new() }
        })
        .collect();
    let group = people[0].client.found("Ten").unwrap();
    let now = Now { wall: 1_790_000_000_000, mono: 0 };
    let packages: Vec<_> = people[1..]
        .iter_mut()
        .map(|person| person.client.key_packages(now, 1).unwrap().remove(0))
        .collect();
    let add = ClientCommand::Add { group, packages };
    people[0].client.submit(OperationId::random().unwrap(), add).unwrap();
    let (stop, killed) = killer(&relay, (0..).map(|n| 150 + n * 97 % 700));
    let is_member = |person: &mut Person| {
        person.client.group(&group).is_ok_and(|group| group.members.len() == PEOPLE)
    };
    for _ in 0..2_000 {
        people.iter_mut().for_each(Person::turn);
        if people.iter_mut().all(is_member) {
            break;
        }
    }
    assert!(people.iter_mut().all(is_member));
    for message in 0..EACH {
        for (number, person) in people.iter_mut().enumerate() {
            person.client.send(group, format!("{number}: {message}")).unwrap();
        }
        if message % 4 == 0 {
            people.iter_mut().for_each(Person::turn);
        }
    }
    let wanted = (PEOPLE - 1) * EACH;
    for _ in 0..2_000 {
        people.iter_mut().for_each(Person::turn);
        if people.iter().all(|person| person.received.len() >= wanted) {
            break;
        }
    }
    stop.store(true, Ordering::Relaxed);
    let killed = killed.join().unwrap();
    for (number, person) in people.iter().enumerate() {
        let received: BTreeSet<_> = person.received.iter().cloned().collect();
        let others = (0..PEOPLE).filter(|other| *other != number);
        let expected: BTreeSet<_> = others
            .flat_map(|other| (0..EACH).map(move |n| format!("{other}: {n}").into_bytes()))
            .collect();
        assert_eq!(received, expected, "person {number}");
        assert_eq!(person.received.len(), wanted, "person {number} got something twice");
    }
    assert!(killed > 0);

    // Somebody is removed, who keeps a read with the token of the last epoch it was in.
    let kept = loop {
        people[9].mono += 2_000;
        let now = Now { wall: 1_790_000_000_000, mono: people[9].mono };
        let Some(request) = people[9].client.poll_request(now).unwrap() else { continue };
        let Call::Read(read) = request.call else { continue };
        if read.log == group {
            break Read { after: Position(0), ..read };
        }
    };
    let before = page(insist(&service, &Request { id: id(), call: Call::Read(kept.clone()) })).head;
    let members = vec![people[9].client.me().id];
    let remove = ClientCommand::Remove { group, members };
    people[0].client.submit(OperationId::random().unwrap(), remove).unwrap();
    for _ in 0..200 {
        people[..9].iter_mut().for_each(Person::turn);
        if people[1].client.group(&group).unwrap().members.len() == PEOPLE - 1 {
            break;
        }
    }
    people[1].client.send(group, "without Person 9").unwrap();
    for _ in 0..200 {
        people[..9].iter_mut().for_each(Person::turn);
        if people[0].received.len() > wanted {
            break;
        }
    }
    assert_eq!(people[0].received.last().unwrap(), b"without Person 9");
    let after = page(insist(&service, &Request { id: id(), call: Call::Read(kept.clone()) })).head;
    assert_eq!(
        after,
        before.next(),
        "up to the commit that removed it, and not the message behind that"
    );
    let ReadAccess::Token(token) = &kept.access else { panic!("a group's log") };
    let refused = insist(&service, &append(group, Some(token), &[b"still here"]));
    assert_eq!(refused, Err(Failure::Refused(Refusal::Conflict { head: after })));
}

#[test]
fn it_ends_on_sigterm_with_everything_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("relay.db");
    let mut relay = Process::start(&path);
    let service = HttpService::new(&relay.url);
    let (log, access) = (LogId::random().unwrap(), token(1));
    service.perform(&append(log, Some(&access), &[b"kept"])).unwrap();
    let pid = rustix::process::Pid::from_raw(relay.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(relay.wait().success());
    // The write-ahead log was put into the file, which has everything by itself.
    let copy = folder.path().join("copy.db");
    std::fs::copy(&path, &copy).unwrap();
    let relay = Process::start(&copy);
    let service = HttpService::new(&relay.url);
    assert_eq!(page(service.perform(&read(log, 0, &access))).items[0].bytes, b"kept");
}

#[test]
fn its_help_has_examples_and_its_errors_say_what_to_do() {
    let relay = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_cc-relay")).args(arguments).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8(text).unwrap())
    };
    let (success, help) = relay(&["--help"]);
    assert!(success && help.contains("Examples:") && help.contains("--tls-cert"), "{help}");
    let (success, error) = relay(&["--store", "mysql:x"]);
    assert!(!success && error.contains("sqlite:PATH"), "{error}");
    let (success, error) = relay(&["--store", "memory:", "--tls-cert", "x"]);
    assert!(!success && error.contains("--tls-key"), "{error}");
    let (success, error) =
        relay(&["--store", "memory:", "--tls-cert", "/no/file", "--tls-key", "/no/file"]);
    assert!(!success && error.contains("cannot read /no/file"), "{error}");
}
