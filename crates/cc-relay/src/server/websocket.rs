//! Following logs over a WebSocket.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    extract::{
        State,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    http::HeaderMap,
    response::Response,
};
use cc_client::{Call, Request};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::{ended, http::Connection, memory::Taken};
use crate::{
    ClientAddress, Ended, FollowRequest, MAX_NOTICE_LEN,
    followers::{FOLLOWED_COST, Follower, MAX_FOLLOWED},
    metrics::{Gauge, add},
    storage::Address,
};

/// Pings and pongs of a client between two of the relay's: each is answered, and counts as no request.
const MAX_PINGS: u32 = 64;

pub(super) async fn follow(
    State(connection): State<Connection>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let client = connection.client(&headers);
    upgrade
        .max_message_size(MAX_NOTICE_LEN)
        .max_frame_size(MAX_NOTICE_LEN)
        // For each connection, and messages are short.
        .read_buffer_size(1 << 10)
        .write_buffer_size(0)
        .max_write_buffer_size(64 << 10)
        .on_upgrade(move |socket| async move { serve(&connection, client, socket).await })
}

/// What the client is doing.
struct Session<'a> {
    connection: &'a Connection,
    client: ClientAddress,
    follower: Arc<Follower>,
    /// The memory of each log that is followed.
    logs: BTreeMap<Address, Taken>,
}

async fn serve(connection: &Connection, client: ClientAddress, mut socket: WebSocket) {
    let shared = &connection.shared;
    let metrics = shared.relay.metrics();
    let _counted = Gauge::up(&metrics.followers);
    let follower = Arc::new(Follower::default());
    let mut session = Session { connection, client, follower, logs: BTreeMap::new() };
    let mut ending = shared.ending.clone();
    let ping = shared.options.ping;
    let mut pings = interval_at(Instant::now() + ping, ping);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut heard, mut pinged) = (true, 0);
    let close = loop {
        tokio::select! {
            () = ended(&mut ending) => break Some(close_code::AWAY),
            _tick = pings.tick() => {
                if !std::mem::take(&mut heard) {
                    break None;
                }
                pinged = 0;
                let ping = socket.send(Message::Ping(axum::body::Bytes::new()));
                if !matches!(timeout(shared.options.patience, ping).await, Ok(Ok(()))) {
                    add(&metrics.dropped_followers, 1);
                    break None;
                }
            }
            notices = session.follower.next() => {
                let send = async {
                    for notice in notices {
                        socket.send(Message::Binary(notice.to_bytes().into())).await?;
                    }
                    Ok::<(), axum::Error>(())
                };
                // Who does not read is let go, and reads what it missed when it comes back.
                if !matches!(timeout(shared.options.patience, send).await, Ok(Ok(()))) {
                    add(&metrics.dropped_followers, 1);
                    break None;
                }
            }
            message = socket.recv() => {
                heard = true;
                match message {
                    Some(Ok(Message::Binary(bytes))) => {
                        if let Err(code) = session.handle(&bytes).await {
                            if code == close_code::INVALID {
                                add(&metrics.malformed, 1);
                            }
                            break Some(code);
                        }
                    }
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                        pinged += 1;
                        if pinged > MAX_PINGS {
                            add(&metrics.limited, 1);
                            break Some(close_code::POLICY);
                        }
                    }
                    Some(Ok(Message::Text(_))) => break Some(close_code::UNSUPPORTED),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => break None,
                }
            }
        }
    };
    for address in session.logs.keys() {
        shared.relay.unfollow(&session.follower, &address.log());
    }
    if let Some(code) = close {
        let frame = CloseFrame { code, reason: "".into() };
        let close = socket.send(Message::Close(Some(frame)));
        let _gone = timeout(Duration::from_secs(1), close).await;
    }
}

impl Session<'_> {
    /// `Err` has why the connection is closed: for what no client says, and for too much that cannot be refused.
    async fn handle(&mut self, bytes: &[u8]) -> Result<(), u16> {
        let relay = &self.connection.shared.relay;
        match FollowRequest::from_bytes(bytes) {
            Ok(FollowRequest::Follow(Request { id, call: Call::Read(read) })) => {
                let address = Address::of_read(&read);
                if !self.admit(address, bytes.len()).await {
                    self.follower.tell(address, None, Some(Ended::Busy));
                    return Ok(());
                }
                relay.follow(&self.follower, id, &read).await;
                Ok(())
            }
            Ok(FollowRequest::Unfollow(log)) => {
                if relay.admit(self.client, bytes.len()).is_err() {
                    return Err(close_code::AGAIN);
                }
                self.logs.retain(|followed, _| followed.log() != log);
                relay.unfollow(&self.follower, &log);
                Ok(())
            }
            Ok(FollowRequest::Follow(_)) | Err(_) => Err(close_code::INVALID),
        }
    }

    /// Whether the client may follow this, too.
    async fn admit(&mut self, followed: Address, length: usize) -> bool {
        let shared = &self.connection.shared;
        if shared.relay.admit(self.client, length).is_err() {
            return false;
        }
        if self.logs.contains_key(&followed) {
            return true;
        }
        if self.logs.len() >= MAX_FOLLOWED {
            return false;
        }
        let Some(memory) = shared.memory.take(self.client, FOLLOWED_COST).await else {
            return false;
        };
        self.logs.insert(followed, memory);
        true
    }
}
