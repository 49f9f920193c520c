//! A relay as a [`DeliveryService`], over HTTP, with calls that block.

use std::{fmt, time::Duration};

use cc_client::{
    Answer, Append, Call, DeliveryService, Failure, LogId, MAX_ANSWER_LEN, Page, Position, Publish,
    Read, Refusal, Reply, Request, RequestId, WireError,
};
use ureq::{
    Agent,
    tls::{Certificate, RootCerts, TlsConfig},
};
use zeroize::Zeroizing;

use crate::RelayUrl;

/// How long a relay may be silent, unless told otherwise.
const PATIENCE: Duration = Duration::from_secs(30);
/// What a line carries at least, as relays demand of it, too.
const BYTES_PER_SECOND: usize = 16 << 10;
/// Milliseconds to wait where the relay is busy and does not say how long.
const BUSY: u64 = 1_000;
/// Milliseconds that are waited at the most, whatever a relay or a proxy before it says: no relay asks for more,
/// and a client that believes in years is silent long after the other has come to its senses.
const LONGEST_WAIT: u64 = 3_600_000;

/// A relay over HTTP. Connections are kept open and used again; clones share them.
#[derive(Clone)]
pub struct HttpService {
    agent: Agent,
    url: RelayUrl,
    roots: RootCerts,
    patience: Duration,
}

/// Not a certificate in PEM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a certificate in PEM")]
pub struct CertificateError;

impl HttpService {
    /// The relay at this address, whose certificate is of an authority that browsers know.
    #[must_use]
    pub fn new(url: &RelayUrl) -> Self {
        Self::with(url.clone(), RootCerts::WebPki, PATIENCE)
    }

    /// A relay whose certificate is this one, or signed with this one, in PEM; no other authority counts.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn with_root_certificate(url: &RelayUrl, pem: &[u8]) -> Result<Self, CertificateError> {
        let root = Certificate::from_pem(pem).map_err(|_| CertificateError)?.to_owned();
        Ok(Self::with(url.clone(), RootCerts::new_with_certs(&[root]), PATIENCE))
    }

    /// The same relay, which may be silent for so long before a request fails with [`Failure::Unknown`]: 30
    /// seconds unless set. A request takes as long as something comes, and not more than a line of 16 KiB a
    /// second needs for the largest answer.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self::with(self.url, self.roots, patience)
    }

    fn with(url: RelayUrl, roots: RootCerts, patience: Duration) -> Self {
        let tls = TlsConfig::builder().root_certs(roots.clone()).build();
        let config = Agent::config_builder();
        // A proxy of the surroundings is the way to other machines, not to this one.
        let config = if url.is_loopback() { config.proxy(None) } else { config };
        let agent = config
            .tls_config(tls)
            .http_status_as_error(false)
            .timeout_connect(Some(patience))
            .timeout_per_read(Some(patience))
            .timeout_per_write(Some(patience))
            .max_redirects(0)
            .build()
            .new_agent();
        Self { agent, url, roots, patience }
    }

    /// Does a request; of what kind the reply is, the request says.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn perform(&self, request: &Request) -> Result<Reply, Failure> {
        let bytes = match request.to_bytes() {
            Ok(bytes) => Zeroizing::new(bytes),
            Err(WireError::TooLong) => return Err(Failure::Refused(Refusal::TooLarge)),
            Err(_) => return Err(Failure::Unknown),
        };
        let result = match self.exchange(request.id, &bytes) {
            Ok(result) => result,
            Err(ureq::Error::Timeout(_)) => Err(Failure::Unknown),
            // The connection may be one that the relay has closed since. Under one id nothing is done twice.
            Err(_) => self.exchange(request.id, &bytes).unwrap_or(Err(Failure::Unknown)),
        };
        match result {
            Err(Failure::Refused(Refusal::Busy { retry_after })) => {
                let retry_after = retry_after.min(LONGEST_WAIT);
                Err(Failure::Refused(Refusal::Busy { retry_after }))
            }
            result => result,
        }
    }

    fn exchange(&self, id: RequestId, bytes: &[u8]) -> Result<Result<Reply, Failure>, ureq::Error> {
        // Against a relay that sends a byte now and then.
        let seconds = (bytes.len() + MAX_ANSWER_LEN) / BYTES_PER_SECOND;
        let longest = Duration::from_secs(u64::try_from(seconds).unwrap_or(u64::MAX));
        let request = self.agent.post(self.url.request()).content_type("application/octet-stream");
        let request = request.config().timeout_global(Some(longest + 2 * self.patience)).build();
        let mut response = request.send(bytes)?;
        Ok(match response.status().as_u16() {
            200 => {
                let limit = u64::try_from(MAX_ANSWER_LEN).unwrap_or(u64::MAX);
                let body = response.body_mut().with_config().limit(limit).read_to_vec()?;
                match Answer::from_bytes(&body) {
                    Ok(answer) if answer.id == id => answer.result,
                    _ => Err(Failure::Unknown),
                }
            }
            413 => Err(Failure::Refused(Refusal::TooLarge)),
            429 => {
                let wait = response.headers().get("retry-after");
                let wait = wait.and_then(|wait| wait.to_str().ok()?.parse::<u32>().ok());
                let retry_after = wait.map_or(BUSY, |seconds| u64::from(seconds) * 1_000);
                Err(Failure::Refused(Refusal::Busy { retry_after }))
            }
            // Of a proxy, or of a relay that has trouble.
            _ => Err(Failure::Unknown),
        })
    }
}

impl DeliveryService for HttpService {
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        match self.perform(&Request { id, call: Call::Append(append.clone()) })? {
            Reply::Appended(position) => Ok(position),
            _ => Err(Failure::Unknown),
        }
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        match self.perform(&Request { id, call: Call::Read(read.clone()) })? {
            Reply::Page(page) => Ok(page),
            _ => Err(Failure::Unknown),
        }
    }

    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        match self.perform(&Request { id, call: Call::Publish(publish.clone()) })? {
            Reply::Published { remaining } => Ok(remaining),
            _ => Err(Failure::Unknown),
        }
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        match self.perform(&Request { id, call: Call::Claim(*mailbox) })? {
            Reply::Claimed(package) => Ok(package),
            _ => Err(Failure::Unknown),
        }
    }
}

impl fmt::Debug for HttpService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpService").field("url", &self.url).finish_non_exhaustive()
    }
}
