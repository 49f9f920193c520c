//! The requests over HTTP.

use std::{net::IpAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request as HttpRequest, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{any, get, post},
};
use cc_client::{Answer, MAX_ANSWER_LEN, MAX_REQUEST_LEN, Reply, Request, WireError};
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout_at};

use super::{Open, Shared, memory::Taken, patience::BYTES_PER_SECOND, websocket};
use crate::{ClientAddress, metrics::add};

/// Bytes of an answer that are given to the connection at once.
const CHUNK: usize = 64 << 10;
/// What requests and answers are.
const MEDIA_TYPE: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What a connection is served with.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) shared: Arc<Shared>,
    peer: IpAddr,
    /// It is counted as long as somebody has this.
    _open: Arc<Open>,
}

impl Connection {
    /// The client's address, as the connection or the reverse proxy has it.
    pub(super) fn client(&self, headers: &HeaderMap) -> ClientAddress {
        let forwarded = self.shared.address_header.as_ref().and_then(|name| {
            let value = headers.get_all(name).iter().next_back()?.to_str().ok()?;
            value.rsplit(',').next()?.trim().parse::<IpAddr>().ok()
        });
        forwarded.unwrap_or(self.peer).into()
    }
}

pub(super) fn router(open: Arc<Open>, peer: IpAddr) -> Router {
    let shared = Arc::clone(&open.shared);
    let metrics = shared.options.metrics;
    let mut router = Router::new()
        .route("/v1/request", post(request))
        .route("/v1/follow", any(websocket::follow))
        .route("/health", get(health));
    if metrics {
        router = router.route("/metrics", get(self::metrics));
    }
    router.layer(middleware::from_fn(cross_origin)).with_state(Connection {
        shared,
        peer,
        _open: open,
    })
}

async fn request(State(connection): State<Connection>, http: HttpRequest) -> Response {
    let Connection { shared, .. } = &connection;
    let relay = &shared.relay;
    let client = connection.client(http.headers());
    let length = http.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    let Some(length) = length else { return StatusCode::LENGTH_REQUIRED.into_response() };
    if length > MAX_REQUEST_LEN {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    }
    if let Err(wait) = relay.admit(client, length) {
        return too_many(wait);
    }
    let body_permit = shared.memory.take(client, length).await;
    let Some(body_permit) = body_permit else { return too_many(Duration::from_secs(1)) };
    let body = match read_body(http.into_body(), length, shared.options.patience).await {
        Ok(body) => body,
        Err(StatusCode::REQUEST_TIMEOUT) => {
            add(&relay.metrics().timed_out, 1);
            return closing(StatusCode::REQUEST_TIMEOUT);
        }
        Err(status) => return status.into_response(),
    };
    let request = match Request::from_bytes(&body) {
        Ok(request) => request,
        Err(error) => {
            add(&relay.metrics().malformed, 1);
            return match error {
                WireError::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::BAD_REQUEST,
            }
            .into_response();
        }
    };
    drop(body);
    answer(shared, client, request, body_permit).await
}

/// The body, if it comes fast enough: who announces much and sends nothing is let go as soon as anybody else.
async fn read_body(body: Body, length: usize, patience: Duration) -> Result<Vec<u8>, StatusCode> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::with_capacity(length);
    let start = Instant::now();
    loop {
        let seconds = u64::try_from(bytes.len() / BYTES_PER_SECOND).unwrap_or(u64::MAX);
        let deadline = start + patience + Duration::from_secs(seconds);
        match timeout_at(deadline, pieces.next()).await {
            Ok(None) => return Ok(bytes),
            Ok(Some(Ok(piece))) if piece.len() <= length - bytes.len() => {
                bytes.extend_from_slice(&piece);
            }
            // The client went away, or sent more than it said.
            Ok(Some(_)) => return Err(StatusCode::BAD_REQUEST),
            Err(_) => return Err(StatusCode::REQUEST_TIMEOUT),
        }
    }
}

async fn answer(
    shared: &Arc<Shared>,
    client: ClientAddress,
    request: Request,
    request_permit: Taken,
) -> Response {
    // The largest answer is a page: its memory is there before it is read.
    let permit = match &request.call {
        cc_client::Call::Read(_) => shared.memory.take(client, MAX_ANSWER_LEN).await,
        _ => shared.memory.take(client, CHUNK).await,
    };
    let Some(mut permit) = permit else { return too_many(Duration::from_secs(1)) };
    let id = request.id;
    let relay = shared.relay.clone();
    // A task of its own, which goes on where the client goes away: what waits to be written is there until it is.
    let answered = tokio::spawn(async move {
        let result = relay.answer_to(Some(client), request).await;
        drop(request_permit);
        result
    });
    let result = answered.await.unwrap_or(Err(cc_client::Failure::Unknown));
    if matches!(result, Err(cc_client::Failure::Unknown)) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let page = matches!(result, Ok(Reply::Page(_)));
    let Ok(bytes) = (Answer { id, result }).to_bytes() else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    shared.relay.answered(client, bytes.len());
    if page {
        permit.give_back(MAX_ANSWER_LEN.saturating_sub(bytes.len()));
    }
    let headers = [
        (header::CONTENT_TYPE, MEDIA_TYPE),
        (header::CONTENT_LENGTH, HeaderValue::from(bytes.len())),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, chunks(Bytes::from(bytes), permit)).into_response()
}

/// A body that is handed over a piece at a time, and whose memory counts until the last one is.
fn chunks(bytes: Bytes, permit: Taken) -> Body {
    let stream = futures_util::stream::unfold((bytes, permit), |(mut bytes, permit)| async move {
        if bytes.is_empty() {
            return None;
        }
        let chunk = bytes.split_to(bytes.len().min(CHUNK));
        Some((Ok::<_, std::convert::Infallible>(chunk), (bytes, permit)))
    });
    Body::from_stream(stream)
}

/// `429`, with whole seconds in `Retry-After` (RFC 9110 section 10.2.3).
fn too_many(wait: Duration) -> Response {
    let seconds = HeaderValue::from(wait.as_secs().saturating_add(1));
    let mut response = closing(StatusCode::TOO_MANY_REQUESTS);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// An answer to a request whose body was not read.
fn closing(status: StatusCode) -> Response {
    (status, [(header::CONNECTION, HeaderValue::from_static("close"))]).into_response()
}

async fn health(State(connection): State<Connection>, headers: HeaderMap) -> Response {
    // It asks the thread that writes, as requests do.
    if let Err(wait) = connection.shared.relay.admit(connection.client(&headers), 0) {
        return too_many(wait);
    }
    match connection.shared.relay.check().await {
        Ok(()) => "ok\n".into_response(),
        Err(error) => {
            tracing::error!(%error, "the storage failed");
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
    }
}

async fn metrics(State(connection): State<Connection>) -> Response {
    let text = connection.shared.relay.metrics_text();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// Browsers may speak to the relay from any page: what they may do, their tokens say, which no page of another
/// origin has.
async fn cross_origin(http: HttpRequest, next: Next) -> Response {
    let mut response = if http.method() == axum::http::Method::OPTIONS {
        let headers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, "POST"),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, "content-type"),
            (header::ACCESS_CONTROL_MAX_AGE, "86400"),
        ];
        (StatusCode::NO_CONTENT, headers).into_response()
    } else {
        next.run(http).await
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    response
}
