#![doc = include_str!("../README.md")]

#[cfg(feature = "client")]
mod client;
#[cfg(feature = "server")]
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "tokio")]
mod follow_client;
#[cfg(feature = "server")]
mod followers;
#[cfg(feature = "server")]
mod limits;
#[cfg(feature = "server")]
mod metrics;
mod notice;
#[cfg(feature = "server")]
pub mod program;
#[cfg(feature = "server")]
mod relay;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
pub mod storage;
#[cfg(any(feature = "client", feature = "tokio"))]
mod url;

#[cfg(feature = "client")]
pub use client::{CertificateError, HttpService};
#[cfg(feature = "server")]
pub use clock::Clock;
#[cfg(feature = "tokio")]
pub use follow_client::{FollowError, FollowStream};
#[cfg(feature = "server")]
pub use limits::{ClientAddress, Limits, Rate};
pub use notice::{Ended, FollowRequest, MAX_NOTICE_LEN, Notice, NoticeError};
#[cfg(feature = "server")]
pub use relay::Relay;
#[cfg(feature = "server")]
pub use server::{Server, ServerOptions, TlsError};
#[cfg(any(feature = "client", feature = "tokio"))]
pub use url::{RelayUrl, UrlError};
