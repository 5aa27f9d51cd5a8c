//! Queries of checks to DNS servers.

use std::net::SocketAddr;

use domain::base::{Message, MessageBuilder, Name, Rtype};
use ring::rand::{SecureRandom, SystemRandom};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{connect, reason::no_response};
use crate::{
    health::Failure,
    model::{HealthCheck, QueryType, Rcodes},
};

/// The longest datagram that is read. Of a longer one, the begin is enough.
const MAX_DATAGRAM: usize = 4096;

/// A query.
type Query = Message<Vec<u8>>;

/// Sends a query in a datagram, and verifies the one that answers.
pub(super) async fn datagram(
    check: &HealthCheck,
    address: SocketAddr,
    deadline: Instant,
) -> Result<(), Failure> {
    let query = query(check)?;
    let socket = connect::datagram(check, address)?;
    let refused = |error| match connect::failure(error) {
        // Of ICMP.
        Failure::Wrong(_) => Failure::Wrong("port unreachable".to_owned()),
        failure => failure,
    };
    socket.connect(address).await.map_err(refused)?;
    socket.send(query.as_slice()).await.map_err(refused)?;
    let seconds = check.timeout_seconds;
    let mut late = Failure::Silent(format!("no answer within {seconds} s"));
    let mut buffer = [0; MAX_DATAGRAM];
    while let Ok(received) = timeout_at(deadline, socket.recv(&mut buffer)).await {
        let length = received.map_err(refused)?;
        match verify(check, &query, buffer.get(..length).unwrap_or_default()) {
            Ok(verified) => return verified,
            // It may be one that somebody has forged: the answer may follow.
            Err(reason) => late = Failure::Wrong(format!("no answer within {seconds} s: {reason}")),
        }
    }
    Err(late)
}

/// Sends a query over a connection, and verifies the answer.
pub(super) async fn stream(check: &HealthCheck, mut stream: TcpStream) -> Result<(), Failure> {
    let query = query(check)?;
    let message = query.as_slice();
    let length = u16::try_from(message.len()).unwrap_or(u16::MAX);
    let framed = [&length.to_be_bytes(), message].concat();
    stream.write_all(&framed).await.map_err(no_response)?;
    let length = stream.read_u16().await.map_err(no_response)?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await.map_err(no_response)?;
    verify(check, &query, &answer).unwrap_or_else(|reason| Err(Failure::Wrong(reason.to_owned())))
}

fn query(check: &HealthCheck) -> Result<Query, Failure> {
    let unchecked = |error: &dyn std::fmt::Display| {
        Failure::Unchecked(format!("the query cannot be sent: {error}"))
    };
    let name = check.query_name.as_deref().unwrap_or(".");
    let name: Name<Vec<u8>> = name.parse().map_err(|error| unchecked(&error))?;
    let mut id = [0; 2];
    SystemRandom::new()
        .fill(&mut id)
        .map_err(|error| unchecked(&error))?;
    let mut builder = MessageBuilder::new_vec();
    builder.header_mut().set_id(u16::from_ne_bytes(id));
    builder.header_mut().set_rd(true);
    let mut question = builder.question();
    let kind = rtype(check.query_type.unwrap_or(QueryType::Soa));
    let pushed = question.push((name, kind));
    pushed.map_err(|error| unchecked(&error))?;
    Ok(question.into_message())
}

/// Whether the answer is a success; an error if it is none to the query.
fn verify(
    check: &HealthCheck,
    query: &Query,
    answer: &[u8],
) -> Result<Result<(), Failure>, &'static str> {
    let answer = Message::from_slice(answer).map_err(|_| "the answer is no message of DNS")?;
    let header = answer.header();
    if !header.qr() || header.id() != query.header().id() {
        return Err("the answer is one to another query");
    }
    let (code, expected) = (
        header.rcode().to_int(),
        check.expect_rcode.unwrap_or(Rcodes::USUAL),
    );
    if !expected.contains(code) {
        let name = Rcodes::name(code);
        return Ok(Err(Failure::Wrong(format!("{name}, not {expected}"))));
    }
    match answer.is_answer(query) {
        true => Ok(Ok(())),
        false => Err("the answer is one to another question"),
    }
}

fn rtype(kind: QueryType) -> Rtype {
    match kind {
        QueryType::A => Rtype::A,
        QueryType::Aaaa => Rtype::AAAA,
        QueryType::Cname => Rtype::CNAME,
        QueryType::Mx => Rtype::MX,
        QueryType::Ns => Rtype::NS,
        QueryType::Ptr => Rtype::PTR,
        QueryType::Soa => Rtype::SOA,
        QueryType::Srv => Rtype::SRV,
        QueryType::Txt => Rtype::TXT,
    }
}
