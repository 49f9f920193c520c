//! A delivery service behind a socket, for the examples and tests that need processes: one request and one
//! answer after another, each behind its length. It keeps nothing on disk and protects nothing.
#![allow(dead_code, unreachable_pub, reason = "the example connects, the test serves")]

use std::{
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
};

use cc_client::{
    Answer, Append, Call, DeliveryService, Failure, LogId, MemoryService, Page, Position, Publish,
    Read, Reply, Request, RequestId,
};

/// The service at this address. A connection that breaks is made anew with the next call.
pub struct SocketService {
    address: String,
    stream: Option<TcpStream>,
}

impl SocketService {
    pub fn new(address: String) -> Self {
        Self { address, stream: None }
    }

    fn call(&mut self, id: RequestId, call: Call) -> Result<Reply, Failure> {
        let answer = self.exchange(&Request { id, call });
        if answer.is_err() {
            self.stream = None;
        }
        answer.map_err(|_| Failure::Unknown)?.result
    }

    fn exchange(&mut self, request: &Request) -> io::Result<Answer> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            None => self.stream.insert(TcpStream::connect(&self.address)?),
        };
        stream.set_nodelay(true)?;
        send(stream, &request.to_bytes().map_err(io::Error::other)?)?;
        let answer = Answer::from_bytes(&receive(stream)?).map_err(io::Error::other)?;
        if answer.id == request.id { Ok(answer) } else { Err(io::Error::other("another answer")) }
    }
}

impl DeliveryService for SocketService {
    fn append(&mut self, id: RequestId, append: &Append) -> Result<Position, Failure> {
        match self.call(id, Call::Append(append.clone()))? {
            Reply::Appended(position) => Ok(position),
            _ => Err(Failure::Unknown),
        }
    }

    fn read(&mut self, id: RequestId, read: &Read) -> Result<Page, Failure> {
        match self.call(id, Call::Read(read.clone()))? {
            Reply::Page(page) => Ok(page),
            _ => Err(Failure::Unknown),
        }
    }

    fn publish(&mut self, id: RequestId, publish: &Publish) -> Result<u32, Failure> {
        match self.call(id, Call::Publish(publish.clone()))? {
            Reply::Published { remaining } => Ok(remaining),
            _ => Err(Failure::Unknown),
        }
    }

    fn claim(&mut self, id: RequestId, mailbox: &LogId) -> Result<Option<Vec<u8>>, Failure> {
        match self.call(id, Call::Claim(*mailbox))? {
            Reply::Claimed(package) => Ok(package),
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
        let request = Request::from_bytes(&receive(&mut stream)?).map_err(io::Error::other)?;
        let answer = Answer { id: request.id, result: request.perform(service) };
        send(&mut stream, &answer.to_bytes().map_err(io::Error::other)?)?;
    }
}

fn send(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes()[..], body].concat())
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = Vec::new();
    stream.take(u64::from(u32::from_be_bytes(length))).read_to_end(&mut body)?;
    Ok(body)
}
