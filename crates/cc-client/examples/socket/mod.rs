//! A delivery service behind a socket, for the examples and tests that need processes: one request and one
//! answer after another, each behind its length. It keeps nothing on disk and protects nothing.
#![allow(dead_code, unreachable_pub, reason = "the example connects, the test serves")]

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use cc_client::{
    AccessHash, AccessToken, Append, Call, DeliveryService, Failure, Follows, Item, LogId,
    MailboxProof, MemoryService, Page, Position, Publish, PublishedPackage, Read, ReadAccess,
    Refusal, Reply, Request, RequestId,
};
use cc_core::Secret;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
enum Asked {
    Append(LogId, Option<[u8; 32]>, Option<(Position, Option<[u8; 32]>)>, Vec<Vec<u8>>),
    Read(LogId, Position, Access),
    Publish(LogId, Proof, Vec<(Vec<u8>, bool)>),
    Claim(LogId),
}

#[derive(Serialize, Deserialize)]
enum Access {
    Token([u8; 32]),
    Owner(Proof),
}

/// Public key and signature.
type Proof = ([u8; 32], Vec<u8>);

#[derive(Serialize, Deserialize)]
enum Answered {
    Appended(Position),
    Page(Vec<(Position, bool, Vec<u8>)>, Position, Position),
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

    fn call(&mut self, id: RequestId, asked: Asked) -> Result<Answered, Failure> {
        let answer = self.exchange(&(id, asked));
        if answer.is_err() {
            self.stream = None;
        }
        match answer.map_err(|_| Failure::Unknown)? {
            Answered::Conflict(head) => Err(Failure::Refused(Refusal::Conflict { head })),
            Answered::Refused => Err(Failure::Refused(Refusal::Denied)),
            answer => Ok(answer),
        }
    }

    fn exchange(&mut self, asked: &(RequestId, Asked)) -> io::Result<Answered> {
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
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        let Append { log, access, commit, items } = append;
        let access = access.as_ref().map(|token| *token.expose());
        let commit = commit.map(|commit| (commit.after, commit.next.map(|AccessHash(hash)| hash)));
        match self.call(id, Asked::Append(*log, access, commit, items.clone()))? {
            Answered::Appended(position) => Ok(position),
            _ => Err(Failure::Unknown),
        }
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        let access = match &read.access {
            ReadAccess::Token(token) => Access::Token(*token.expose()),
            ReadAccess::Owner(proof) => Access::Owner((proof.public_key, proof.signature.to_vec())),
        };
        match self.call(id, Asked::Read(read.log, read.after, access))? {
            Answered::Page(items, forgotten, head) => {
                let item = |(position, commit, bytes)| Item { position, commit, bytes };
                Ok(Page { items: items.into_iter().map(item).collect(), forgotten, head })
            }
            _ => Err(Failure::Unknown),
        }
    }

    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        let Publish { mailbox, proof, packages } = publish;
        let packages = packages.iter().map(|p| (p.bytes.clone(), p.last_resort)).collect();
        let proof = (proof.public_key, proof.signature.to_vec());
        match self.call(id, Asked::Publish(*mailbox, proof, packages))? {
            Answered::Published(remaining) => Ok(remaining),
            _ => Err(Failure::Unknown),
        }
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        match self.call(id, Asked::Claim(*mailbox))? {
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
        let (id, asked): (RequestId, Asked) = receive(&mut stream)?;
        let call = match asked {
            Asked::Append(log, access, commit, items) => {
                let access = access.map(|mut token| AccessToken::new(Secret::take(&mut token)));
                let commit =
                    commit.map(|(after, next)| Follows { after, next: next.map(AccessHash) });
                Call::Append(Append { log, access, commit, items })
            }
            Asked::Read(log, after, access) => {
                let access = match access {
                    Access::Token(mut token) => {
                        ReadAccess::Token(AccessToken::new(Secret::take(&mut token)))
                    }
                    Access::Owner(owner) => ReadAccess::Owner(proof(owner)?),
                };
                Call::Read(Read { log, after, access })
            }
            Asked::Publish(mailbox, owner, packages) => {
                let package = |(bytes, last_resort)| PublishedPackage { bytes, last_resort };
                let packages = packages.into_iter().map(package).collect();
                Call::Publish(Publish { mailbox, proof: proof(owner)?, packages })
            }
            Asked::Claim(mailbox) => Call::Claim(mailbox),
        };
        let answer = match (Request { id, call }).perform(service) {
            Ok(Reply::Appended(position)) => Answered::Appended(position),
            Ok(Reply::Page(page)) => {
                let item = |item: Item| (item.position, item.commit, item.bytes);
                let items = page.items.into_iter().map(item).collect();
                Answered::Page(items, page.forgotten, page.head)
            }
            Ok(Reply::Published { remaining }) => Answered::Published(remaining),
            Ok(Reply::Claimed(package)) => Answered::Claimed(package),
            Err(Failure::Refused(Refusal::Conflict { head })) => Answered::Conflict(head),
            Err(_) => Answered::Refused,
        };
        send(&mut stream, &answer)?;
    }
}

fn proof((public_key, signature): Proof) -> io::Result<MailboxProof> {
    let signature = signature.try_into().map_err(|_| io::Error::other("not a signature"))?;
    Ok(MailboxProof { public_key, signature })
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
