//! What carries requests to the relay and answers back: a few threads, so that whoever shows something never waits
//! for the network.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::Duration,
};

use cc_client::{Attachment, Failure, LogId, OperationId, Reply, Request};
use cc_core::SecretBytes;
use cc_relay::{Ended, FollowStream, HttpService, Notice, RelayUrl};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// Requests that are under way at the same time.
const CONNECTIONS: usize = 4;

/// Pauses between attempts to follow the relay, the last for all further ones.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(3),
];

/// What the session is woken by.
pub(crate) enum Arrival {
    /// An answer, or none.
    Answer { request: Request, result: Result<Reply, Failure> },
    /// A log has something new.
    Moved(LogId, cc_client::Position),
    /// A log is no longer followed.
    Ended(LogId, Ended),
    /// The relay says from now on what is new.
    Following,
    /// It does not any more.
    NotFollowing,
    /// One more piece of an attachment is there, and it goes on from this state.
    UploadMoved { operation: OperationId, state: SecretBytes },
    /// An attachment is there, or cannot be.
    Uploaded { operation: OperationId, result: Result<Attachment, String> },
    /// Somebody wants the session to look up.
    Woken,
}

/// The threads. They end when this is dropped, and a request that is under way is then not waited for.
pub(crate) struct Network {
    service: HttpService,
    requests: Sender<Request>,
    follows: UnboundedSender<Request>,
    arrivals: Receiver<Arrival>,
    arrival_sender: Sender<Arrival>,
}

impl Network {
    pub(crate) fn start(url: &RelayUrl) -> Self {
        let service = HttpService::new(url);
        let (requests, request_receiver) = mpsc::channel::<Request>();
        let (arrival_sender, arrivals) = mpsc::channel();
        let request_receiver = Arc::new(Mutex::new(request_receiver));
        for _ in 0..CONNECTIONS {
            let (service, sender) = (service.clone(), arrival_sender.clone());
            let receiver = Arc::clone(&request_receiver);
            thread::spawn(move || perform_all(&service, &receiver, &sender));
        }
        let (follows, follow_receiver) = unbounded_channel();
        let (url, sender) = (url.clone(), arrival_sender.clone());
        thread::spawn(move || follow_all(&url, follow_receiver, &sender));
        Self { service, requests, follows, arrivals, arrival_sender }
    }

    /// Does a request as soon as a connection is free.
    pub(crate) fn request(&self, request: Request) {
        // The threads live as long as this does.
        let _ = self.requests.send(request);
    }

    /// Lets the relay tell what is new in the log of this read.
    pub(crate) fn follow(&self, read: Request) {
        let _ = self.follows.send(read);
    }

    /// The next arrival, `None` if there is none in this time.
    pub(crate) fn next(&self, at_most: Duration) -> Option<Arrival> {
        self.arrivals.recv_timeout(at_most).ok()
    }

    /// Puts something among the arrivals.
    pub(crate) fn sender(&self) -> Sender<Arrival> {
        self.arrival_sender.clone()
    }

    /// For what blocks, in a thread of its own or before a command ends.
    pub(crate) fn service(&self) -> HttpService {
        self.service.clone()
    }
}

fn perform_all(service: &HttpService, requests: &Mutex<Receiver<Request>>, to: &Sender<Arrival>) {
    loop {
        // The lock is let go before the request is done.
        let next = requests.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(request) = next else { return };
        let result = service.perform(&request);
        if to.send(Arrival::Answer { request, result }).is_err() {
            return;
        }
    }
}

/// Without a runtime there is no following, and the session polls.
fn follow_all(url: &RelayUrl, mut follows: UnboundedReceiver<Request>, to: &Sender<Arrival>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut attempts = 0;
        // What is to be followed on the next connection too.
        let mut followed = BTreeMap::new();
        while !follows.is_closed() {
            if let Ok(mut stream) = FollowStream::connect(url, None).await {
                attempts = 0;
                if to.send(Arrival::Following).is_err() {
                    return;
                }
                follow(&mut stream, &mut follows, &mut followed, to).await;
                if to.send(Arrival::NotFollowing).is_err() {
                    return;
                }
            }
            let pause = PAUSES.get(attempts).or(PAUSES.last()).copied().unwrap_or_default();
            attempts += 1;
            tokio::time::sleep(pause).await;
        }
    });
}

/// Until the connection ends, or the session does.
async fn follow(
    stream: &mut FollowStream,
    follows: &mut UnboundedReceiver<Request>,
    followed: &mut BTreeMap<LogId, Request>,
    to: &Sender<Arrival>,
) {
    for request in followed.values() {
        if stream.follow(request).await.is_err() {
            return;
        }
    }
    loop {
        let arrival = tokio::select! {
            request = follows.recv() => {
                let Some(request) = request else { return };
                if stream.follow(&request).await.is_err() {
                    return;
                }
                if let cc_client::Call::Read(read) = &request.call {
                    followed.insert(read.log, request);
                }
                continue;
            }
            notice = stream.next() => match notice {
                Ok(Notice::Moved { log, head }) => Arrival::Moved(log, head),
                Ok(Notice::Ended { log, why }) => {
                    followed.remove(&log);
                    Arrival::Ended(log, why)
                }
                Err(_) => return,
            },
        };
        if to.send(arrival).is_err() {
            return;
        }
    }
}
