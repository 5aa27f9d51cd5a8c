//! Queries of DNS servers that answer well and badly.

use std::net::{Ipv4Addr, SocketAddr};

use domain::base::{Message, MessageBuilder, Rtype, ToName, iana::Rcode};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UdpSocket,
};

use super::{check, server, wrong};
use crate::{health::Failure, model::ServiceKey, probe::Prober};

const UDP: &str = "udp-192.0.2.1-53";
const TCP: &str = "tcp-192.0.2.1-53";

/// What a server sends in return for a query.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Code(Rcode),
    WrongId,
    /// A query instead of an answer.
    Query,
    OtherQuestion,
    Garbage,
    /// The begin of the header.
    Short,
    /// An answer to another query, then one to this.
    ForgedFirst,
}

impl Reply {
    fn messages(self, query: &[u8]) -> Vec<Vec<u8>> {
        let query = Message::from_octets(query).unwrap();
        let answer = |code| {
            let answer = MessageBuilder::new_vec().start_answer(&query, code);
            answer.unwrap().finish()
        };
        let forged = || {
            let mut answer = answer(Rcode::NOERROR);
            answer[0] ^= 1;
            answer
        };
        match self {
            Self::Code(code) => vec![answer(code)],
            Self::WrongId => vec![forged()],
            Self::Query => vec![query.as_slice().to_vec()],
            Self::OtherQuestion => {
                let mut builder = MessageBuilder::new_vec();
                builder.header_mut().set_id(query.header().id());
                builder.header_mut().set_qr(true);
                let mut question = builder.question();
                let name: domain::base::Name<Vec<u8>> = "other.example".parse().unwrap();
                question.push((name, Rtype::SOA)).unwrap();
                vec![question.finish()]
            }
            Self::Garbage => vec![vec![0xff; 40]],
            Self::Short => vec![answer(Rcode::NOERROR)[..7].to_vec()],
            Self::ForgedFirst => vec![forged(), answer(Rcode::NOERROR)],
        }
    }
}

/// The question of a query: name, type, and whether recursion is desired.
fn question(query: &[u8]) -> (String, Rtype, bool) {
    let query = Message::from_octets(query).unwrap();
    let question = query.sole_question().unwrap();
    let name = question.qname().fmt_with_dot().to_string();
    (name, question.qtype(), query.header().rd())
}

/// A server that answers one query over UDP; returns the query.
async fn datagrams(reply: Reply) -> (SocketAddr, tokio::task::JoinHandle<Vec<u8>>) {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let served = tokio::spawn(async move {
        let mut query = vec![0; 512];
        let (length, from) = socket.recv_from(&mut query).await.unwrap();
        query.truncate(length);
        for message in reply.messages(&query) {
            socket.send_to(&message, from).await.unwrap();
        }
        // Until the runtime ends, so that the port stays in use.
        query
    });
    (address, served)
}

fn dns(fields: Value) -> crate::model::HealthCheck {
    let mut json = json!({"type": "dns"});
    let more = fields.as_object().unwrap().clone();
    json.as_object_mut().unwrap().extend(more);
    check(json)
}

async fn probe(fields: Value, service: &str, address: SocketAddr) -> Result<(), Failure> {
    let service: ServiceKey = service.parse().unwrap();
    let (prober, check) = (Prober::default(), dns(fields));
    prober.probe(&check, service, address).await.result
}

async fn over_udp(fields: Value, reply: Reply) -> Result<(), Failure> {
    let (address, _served) = datagrams(reply).await;
    probe(fields, UDP, address).await
}

async fn over_tcp(fields: Value, reply: Reply) -> Result<(), Failure> {
    let address = server(move |mut stream| async move {
        let length = stream.read_u16().await.unwrap();
        let mut query = vec![0; length.into()];
        stream.read_exact(&mut query).await.unwrap();
        for message in reply.messages(&query) {
            let length = u16::try_from(message.len()).unwrap();
            stream.write_u16(length).await.unwrap();
            stream.write_all(&message).await.unwrap();
        }
    })
    .await;
    probe(fields, TCP, address).await
}

#[tokio::test]
async fn the_response_code_decides_over_both_protocols() {
    let any = || json!({"expect_rcode": "NOERROR,NXDOMAIN"});
    for (fields, code, expected) in [
        (json!({}), Rcode::NOERROR, None),
        (json!({}), Rcode::NXDOMAIN, Some("NXDOMAIN, not NOERROR")),
        (json!({}), Rcode::SERVFAIL, Some("SERVFAIL, not NOERROR")),
        (any(), Rcode::NXDOMAIN, None),
        (any(), Rcode::REFUSED, Some("REFUSED, not NOERROR,NXDOMAIN")),
        (any(), Rcode::NOTAUTH, Some("RCODE9, not NOERROR,NXDOMAIN")),
    ] {
        let reply = Reply::Code(code);
        for result in [
            over_udp(fields.clone(), reply).await,
            over_tcp(fields.clone(), reply).await,
        ] {
            match expected {
                None => assert_eq!(result, Ok(()), "{fields} {code}"),
                Some(reason) => assert_eq!(wrong(result), reason, "{fields} {code}"),
            }
        }
    }
}

#[tokio::test]
async fn the_query_is_what_the_check_says() {
    for (fields, expected) in [
        (json!({}), (".", Rtype::SOA)),
        (
            json!({"query_name": "www.example.com.", "query_type": "AAAA"}),
            ("www.example.com.", Rtype::AAAA),
        ),
        (
            json!({"query_name": "_sip._udp.example.com", "query_type": "SRV"}),
            ("_sip._udp.example.com.", Rtype::SRV),
        ),
    ] {
        let (address, served) = datagrams(Reply::Code(Rcode::NOERROR)).await;
        assert_eq!(probe(fields.clone(), UDP, address).await, Ok(()));
        let (name, kind, is_recursive) = question(&served.await.unwrap());
        assert_eq!((name.as_str(), kind), expected, "{fields}");
        assert!(is_recursive);
    }
}

#[tokio::test]
async fn what_is_no_answer_to_the_query_is_wrong() {
    for (reply, reason) in [
        (Reply::WrongId, "the answer is one to another query"),
        (Reply::Query, "the answer is one to another query"),
        (
            Reply::OtherQuestion,
            "the answer is one to another question",
        ),
        (Reply::Garbage, "the answer is one to another query"),
        (Reply::Short, "the answer is no message of DNS"),
    ] {
        assert_eq!(wrong(over_tcp(json!({}), reply).await), reason, "{reply:?}");
        let late = format!("no answer within 1 s: {reason}");
        assert_eq!(wrong(over_udp(json!({}), reply).await), late, "{reply:?}");
    }
    // A datagram may be forged; the answer follows.
    assert_eq!(over_udp(json!({}), Reply::ForgedFirst).await, Ok(()));
}

#[tokio::test]
async fn a_connection_that_ends_is_no_answer() {
    for sent in [&[][..], &[0], &[0, 12], &[0, 12, 1, 2, 3]] {
        let address = server(move |mut stream| async move {
            let mut query = vec![0; 512];
            drop(stream.read(&mut query).await);
            stream.write_all(sent).await.unwrap();
        })
        .await;
        let reason = wrong(probe(json!({}), TCP, address).await);
        assert!(reason.starts_with("no complete response"), "{reason}");
    }
}

#[tokio::test]
async fn silence_is_silent_over_udp_and_a_closed_port_is_an_answer() {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    let silent = probe(json!({}), UDP, address).await;
    let reason = "no answer within 1 s".to_owned();
    assert_eq!(silent, Err(Failure::Silent(reason)));
    drop(socket);
    assert_eq!(
        wrong(probe(json!({}), UDP, address).await),
        "port unreachable"
    );
    // TCP answers by itself.
    let address = server(|mut stream| async move {
        drop(stream.read_to_end(&mut Vec::new()).await);
    })
    .await;
    let hung = probe(json!({}), TCP, address).await;
    assert_eq!(wrong(hung), "no complete answer within 1 s");
}

#[tokio::test]
async fn the_protocol_is_that_of_the_service_unless_the_check_names_one() {
    for (fields, service, is_udp) in [
        (json!({}), UDP, true),
        (json!({}), "fwmark-7", true),
        (json!({}), TCP, false),
        (json!({"transport": "tcp"}), UDP, false),
        (json!({"transport": "udp"}), TCP, true),
    ] {
        let (address, _served) = datagrams(Reply::Code(Rcode::NOERROR)).await;
        let result = probe(fields.clone(), service, address).await;
        match is_udp {
            true => assert_eq!(result, Ok(()), "{fields} {service}"),
            false => assert_eq!(wrong(result), "connection refused", "{fields} {service}"),
        }
    }
}

#[tokio::test]
async fn datagrams_have_the_source_that_the_check_names() {
    let (address, _served) = datagrams(Reply::Code(Rcode::NOERROR)).await;
    let own = json!({"source_address": "127.0.0.9"});
    assert_eq!(probe(own, UDP, address).await, Ok(()));
    let foreign = probe(json!({"source_address": "192.0.2.1"}), UDP, address).await;
    match foreign {
        Err(Failure::Unchecked(reason)) => {
            assert!(reason.contains("source_address 192.0.2.1"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}
