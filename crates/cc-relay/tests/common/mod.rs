//! A relay in this process or in its own, and requests to it.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use cc_client::{
    AccessToken, Append, Call, Failure, Follows, LogId, MailboxKey, Page, Position, Purpose, Read,
    ReadAccess, Reply, Request, RequestId,
};
use cc_core::Secret;
use cc_relay::{Limits, Rate, Relay, RelayUrl, Server, ServerOptions, storage::Storage};
use tokio::sync::oneshot;

/// No limits, for tests that are about something else.
pub fn unlimited() -> Limits {
    let none = Rate::new(0, 0);
    Limits {
        client_requests: none,
        client_bytes: none,
        client_connections: 0,
        client_logs: 0,
        log_items: none,
        log_bytes: none,
        mailbox_items: none,
    }
}

/// A server in this process.
pub struct Running {
    pub url: RelayUrl,
    pub relay: Relay,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

pub fn start(storage: Arc<dyn Storage>, limits: Limits, options: ServerOptions) -> Running {
    start_tls(storage, limits, options, None)
}

pub fn start_tls(
    storage: Arc<dyn Storage>,
    limits: Limits,
    options: ServerOptions,
    tls: Option<(String, String)>,
) -> Running {
    let (end, ended) = oneshot::channel::<()>();
    let (tell, told) = std::sync::mpsc::channel();
    let relay = Relay::new(storage, limits);
    let served = relay.clone();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let files = tls.as_ref().map(|(chain, key)| (chain.as_bytes(), key.as_bytes()));
            let address = "127.0.0.1:0".parse().unwrap();
            let server = Server::bind(address, served, options, files).await.unwrap();
            tell.send(server.local_addr().unwrap()).unwrap();
            server
                .serve(async {
                    let _dropped = ended.await;
                })
                .await;
        });
    });
    let address = told.recv().unwrap();
    let url = match thread.is_finished() {
        true => panic!("the server has ended"),
        false => format!("http://{address}").parse().unwrap(),
    };
    Running { url, relay, end: Some(end), thread: Some(thread) }
}

impl Running {
    pub fn address(&self) -> String {
        self.url.to_string().split_once("://").unwrap().1.to_owned()
    }

    pub fn secure(&self) -> RelayUrl {
        format!("https://localhost:{}", self.address().rsplit_once(':').unwrap().1).parse().unwrap()
    }

    /// Ends as on SIGTERM, and waits for it.
    pub fn stop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
    }
}

/// The program, which can be killed.
pub struct Process {
    child: Child,
    store: PathBuf,
    pub url: RelayUrl,
}

impl Process {
    pub fn start(store: &Path) -> Self {
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
    pub fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let address = self.url.to_string().split_once("://").unwrap().1.to_owned();
        *self = Self::start_at(&self.store, &address);
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn wait(&mut self) -> std::process::ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

pub fn id() -> RequestId {
    RequestId::random().unwrap()
}

pub fn token(byte: u8) -> AccessToken {
    AccessToken::new(Secret::take(&mut [byte; 32]))
}

pub fn append(log: LogId, access: Option<&AccessToken>, items: &[&[u8]]) -> Request {
    let items = items.iter().map(|item| item.to_vec()).collect();
    let append = Append { log, access: access.cloned(), commit: None, items };
    Request { id: id(), call: Call::Append(append) }
}

pub fn commit(log: LogId, access: &AccessToken, after: u64, next: Option<&AccessToken>) -> Request {
    let next = next.map(AccessToken::hash);
    let commit = Some(Follows { after: Position(after), next });
    let items = vec![b"commit".to_vec()];
    let append = Append { log, access: Some(access.clone()), commit, items };
    Request { id: id(), call: Call::Append(append) }
}

pub fn read(log: LogId, after: u64, token: &AccessToken) -> Request {
    let access = ReadAccess::Token(token.clone());
    Request { id: id(), call: Call::Read(Read { log, after: Position(after), access }) }
}

pub fn read_mailbox(key: &MailboxKey, after: u64) -> Request {
    let (id, after) = (id(), Position(after));
    let access = ReadAccess::Owner(key.prove(id, Purpose::Read(after)));
    Request { id, call: Call::Read(Read { log: key.address(), after, access }) }
}

pub fn page(result: Result<Reply, Failure>) -> Page {
    match result {
        Ok(Reply::Page(page)) => page,
        other => panic!("no page: {other:?}"),
    }
}

/// Writes bytes to a new connection, and gives what comes back until it is closed.
pub fn raw(address: &str, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&raw_bytes(address, bytes)).into_owned()
}

/// As [`raw`], with whatever the answer's body is.
pub fn raw_bytes(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The relay may close before it has read everything.
    let _refused = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    answer
}

/// A request with this body, on a connection that is closed after it.
pub fn http(body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/request HTTP/1.1\r\nhost: relay\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
