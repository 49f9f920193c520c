//! The relay as a program: its arguments, and what it does with them. For `cc-relay`, and for programs that have it as a
//! command.

use std::{error::Error, io::Write as _, net::SocketAddr, path::PathBuf};

use crate::{
    Limits, Rate, Relay, Server, ServerOptions,
    storage::{self, Retention},
};
use clap::{Args, ValueEnum};

/// Minutes between two rounds of deleting what is kept no longer.
const EXPIRY_MINUTES: u64 = 10;

/// Where the relay listens, where it keeps everything, and how much of it.
#[derive(Debug, Args)]
pub struct Options {
    /// Where to listen. Port 0 takes a free one; the address is printed.
    #[arg(long, env = "CC_RELAY_LISTEN", default_value = "127.0.0.1:4480", value_name = "ADDR")]
    listen: SocketAddr,
    /// Where to keep everything: sqlite:PATH, or memory: (which is empty after a restart).
    #[arg(long, env = "CC_RELAY_STORE", default_value = "sqlite:relay.db", value_name = "URL")]
    store: String,
    /// A certificate chain in PEM. Without one, have a reverse proxy do TLS.
    #[arg(long, env = "CC_RELAY_TLS_CERT", value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    #[arg(long, env = "CC_RELAY_TLS_KEY", value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Where to serve /metrics for Prometheus; without TLS, so not to the outside.
    #[arg(long, env = "CC_RELAY_METRICS", value_name = "ADDR")]
    metrics: Option<SocketAddr>,
    /// A header in which a reverse proxy gives the client's address in the last field, as X-Forwarded-For. Only
    /// behind such a proxy.
    #[arg(long, env = "CC_RELAY_ADDRESS_HEADER", value_name = "NAME")]
    address_header: Option<String>,
    /// Days that messages and answers are kept.
    #[arg(long, default_value_t = 30, value_name = "DAYS")]
    keep_days: u16,
    /// Days without a message after which a group's log is deleted for good.
    #[arg(long, default_value_t = 365, value_name = "DAYS")]
    idle_days: u16,
    /// MiB kept of one group.
    #[arg(long, default_value_t = 256, value_name = "MIB")]
    log_mib: u32,
    /// MiB kept of one mailbox.
    #[arg(long, default_value_t = 32, value_name = "MIB")]
    mailbox_mib: u32,
    /// MiB kept of everything. From three quarters on nothing new is begun; groups at work have the rest.
    #[arg(long, default_value_t = 16 << 10, value_name = "MIB")]
    total_mib: u32,
    /// Requests a second of one client address; 0 for no limit. Twenty seconds of them may come at once.
    #[arg(long, default_value_t = 200, value_name = "RATE")]
    client_requests: u32,
    /// Connections of one client address; 0 for no limit.
    #[arg(long, default_value_t = 256, value_name = "COUNT")]
    client_connections: u32,
    /// Groups, mailboxes and attachments that one client address begins in an hour; 0 for no limit.
    #[arg(long, default_value_t = 1000, value_name = "COUNT")]
    client_logs: u32,
    /// Messages a second in one group; 0 for no limit. Twenty seconds of them may come at once.
    #[arg(long, default_value_t = 200, value_name = "RATE")]
    log_items: u32,
    /// Invitations a second to one mailbox; 0 for no limit. A minute of them may come at once.
    #[arg(long, default_value_t = 5, value_name = "RATE")]
    mailbox_items: u32,
    /// Connections of all clients.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    connections: usize,
    /// How to log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, value_name = "FORMAT")]
    log_format: LogFormat,
    /// Log every request: its kind, its outcome and its time.
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// For the help of the program.
pub const EXAMPLES: &str = "Examples:
  Try it on this machine:
      cc-relay --store memory:
  On the open internet, with a certificate:
      cc-relay --listen [::]:443 --store sqlite:/var/lib/cc-relay/relay.db \\
          --tls-cert fullchain.pem --tls-key privkey.pem --metrics 127.0.0.1:9480
  Behind a reverse proxy that does TLS:
      cc-relay --listen 127.0.0.1:4480 --store sqlite:relay.db --address-header X-Forwarded-For

It ends on SIGTERM or Ctrl-C, after the requests under way. It may be killed at any time: what it has
acknowledged is on disk.";

/// Serves until SIGTERM or Ctrl-C. The address is printed when it listens, and the log goes to standard error.
///
/// # Errors
/// What there is to say to whoever started it.
pub fn run(options: Options) -> Result<(), Box<dyn Error>> {
    start_log(&options);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve(options))
}

fn start_log(options: &Options) {
    let level = if options.verbose { tracing::Level::DEBUG } else { tracing::Level::INFO };
    // Only what the relay itself says: what libraries say may have an address in it.
    let filter = tracing_subscriber::filter::Targets::new().with_target("cc_relay", level);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    use tracing_subscriber::{Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};
    match options.log_format {
        LogFormat::Text => registry.with(layer.with_ansi(false).with_filter(filter)).init(),
        LogFormat::Json => registry.with(layer.json().with_filter(filter)).init(),
    }
}

async fn serve(options: Options) -> Result<(), Box<dyn Error>> {
    let storage = storage::open(&options.store, retention(&options))?;
    let relay = Relay::new(storage, limits(&options));
    let server_options = ServerOptions {
        connections: options.connections,
        address_header: options.address_header.clone(),
        ..ServerOptions::default()
    };
    let tls = match (&options.tls_cert, &options.tls_key) {
        (Some(chain), Some(key)) => Some((read_file(chain)?, read_file(key)?)),
        _ => None,
    };
    let tls = tls.as_ref().map(|(chain, key)| (&chain[..], &key[..]));
    let cannot_listen = |address: SocketAddr| {
        move |error: std::io::Error| format!("cannot listen at {address}: {error}")
    };
    let server = Server::bind(options.listen, relay.clone(), server_options.clone(), tls);
    let server = server.await.map_err(cannot_listen(options.listen))?;
    if let Some(address) = options.metrics {
        let with_metrics = ServerOptions { metrics: true, ..server_options };
        let metrics = Server::bind(address, relay.clone(), with_metrics, None);
        let metrics = metrics.await.map_err(cannot_listen(address))?;
        tokio::spawn(metrics.serve(std::future::pending()));
    }
    let end = end()?;
    let expiry = tokio::spawn(expire(relay));
    let scheme = if tls.is_some() { "https" } else { "http" };
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening at {scheme}://{}", server.local_addr()?)?;
    stdout.flush()?;
    tracing::info!("listening");
    server.serve(end).await;
    expiry.abort();
    tracing::info!("ended");
    Ok(())
}

fn read_file(path: &PathBuf) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
}

fn retention(options: &Options) -> Retention {
    Retention {
        age: u32::from(options.keep_days) * 24,
        idle: u32::from(options.idle_days) * 24,
        log_bytes: u64::from(options.log_mib) << 20,
        mailbox_bytes: u64::from(options.mailbox_mib) << 20,
        total_bytes: u64::from(options.total_mib) << 20,
        ..Retention::default()
    }
}

fn limits(options: &Options) -> Limits {
    let defaults = Limits::default();
    // Without a limit on requests there is none on their bytes.
    let unless_off = |rate: u32, limit| if rate == 0 { Rate::new(0, 0) } else { limit };
    Limits {
        client_requests: Rate::new(options.client_requests, 20),
        client_bytes: unless_off(options.client_requests, defaults.client_bytes),
        client_connections: options.client_connections,
        client_logs: options.client_logs,
        log_items: Rate::new(options.log_items, 20),
        log_bytes: unless_off(options.log_items, defaults.log_bytes),
        mailbox_items: Rate::new(options.mailbox_items, 60),
    }
}

async fn expire(relay: Relay) {
    let mut rounds = tokio::time::interval(std::time::Duration::from_secs(EXPIRY_MINUTES * 60));
    loop {
        rounds.tick().await;
        if let Err(error) = relay.expire().await {
            tracing::error!(%error, "what is kept no longer was not deleted");
        }
    }
}

/// Done when the program is to end.
fn end() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    Ok(async move {
        #[cfg(unix)]
        tokio::select! {
            _signal = terminate.recv() => {}
            _signal = tokio::signal::ctrl_c() => {}
        }
        #[cfg(not(unix))]
        let _signal = tokio::signal::ctrl_c().await;
    })
}
