//! `HOST:PORT` as people write it.

use std::fmt;
use std::net::SocketAddr;

use super::zoned;

/// Where to connect to, as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HostPort {
    Address(SocketAddr),
    /// A name that is to be looked up: by the DNS, or an IPv6 address with the name of an interface, whose number the operating
    /// system knows.
    Name {
        host: String,
        port: u16,
    },
}

impl HostPort {
    /// The longest host name (RFC 1035 section 2.3.4).
    const LONGEST: usize = 253;

    /// Reads `192.0.2.1:8000`, `[2001:db8::1]:8000`, `[fe80::1%eth0]:8000` or `example.org:8000`, or says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, &'static str> {
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return if addr.port() == 0 { Err(PORT) } else { Ok(Self::Address(addr)) };
        }
        if let Some((ip, zone, port)) = zoned(text) {
            return if port == 0 { Err(PORT) } else { Ok(Self::Name { host: format!("{ip}%{zone}"), port }) };
        }
        let (host, port) = text.rsplit_once(':').ok_or("it has no port")?;
        if host.contains(':') {
            return Err("an IPv6 address is written in brackets");
        }
        if host.is_empty() {
            return Err("it has no host");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_') || !c.is_ascii();
        if host.len() > Self::LONGEST || !host.chars().all(plain) {
            return Err("the host is no name and no address");
        }
        let port = port.parse().ok().filter(|&port| port != 0).ok_or(PORT)?;
        Ok(Self::Name { host: host.to_owned(), port })
    }
}

const PORT: &str = "the port is no number from 1 to 65535";

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Name { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_are_read_and_printed() {
        for text in [
            "192.0.2.1:80",
            "[2001:db8::1]:80",
            "[fe80::1%3]:80",
            "[fe80::1%eth0.7]:80",
            "example.org:80",
            "localhost:1",
        ] {
            assert_eq!(HostPort::parse(text).expect("it is one").to_string(), text);
        }
        assert!(matches!(HostPort::parse("[fe80::1%3]:80"), Ok(HostPort::Address(_))));
        let named = HostPort::Name { host: "fe80::1%eth0".into(), port: 80 };
        assert_eq!(HostPort::parse("[fe80::1%eth0]:80"), Ok(named));
        assert!(matches!(HostPort::parse("[::1]:80"), Ok(HostPort::Address(_))));
        assert!(matches!(HostPort::parse("localhost:80"), Ok(HostPort::Name { port: 80, .. })));
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (text, why) in [
            ("example.org", "it has no port"),
            (":80", "it has no host"),
            ("2001:db8::1", "an IPv6 address is written in brackets"),
            ("example.org:http", "the port is no number from 1 to 65535"),
            ("example.org:65536", "the port is no number from 1 to 65535"),
            ("1.2.3.4:0", "the port is no number from 1 to 65535"),
            ("[fe80::1%eth0]:0", "the port is no number from 1 to 65535"),
            ("[fe80::1%]:1", "an IPv6 address is written in brackets"),
            ("[fe80::1%a b]:1", "an IPv6 address is written in brackets"),
            ("a b:1", "the host is no name and no address"),
            ("http://example.org:1", "an IPv6 address is written in brackets"),
        ] {
            assert_eq!(HostPort::parse(text), Err(why), "{text}");
        }
    }
}
