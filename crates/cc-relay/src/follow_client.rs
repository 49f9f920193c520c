//! Being told that a log has something new, over a WebSocket.

use std::{fmt, sync::Arc};

use cc_client::{LogId, Request};
use futures_util::{SinkExt as _, StreamExt as _};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    Connector, MaybeTlsStream, WebSocketStream, connect_async_tls_with_config,
    tungstenite::{Message, protocol::WebSocketConfig},
};

use crate::{FollowRequest, MAX_NOTICE_LEN, Notice, RelayUrl};

/// A connection on which a relay tells what is new. When it breaks, make another one, follow everything anew,
/// and read once: nothing is lost by it, for notices only say where to look.
pub struct FollowStream(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// Why nothing can be followed on this connection any more.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FollowError {
    /// There is no connection.
    #[error("the relay cannot be followed")]
    Connection(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The relay closed it, as it does when it is restarted.
    #[error("the relay closed the connection")]
    Closed,
    /// What came is not of this protocol.
    #[error("the relay speaks another protocol")]
    Protocol,
    /// Not a certificate in PEM.
    #[error("not a certificate in PEM")]
    Certificate,
    /// Only reads can be followed.
    #[error("only a read can be followed")]
    NotARead,
}

impl FollowStream {
    /// Connects to a relay; with a certificate in PEM, to one whose certificate is this one or signed with it.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn connect(url: &RelayUrl, root: Option<&[u8]>) -> Result<Self, FollowError> {
        let connector =
            if url.is_secure() { Connector::Rustls(tls(root)?) } else { Connector::Plain };
        let config = WebSocketConfig::default()
            .max_message_size(Some(MAX_NOTICE_LEN))
            .max_frame_size(Some(MAX_NOTICE_LEN));
        let connect =
            connect_async_tls_with_config(url.follow(), Some(config), true, Some(connector));
        let (socket, _response) = connect.await.map_err(connection_error)?;
        Ok(Self(socket))
    }

    /// Follows the log that this request reads, from behind the position that it reads from, with its access. The
    /// request may be one that was done already.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn follow(&mut self, request: &Request) -> Result<(), FollowError> {
        self.send(&FollowRequest::Follow(request.clone())).await
    }

    /// No more of this log. What was said of it already may still come.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn unfollow(&mut self, log: &LogId) -> Result<(), FollowError> {
        self.send(&FollowRequest::Unfollow(*log)).await
    }

    /// What the relay says next. A call that is dropped before it is done loses nothing.
    ///
    /// # Errors
    /// [`FollowError`].
    pub async fn next(&mut self) -> Result<Notice, FollowError> {
        loop {
            match self.0.next().await {
                Some(Ok(Message::Binary(bytes))) => {
                    return Notice::from_bytes(&bytes).map_err(|_| FollowError::Protocol);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Err(FollowError::Closed),
                Some(Ok(_)) => return Err(FollowError::Protocol),
                Some(Err(error)) => return Err(connection_error(error)),
            }
        }
    }

    async fn send(&mut self, request: &FollowRequest) -> Result<(), FollowError> {
        let bytes = request.to_bytes().map_err(|_| FollowError::NotARead)?;
        self.0.send(Message::Binary(bytes.into())).await.map_err(connection_error)
    }
}

fn connection_error(error: impl std::error::Error + Send + Sync + 'static) -> FollowError {
    FollowError::Connection(Box::new(error))
}

fn tls(root: Option<&[u8]>) -> Result<Arc<ClientConfig>, FollowError> {
    let mut roots = RootCertStore::empty();
    match root {
        Some(pem) => {
            let root = CertificateDer::from_pem_slice(pem).map_err(|_| FollowError::Certificate)?;
            roots.add(root).map_err(|_| FollowError::Certificate)?;
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(connection_error)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

impl fmt::Debug for FollowStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FollowStream").finish_non_exhaustive()
    }
}
