//! The client's side of a rendezvous server's ids and relays, as far as a load on the server speaks it.
//!
//! It is written anew from the library's description (`src/wire/rendezvous/mod.rs`, `src/wire/proof.rs`), because what loads
//! a server should cost less than what is measured.

use crate::{Result, load};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use sha2::{Digest as _, Sha256};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

/// What signs; and its names.
pub struct Node {
    key: SigningKey,
    public: String,
    pub id: String,
}

impl Node {
    /// The same for the same number, so that each run does the same.
    pub fn numbered(number: usize) -> Self {
        let mut seed = [7; 32];
        seed[..8].copy_from_slice(&(number as u64).to_le_bytes());
        let key = SigningKey::from_bytes(&seed);
        let public = key.verifying_key();
        let id = hex(&Sha256::digest(public.as_bytes())[..20]);
        Self { public: hex(public.as_bytes()), id, key }
    }

    fn sign(&self, context: &str, message: &str) -> String {
        let signature = self.key.sign(format!("{context}\0{message}").as_bytes());
        STANDARD_NO_PAD.encode(signature.to_bytes())
    }

    fn prove(&self, role: &str, server: SocketAddr, server_nonce: &str) -> String {
        let (public, own_nonce) = (&self.public, &self.id[..32]);
        let message = format!("{role}\n{server}\n{public}\n{server_nonce}\n{own_nonce}\n");
        let signature = self.sign("p2poll registration 1", &message);
        format!("PROVE {role} {public} {own_nonce} {server} {signature}\r\n")
    }
}

/// A connection, and who is at our end of it.
pub struct Link {
    pub stream: TcpStream,
    pub node: Node,
}

impl Link {
    pub fn connect(server: SocketAddr, from: IpAddr, node: Node) -> Result<Self> {
        Ok(Self { stream: load::connect_from(from, server)?, node })
    }
}

/// So many at once: more than a listener has room for would wait for a second.
pub const AT_ONCE: usize = 64;

/// Proves the ids of links for `signal`, and has them listed, each with a port of its own.
pub fn register(server: SocketAddr, links: &[Link]) -> Result<()> {
    greet(
        links,
        |_| "HELLO p2poll 1 seen ping listed id observe signal\r\nPASSIVE READY 40000 10\r\n".into(),
        2,
    )
    .and_then(|nonces| prove(server, "signal", links, &nonces))
}

/// Relays links of even places to those behind them.
pub fn relay(server: SocketAddr, links: &[Link]) -> Result<()> {
    let nonces = greet(links, |_| "HELLO p2poll 1 id relay\r\n".into(), 1)?;
    prove(server, "relay", links, &nonces)?;
    for pair in links.chunks_exact(2) {
        let ticket = ticket(server, &pair[0].node, &pair[1].node);
        pair.iter().try_for_each(|link| (&link.stream).write_all(ticket.as_bytes()))?;
    }
    for link in links {
        let answer = &answers(&link.stream, 1)?[0];
        answer.strip_prefix("RELAYED ").ok_or_else(|| format!("no relay: {answer:?}"))?;
    }
    Ok(())
}

/// Returns the nonces of the server.
fn greet(links: &[Link], greeting: impl Fn(&Link) -> String, lines: usize) -> Result<Vec<String>> {
    links.iter().try_for_each(|link| (&link.stream).write_all(greeting(link).as_bytes()))?;
    let nonce = |link: &Link| {
        let answers = answers(&link.stream, lines)?;
        let (_, nonce) =
            answers[0].rsplit_once(" nonce=").ok_or_else(|| format!("no nonce: {:?}", answers[0]))?;
        answers[1..].iter().try_for_each(|answer| expect("LISTED 40000", answer))?;
        Ok(nonce.to_owned())
    };
    links.iter().map(nonce).collect()
}

fn prove(server: SocketAddr, role: &str, links: &[Link], nonces: &[String]) -> Result<()> {
    for (link, nonce) in links.iter().zip(nonces) {
        (&link.stream).write_all(link.node.prove(role, server, nonce).as_bytes())?;
    }
    for link in links {
        expect(&format!("PROVEN {}", link.node.id), &answers(&link.stream, 1)?[0])?;
    }
    Ok(())
}

/// The line that both say.
fn ticket(server: SocketAddr, caller: &Node, callee: &Node) -> String {
    let (session, keys) = (&caller.id[..32], [&caller.public, &callee.public]);
    let message = format!("{server}\n{session}\n{}\n{}\n", keys[0], keys[1]);
    let [first, second] = [caller, callee].map(|node| node.sign("p2poll relay 1", &message));
    format!("RELAY {server} {session} {} {} {first} {second}\r\n", keys[0], keys[1])
}

fn expect(wanted: &str, answer: &str) -> Result<()> {
    if answer == wanted {
        Ok(())
    } else {
        Err(format!("{wanted:?} was to come, and this came: {answer:?}").into())
    }
}

/// So many lines, behind which nothing may come.
fn answers(mut stream: &TcpStream, lines: usize) -> Result<Vec<String>> {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    while memchr::memchr_iter(b'\n', &text).count() < lines {
        match stream.read(&mut buffer)? {
            0 => return Err("the server closed".into()),
            count => text.extend_from_slice(&buffer[..count]),
        }
    }
    let lines: Vec<_> = String::from_utf8(text)?.lines().map(str::to_owned).collect();
    Ok(lines)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
