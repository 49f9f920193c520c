//! A delivery service behind a socket, for the examples and tests that need processes: one request and one
//! answer after another, each behind its length. It keeps nothing on disk and protects nothing.
#![allow(dead_code, unreachable_pub, reason = "the example connects, the test serves")]

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use cc_client::{
    Call, DeliveryService, Failure, Item, LogId, MemoryService, Page, Position, PublishedPackage,
    Refusal, Reply, Request, RequestId,
};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Asked {
    Append(RequestId, LogId, Option<Position>, Vec<Vec<u8>>),
    Read(LogId, Position),
    Publish(RequestId, LogId, Vec<(Vec<u8>, bool)>),
    Claim(RequestId, LogId),
}

#[derive(Serialize, Deserialize)]
enum Answered {
    Appended(Position),
    Page(Vec<(Position, bool, Vec<u8>)>, Position),
    Published(u32),
    Claimed(Option<Vec<u8>>),
    Conflict(Position),
    Refused,
}

/// The service at this address. A connection that breaks is made anew with the next call.
pub struct SocketService {
    address: String,
    stream: Option<TcpStream>,
}

impl SocketService {
    pub fn new(address: String) -> Self {
        Self { address, stream: None }
    }

    fn call(&mut self, asked: &Asked) -> Result<Answered, Failure> {
        let answer = self.exchange(asked);
        if answer.is_err() {
            self.stream = None;
        }
        match answer.map_err(|_| Failure::Unknown)? {
            Answered::Conflict(head) => Err(Failure::Refused(Refusal::Conflict { head })),
            Answered::Refused => Err(Failure::Refused(Refusal::Denied)),
            answer => Ok(answer),
        }
    }

    fn exchange(&mut self, asked: &Asked) -> io::Result<Answered> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(TcpStream::connect(&self.address)?),
        };
        stream.set_nodelay(true)?;
        send(stream, asked)?;
        receive(stream)
    }
}

impl DeliveryService for SocketService {
    fn append(
        &mut self,
        id: RequestId,
        log: &LogId,
        after: Option<Position>,
        items: &[Vec<u8>],
    ) -> Result<Position, Failure> {
        match self.call(&Asked::Append(id, *log, after, items.to_vec()))? {
            Answered::Appended(position) => Ok(position),
            _ => Err(Failure::Unknown),
        }
    }

    fn read(&mut self, log: &LogId, after: Position) -> Result<Page, Failure> {
        match self.call(&Asked::Read(*log, after))? {
            Answered::Page(items, head) => {
                let item = |(position, commit, bytes)| Item { position, commit, bytes };
                Ok(Page { items: items.into_iter().map(item).collect(), head })
            }
            _ => Err(Failure::Unknown),
        }
    }

    fn publish(
        &mut self,
        id: RequestId,
        mailbox: &LogId,
        packages: &[PublishedPackage],
    ) -> Result<u32, Failure> {
        let packages = packages.iter().map(|p| (p.bytes.clone(), p.last_resort)).collect();
        match self.call(&Asked::Publish(id, *mailbox, packages))? {
            Answered::Published(remaining) => Ok(remaining),
            _ => Err(Failure::Unknown),
        }
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        match self.call(&Asked::Claim(id, *mailbox))? {
            Answered::Claimed(package) => Ok(package),
            _ => Err(Failure::Unknown),
        }
    }
}

/// Serves `service` on a loopback port, to any number of connections; gives the address.
pub fn serve(service: &MemoryService) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?.to_string();
    let service = service.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut service = service.clone();
            std::thread::spawn(move || serve_one(stream, &mut service));
        }
    });
    Ok(address)
}

fn serve_one(mut stream: TcpStream, service: &mut MemoryService) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let (id, call) = match receive(&mut stream)? {
            Asked::Append(id, log, after, items) => (id, Call::Append { log, after, items }),
            Asked::Read(log, after) => (RequestId::from_bytes([0; 16]), Call::Read { log, after }),
            Asked::Publish(id, mailbox, packages) => {
                let package = |(bytes, last_resort)| PublishedPackage { bytes, last_resort };
                let packages = packages.into_iter().map(package).collect();
                (id, Call::Publish { mailbox, packages })
            }
            Asked::Claim(id, mailbox) => (id, Call::Claim { mailbox }),
        };
        let answer = match (Request { id, call }).perform(service) {
            Ok(Reply::Appended(position)) => Answered::Appended(position),
            Ok(Reply::Page(page)) => {
                let item = |item: Item| (item.position, item.commit, item.bytes);
                Answered::Page(page.items.into_iter().map(item).collect(), page.head)
            }
            Ok(Reply::Published { remaining }) => Answered::Published(remaining),
            Ok(Reply::Claimed(package)) => Answered::Claimed(package),
            Err(Failure::Refused(Refusal::Conflict { head })) => Answered::Conflict(head),
            Err(_) => Answered::Refused,
        };
        send(&mut stream, &answer)?;
    }
}

fn send(stream: &mut TcpStream, value: &impl Serialize) -> io::Result<()> {
    let body = postcard::to_stdvec(value).map_err(io::Error::other)?;
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], &body].concat())
}

fn receive<T: for<'de> Deserialize<'de>>(stream: &mut TcpStream) -> io::Result<T> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = Vec::new();
    stream.take(u64::from(u32::from_be_bytes(length))).read_to_end(&mut body)?;
    postcard::from_bytes(&body).map_err(io::Error::other)
}
