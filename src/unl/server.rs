//! The name of a rendezvous server in a UNL: `HOST:PORT`, in one way only.

use std::net::SocketAddr;

use super::UnlError;
use crate::address::zoned;

/// The longest host name (RFC 1035 section 2.3.4).
const LONGEST_NAME: usize = 253;

/// The same server, written as a UNL has it.
///
/// The interface of a link-local address is left out, with its name or number: it means something on one computer only.
/// Otherwise stricter than what a user may configure: a name is in ASCII, as the DNS has it, so that nobody takes one for another that
/// looks alike, and none commands a terminal.
pub(super) fn normal(text: &str) -> Result<String, UnlError> {
    if let Some((ip, _, port)) = zoned(text) {
        return normal(&SocketAddr::from((ip, port)).to_string());
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        return if addr.port() == 0 { Err(bad(PORT)) } else { Ok(addr.to_string()) };
    }
    let (host, port) = text.rsplit_once(':').ok_or(bad("it has no port"))?;
    if !is_name(host) {
        return Err(bad("its host is neither an address nor a name in ASCII (IDNA's xn--)"));
    }
    let port: u16 = port.parse().ok().filter(|&port| port != 0).ok_or(bad(PORT))?;
    let normal = format!("{host}:{port}");
    match normal.parse::<SocketAddr>() {
        // An address with a port like +80.
        Ok(_) => Err(bad(PORT)),
        Err(_) => Ok(normal),
    }
}

const PORT: &str = "its port is no number from 1 to 65535";

fn is_name(host: &str) -> bool {
    let plain = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'.' | b'_');
    (1..=LONGEST_NAME).contains(&host.len()) && host.bytes().all(plain)
}

const fn bad(why: &'static str) -> UnlError {
    UnlError::field("rendezvous server", why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_written_in_one_way() {
        for (text, expected) in [
            ("rv.example.org:8000", "rv.example.org:8000"),
            ("localhost:08", "localhost:8"),
            ("192.0.2.1:8000", "192.0.2.1:8000"),
            ("[2001:DB8:0::1]:8000", "[2001:db8::1]:8000"),
            ("[::ffff:192.0.2.1]:8000", "192.0.2.1:8000"),
            ("[fe80::1%2]:8000", "[fe80::1]:8000"),
            ("[fe80::1%eth0]:8000", "[fe80::1]:8000"),
        ] {
            let normal_text = normal(text).unwrap();
            assert_eq!(normal_text, expected);
            assert_eq!(normal(&normal_text).unwrap(), expected);
        }
    }

    #[test]
    fn others_are_none() {
        let long = "x".repeat(254) + ":1";
        for bad in [
            "",
            ":",
            ":1",
            "a:0",
            "a:65536",
            "192.0.2.1:0",
            "192.0.2.1:+1",
            "[::1]:0",
            "::1:1",
            "a b:1",
            "a\n:1",
            "ä.example:1",
            "\u{202e}a:1",
            &long,
        ] {
            assert!(normal(bad).is_err(), "{bad:?}");
        }
    }
}
