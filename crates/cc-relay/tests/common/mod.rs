//! A relay in this process or in its own, and requests to it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    sync::Arc,
    time::Duration,
};

use cc_client::{
    AccessToken, Append, Call, Failure, Follows, LogId, MailboxKey, Page, Position, Purpose, Read,
    ReadAccess, Refusal, Reply, Request, RequestId,
};
use cc_core::Secret;
use cc_relay::{
    HttpService, Limits, Rate, Relay, RelayUrl, Server, ServerOptions,
    storage::{MemoryStorage, Retention, Storage},
};
use tokio::sync::oneshot;

/// No limits, for tests that are about something else.
pub(crate) fn unlimited() -> Limits {
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
pub(crate) struct Running {
    pub(crate) url: RelayUrl,
    pub(crate) relay: Relay,
    end: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

pub(crate) fn start(storage: Arc<dyn Storage>, limits: Limits, options: ServerOptions) -> Running {
    start_tls(storage, limits, options, None)
}

pub(crate) fn start_tls(
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
    pub(crate) fn address(&self) -> String {
        self.url.to_string().split_once("://").unwrap().1.to_owned()
    }

    pub(crate) fn secure(&self) -> RelayUrl {
        format!("https://localhost:{}", self.address().rsplit_once(':').unwrap().1).parse().unwrap()
    }

    /// Ends as on SIGTERM, and waits for it.
    pub(crate) fn stop(&mut self) {
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

pub(crate) fn memory() -> Arc<dyn Storage> {
    Arc::new(MemoryStorage::new(Retention::default()))
}

pub(crate) fn open_relay() -> (Running, HttpService) {
    let relay = start(memory(), unlimited(), ServerOptions::default());
    let service = HttpService::new(&relay.url);
    (relay, service)
}

pub(crate) const DENIED: Result<Reply, Failure> = Err(Failure::Refused(Refusal::Denied));

pub(crate) fn appended(position: u64) -> Result<Reply, Failure> {
    Ok(Reply::Appended(Position(position)))
}

pub(crate) fn id() -> RequestId {
    RequestId::random().unwrap()
}

pub(crate) fn token(byte: u8) -> AccessToken {
    AccessToken::new(Secret::take(&mut [byte; 32]))
}

pub(crate) fn append(log: LogId, access: Option<&AccessToken>, items: &[&[u8]]) -> Request {
    let items = items.iter().map(|item| item.to_vec()).collect();
    let append = Append { log, access: access.cloned(), commit: None, items };
    Request { id: id(), call: Call::Append(append) }
}

pub(crate) fn commit(
    log: LogId,
    access: &AccessToken,
    after: u64,
    next: Option<&AccessToken>,
) -> Request {
    let next = next.map(AccessToken::hash);
    let commit = Some(Follows { after: Position(after), next });
    let items = vec![b"commit".to_vec()];
    let append = Append { log, access: Some(access.clone()), commit, items };
    Request { id: id(), call: Call::Append(append) }
}

pub(crate) fn read(log: LogId, after: u64, token: &AccessToken) -> Request {
    let access = ReadAccess::Token(token.clone());
    Request { id: id(), call: Call::Read(Read { log, after: Position(after), access }) }
}

pub(crate) fn read_mailbox(key: &MailboxKey, after: u64) -> Request {
    let (id, after) = (id(), Position(after));
    let access = ReadAccess::Owner(key.prove(id, Purpose::Read(after)));
    Request { id, call: Call::Read(Read { log: key.address(), after, access }) }
}

pub(crate) fn page(result: Result<Reply, Failure>) -> Page {
    match result {
        Ok(Reply::Page(page)) => page,
        other => panic!("no page: {other:?}"),
    }
}

/// Writes bytes to a new connection, and gives what comes back until it is closed.
pub(crate) fn raw(address: &str, bytes: &[u8]) -> String {
    String::from_utf8_lossy(&raw_bytes(address, bytes)).into_owned()
}

/// As [`raw`], with whatever the answer's body is.
pub(crate) fn raw_bytes(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // The relay may close before it has read everything.
    let _refused = stream.write_all(bytes);
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    answer
}

/// A request with this body, on a connection that is closed after it.
pub(crate) fn http(body: &[u8]) -> Vec<u8> {
    http_with("", body)
}

/// With these headers as well, each of which ends its line.
pub(crate) fn http_with(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /v1/request HTTP/1.1\r\nhost: relay\r\n{headers}connection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}
