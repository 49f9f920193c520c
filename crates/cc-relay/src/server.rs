//! The relay on a network: connections, TLS, and the end of it all.

mod http;
mod memory;
mod patience;
mod tls;
mod websocket;

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::http::HeaderName;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::{mpsc, watch},
    task::JoinSet,
    time::timeout,
};
use tokio_rustls::TlsAcceptor;

use crate::{ClientAddress, Relay, metrics::add};
use memory::Memory;
use patience::Patient;

pub use tls::TlsError;

/// How a [`Server`] behaves.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Connections at the same time, of all clients.
    pub connections: usize,
    /// For a TLS handshake, for the head of a request, and for a client that reads nothing of its answer. A
    /// body has as long, and a second more for each 16 KiB that have come; an answer is read as fast.
    pub patience: Duration,
    /// Bytes of requests and answers in memory at the same time, of which one client has a quarter at the most
    /// (or as much as it takes for two requests). It should be more than 64 MiB.
    pub memory: usize,
    /// How often the client of a WebSocket is asked whether it is still there; it has as long to answer. A
    /// millisecond to a day.
    pub ping: Duration,
    /// For requests under way when the server is to end.
    pub grace: Duration,
    /// A header that has the client's address in its last field, as a reverse proxy sets it; without one the
    /// address is that of the connection. Never set it where clients connect directly.
    pub address_header: Option<String>,
    /// Whether `/metrics` is served beside the rest.
    pub metrics: bool,
}

impl Default for ServerOptions {
    /// 10 000 connections, 15 seconds, 512 MiB, 30 seconds, 10 seconds; no proxy, no metrics.
    fn default() -> Self {
        Self {
            connections: 10_000,
            patience: Duration::from_secs(15),
            memory: 512 << 20,
            ping: Duration::from_secs(30),
            grace: Duration::from_secs(10),
            address_header: None,
            metrics: false,
        }
    }
}

/// Of [`ServerOptions::ping`]: no timer goes without a pause, or for ever.
const PINGS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

/// A [`Relay`] that listens.
pub struct Server {
    listener: TcpListener,
    shared: Arc<Shared>,
    tls: Option<TlsAcceptor>,
}

/// What all connections know.
#[derive(Debug)]
struct Shared {
    relay: Relay,
    options: ServerOptions,
    address_header: Option<HeaderName>,
    memory: Memory,
    /// Open connections, by client. WebSockets are among them until they are closed.
    open: Mutex<HashMap<ClientAddress, u32>>,
    /// All of them.
    total: AtomicUsize,
    ending: watch::Receiver<bool>,
    end: watch::Sender<bool>,
}

impl Server {
    /// Listens at this address, with TLS if there are a certificate chain and its key, both in PEM.
    ///
    /// # Errors
    /// The system's, for the address; [`TlsError`], inside of an [`io::Error`], for the certificate;
    /// [`InvalidInput`](io::ErrorKind::InvalidInput) for a [`ping`](ServerOptions::ping) out of its bounds.
    pub async fn bind(
        address: SocketAddr,
        relay: Relay,
        options: ServerOptions,
        tls: Option<(&[u8], &[u8])>,
    ) -> io::Result<Self> {
        if !PINGS.contains(&options.ping) {
            let error = "the time between two pings is not a millisecond to a day";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, error));
        }
        let tls = tls.map(|(chain, key)| tls::acceptor(chain, key)).transpose();
        let tls = tls.map_err(io::Error::other)?;
        let header = options.address_header.as_deref().map(HeaderName::try_from).transpose();
        let address_header = header.map_err(io::Error::other)?;
        let listener = TcpListener::bind(address).await?;
        let (end, ending) = watch::channel(false);
        let memory = Memory::new(options.memory);
        let open = Mutex::default();
        let total = AtomicUsize::new(0);
        let shared = Shared { relay, options, address_header, memory, open, total, ending, end };
        Ok(Self { listener, shared: Arc::new(shared), tls })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The system's.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `end` is done; then takes no more connections, finishes the requests under way, closes the
    /// WebSockets, and returns.
    pub async fn serve(self, end: impl Future<Output = ()>) {
        let Self { listener, shared, tls } = self;
        let mut connections = JoinSet::new();
        // Whoever is open has a copy of the one end, so that the other tells when nobody is any more.
        let (alive, mut gone) = mpsc::channel::<()>(1);
        tokio::pin!(end);
        loop {
            let accepted = tokio::select! {
                () = &mut end => break,
                Some(_) = connections.join_next() => continue,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _))
                    if shared.total.load(Ordering::Relaxed) >= shared.options.connections =>
                {
                    drop(stream);
                }
                Ok((stream, peer)) => {
                    let Some(open) = Open::new(&shared, peer.ip().into(), &alive) else {
                        add(&shared.relay.metrics().limited, 1);
                        continue;
                    };
                    let tls = tls.clone();
                    connections.spawn(connection(Arc::new(open), tls, stream, peer));
                }
                Err(error) => {
                    // No more file descriptors, for example: those that are open may end.
                    tracing::warn!(%error, "no connection could be accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
        drop((listener, alive));
        // Nobody listening is no failure: there are no connections then.
        let _none = shared.end.send(true);
        if timeout(shared.options.grace, gone.recv()).await.is_err() {
            let connections = shared.total.load(Ordering::Relaxed);
            tracing::warn!(connections, "connections did not end in time");
        }
    }
}

/// One connection of a client, also when it has become a WebSocket; counted as long as it lives.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    client: ClientAddress,
    _alive: mpsc::Sender<()>,
}

impl Open {
    /// `None` where the client has too many.
    fn new(shared: &Arc<Shared>, client: ClientAddress, alive: &mpsc::Sender<()>) -> Option<Self> {
        let limit = shared.relay.limits().client_connections;
        let mut open = shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(client).or_insert(0);
        // Behind a proxy all connections are the proxy's.
        if limit != 0 && *count >= limit && shared.address_header.is_none() {
            return None;
        }
        *count += 1;
        shared.total.fetch_add(1, Ordering::Relaxed);
        add(&shared.relay.metrics().connections, 1);
        Some(Self { shared: Arc::clone(shared), client, _alive: alive.clone() })
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.total.fetch_sub(1, Ordering::Relaxed);
        self.shared.relay.metrics().connections.fetch_sub(1, Ordering::Relaxed);
        let mut open = self.shared.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.client) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.client);
            }
        }
    }
}

async fn connection(
    open: Arc<Open>,
    tls: Option<TlsAcceptor>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    // Answers are small: waiting for more to send only makes them late.
    let _unimportant = stream.set_nodelay(true);
    let patience = open.shared.options.patience;
    let stream = Patient::new(stream, patience);
    match tls {
        None => speak_http(&open, stream, peer.ip()).await,
        Some(tls) => {
            // Who fails or does not finish is a port scan, or a client that does not trust us.
            if let Ok(Ok(stream)) = timeout(patience, tls.accept(stream)).await {
                speak_http(&open, stream, peer.ip()).await;
            }
        }
    }
}

async fn speak_http<S>(open: &Arc<Open>, stream: S, peer: IpAddr)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(http::router(Arc::clone(open), peer));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(open.shared.options.patience)
        .max_buf_size(64 << 10)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    tokio::pin!(connection);
    let mut ending = open.shared.ending.clone();
    tokio::select! {
        // A connection that breaks is the client's affair.
        _ended = &mut connection => {}
        () = ended(&mut ending) => {
            connection.as_mut().graceful_shutdown();
            let _ended = connection.await;
        }
    }
}

/// Done when the server is to end.
async fn ended(ending: &mut watch::Receiver<bool>) {
    // An error means that the server is no more.
    let _ending = ending.wait_for(|ending| *ending).await;
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}
