//! The wire between the members and the relay: it passes everything on, remembers what it saw, and changes one bit of
//! a message when it is told to.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use cc_client::{Call, LogId, Read, ReadAccess, Request};

/// Bytes of a request's head.
const MAX_HEAD: u64 = 64 << 10;
/// Bytes of a request's body.
const MAX_BODY: usize = 32 << 20;

/// What the wire saw, and what it is to do.
#[derive(Default)]
struct State {
    change_next: bool,
    changed: u64,
    seen: Seen,
}

/// What somebody on the wire, or the relay, sees.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Requests by kind, with the bytes of their bodies.
    pub(crate) appends: (u64, u64),
    pub(crate) commits: u64,
    pub(crate) reads: u64,
    pub(crate) key_packages: u64,
    pub(crate) claims: u64,
    /// All addresses of logs.
    pub(crate) logs: Vec<LogId>,
    /// The last read of a group's log.
    pub(crate) last_read: Option<Read>,
    /// Everything, in both directions.
    pub(crate) bytes: Vec<u8>,
}

/// A TCP proxy on a loopback port.
#[derive(Clone)]
pub(crate) struct Wire {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Wire {
    /// Listens, and passes everything on to the relay at this address.
    pub(crate) fn start(relay: SocketAddr) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let wire = Self { address: listener.local_addr()?, state: Arc::default() };
        let state = Arc::clone(&wire.state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = Arc::clone(&state);
                // A connection that breaks is made anew by the member.
                thread::spawn(move || connection(client, relay, &state));
            }
        });
        Ok(wire)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Flips one bit of the next message on its way to the relay.
    pub(crate) fn change_next_message(&self) {
        lock(&self.state).change_next = true;
    }

    /// How many messages were changed.
    pub(crate) fn changed(&self) -> u64 {
        lock(&self.state).changed
    }

    pub(crate) fn seen(&self) -> Seen {
        lock(&self.state).seen.clone()
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connection(client: TcpStream, relay: SocketAddr, state: &Arc<Mutex<State>>) -> io::Result<()> {
    let relay = TcpStream::connect(relay)?;
    client.set_nodelay(true)?;
    relay.set_nodelay(true)?;
    let (mut from, mut to) = (relay.try_clone()?, client.try_clone()?);
    let answers = Arc::clone(state);
    thread::spawn(move || {
        let mut piece = [0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            let Some(bytes) = piece.get(..count) else { break };
            lock(&answers).seen.bytes.extend_from_slice(bytes);
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    let result = requests(client, &relay, state);
    let _ = relay.shutdown(Shutdown::Both);
    result
}

/// One request after another; after a change to WebSocket, whatever comes.
fn requests(client: TcpStream, mut relay: &TcpStream, state: &Mutex<State>) -> io::Result<()> {
    let mut client = BufReader::new(client);
    loop {
        let (mut head, mut length, mut upgrade) = (Vec::new(), 0, false);
        loop {
            let mut line = Vec::new();
            if (&mut client).take(MAX_HEAD).read_until(b'\n', &mut line)? == 0 {
                return Ok(());
            }
            head.extend_from_slice(&line);
            let line = String::from_utf8_lossy(&line).to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
            upgrade |= line.starts_with("upgrade:");
            if line.trim().is_empty() {
                break;
            }
        }
        if length > MAX_BODY {
            return Err(io::Error::other("longer than any request"));
        }
        let mut body = vec![0; length];
        client.read_exact(&mut body)?;
        if let Ok(request) = Request::from_bytes(&body) {
            body = look_at(request, body, state);
        }
        relay.write_all(&head)?;
        relay.write_all(&body)?;
        lock(state).seen.bytes.extend_from_slice(&body);
        if upgrade {
            io::copy(&mut client, &mut relay)?;
            return Ok(());
        }
    }
}

/// Takes note of a request, and gives the bytes to pass on.
fn look_at(mut request: Request, body: Vec<u8>, state: &Mutex<State>) -> Vec<u8> {
    let mut state = lock(state);
    let seen = &mut state.seen;
    let length = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let log = match &request.call {
        Call::Append(append) => {
            seen.appends = (seen.appends.0 + 1, seen.appends.1.saturating_add(length));
            seen.commits += u64::from(append.commit.is_some());
            append.log
        }
        Call::Read(read) => {
            seen.reads += 1;
            if let ReadAccess::Token(_) = read.access {
                seen.last_read = Some(read.clone());
            }
            read.log
        }
        Call::Publish(publish) => {
            seen.key_packages += u64::try_from(publish.packages.len()).unwrap_or(u64::MAX);
            publish.mailbox
        }
        Call::Claim(mailbox) => {
            seen.claims += 1;
            *mailbox
        }
    };
    if !seen.logs.contains(&log) {
        seen.logs.push(log);
    }
    if state.change_next
        && let Call::Append(append) = &mut request.call
        && append.access.is_some()
        && append.commit.is_none()
        && let Some(item) = append.items.first_mut()
    {
        let middle = item.len() / 2;
        if let Some(byte) = item.get_mut(middle) {
            *byte ^= 1;
        }
        if let Ok(changed) = request.to_bytes() {
            (state.change_next, state.changed) = (false, state.changed + 1);
            return changed;
        }
    }
    body
}
