//! What is spoken by programs that took a port of ours for something else: a web browser above all, which any page can have
//! speak to any address, and whose request's body may be lines of ours. It has no say in the first bytes.

/// A protocol that is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Foreign {
    /// A request (RFC 9112 section 3), or the preface of HTTP/2 (RFC 9113 section 3.4).
    Http,
    /// A ClientHello (RFC 8446 section 5.1).
    Tls,
    /// A version (RFC 4253 section 4.2).
    Ssh,
}

/// What the first bytes of a connection are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Likeness {
    Foreign(Foreign),
    /// They may become that.
    Undecided,
    /// Nothing that is known here.
    Own,
}

/// The methods of RFC 9110 section 9 and RFC 5789, and `PRI` of HTTP/2. A page may ask for others, and then the browser
/// asks whether it may, with `OPTIONS`.
const METHODS: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI"];

/// As many bytes decide.
pub(crate) const LONGEST: usize = "OPTIONS ".len();

/// A first line that is longer is none of HTTP: servers take 8,000 bytes (RFC 9112 section 3).
const LONGEST_REQUEST: usize = 8192;

/// A record of a handshake, of whatever version 3.
const TLS: [u8; 2] = [22, 3];

const SSH: &[u8] = b"SSH-";

impl Foreign {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Ssh => "SSH",
        }
    }
}

/// Tells by the first bytes, as many as have come. Where lines of people are awaited, `GET ` may be what one of them says:
/// see [`is_http_request`].
pub(crate) fn likeness(arrived: &[u8]) -> Likeness {
    let http = METHODS.iter().map(|method| begins(arrived, [method.as_bytes(), b" "]));
    let tls = begins(arrived, [&TLS]);
    let ssh = begins(arrived, [SSH]);
    let all = http.map(|how| (how, Foreign::Http)).chain([(tls, Foreign::Tls), (ssh, Foreign::Ssh)]);
    let mut likeness = Likeness::Own;
    for (how, foreign) in all {
        match how {
            Some(true) => return Likeness::Foreign(foreign),
            Some(false) => likeness = Likeness::Undecided,
            None => {}
        }
    }
    likeness
}

/// The same where lines of people are awaited, who may say `GET` themselves: HTTP is what has a whole request as its first line.
pub(crate) fn likeness_beside_people(arrived: &[u8]) -> Likeness {
    match likeness(arrived) {
        Likeness::Foreign(Foreign::Http) => match memchr::memchr(b'\n', arrived) {
            Some(end) if is_http_request(&arrived[..end]) => Likeness::Foreign(Foreign::Http),
            None if arrived.len() < LONGEST_REQUEST => Likeness::Undecided,
            _ => Likeness::Own,
        },
        likeness => likeness,
    }
}

/// Whether a whole first line, without its end, is a request of HTTP/1: method, target, version.
pub(crate) fn is_http_request(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut words = line.rsplitn(2, |&byte| byte == b' ');
    let version = words.next().and_then(|word| word.strip_prefix(b"HTTP/"));
    let has_version = version.is_some_and(|rest| matches!(rest, [b'0'..=b'9', b'.', b'0'..=b'9']));
    let before = words.next().unwrap_or_default();
    has_version && METHODS.iter().any(|method| begins(before, [method.as_bytes(), b" "]) == Some(true))
}

/// Whether they begin so; `Some(false)`: as far as they have come.
fn begins<const N: usize>(arrived: &[u8], parts: [&[u8]; N]) -> Option<bool> {
    let expected = parts.concat();
    if arrived.starts_with(&expected) {
        return Some(true);
    }
    expected.starts_with(arrived).then_some(false)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::rendezvous::Request;

    #[test]
    fn what_browsers_and_scanners_say_first_is_known() {
        let of = |text: &[u8]| likeness(text);
        for request in
            ["GET / HTTP/1.1\r\n", "POST /x HTTP/1.1\r\n", "OPTIONS * HTTP/1.1", "PRI * HTTP/2.0\r\n\r\nSM"]
        {
            assert_eq!(of(request.as_bytes()), Likeness::Foreign(Foreign::Http), "{request}");
        }
        assert_eq!(of(b"\x16\x03\x01\x02\x00\x01"), Likeness::Foreign(Foreign::Tls));
        assert_eq!(of(b"SSH-2.0-OpenSSH_9.6\r\n"), Likeness::Foreign(Foreign::Ssh));
        for begun in [&b""[..], b"P", b"POS", b"POST", b"\x16", b"SSH"] {
            assert_eq!(of(begun), Likeness::Undecided, "{}", begun.escape_ascii());
        }
        for own in [
            &b"PASSIVE"[..],
            b"GETS ",
            b"POST\n",
            b"get / HTTP/1.1",
            b"\x16\x02",
            b"SSH 2",
            b"\n",
            b"~hello {}",
        ] {
            assert_eq!(of(own), Likeness::Own, "{}", own.escape_ascii());
        }
    }

    #[test]
    fn a_person_may_say_get() {
        for request in ["GET / HTTP/1.1", "POST http://h:1/x HTTP/1.0\r", "CONNECT h:1 HTTP/1.1"] {
            assert!(is_http_request(request.as_bytes()), "{request}");
        }
        for own in
            ["GET ready", "GET HTTP/1.1", "GET / HTTP/1.1 is what it says", "HTTP/1.1", "get / HTTP/1.1", ""]
        {
            assert!(!is_http_request(own.as_bytes()), "{own}");
        }
    }

    #[test]
    fn where_people_speak_a_whole_request_decides() {
        let of = |text: &str| likeness_beside_people(text.as_bytes());
        for begun in ["", "G", "GET ", "GET / HTTP/1.1", "SS"] {
            assert_eq!(of(begun), Likeness::Undecided, "{begun}");
        }
        for request in ["GET / HTTP/1.1\r\nHost: a\r\n", "PRI * HTTP/2.0\r\n", "POST /x?y HTTP/1.0\n"] {
            assert_eq!(of(request), Likeness::Foreign(Foreign::Http), "{request}");
        }
        assert_eq!(of("SSH-2.0"), Likeness::Foreign(Foreign::Ssh));
        assert_eq!(of("\x16\x03"), Likeness::Foreign(Foreign::Tls));
        for own in ["GET ready\n", "GET / HTTP/1.1 they say\n", "hello\nGET / HTTP/1.1\n"] {
            assert_eq!(of(own), Likeness::Own, "{own}");
        }
        assert_eq!(of(&format!("GET {}", "x".repeat(LONGEST_REQUEST))), Likeness::Own);
    }

    proptest! {
        /// No request of ours is taken for another protocol's, however little of it has come; and what is decided stays so.
        #[test]
        fn it_is_decided_once(bytes in prop::collection::vec(any::<u8>(), 0..40), verb in 0usize..10, cut in 0usize..50) {
            let text = [METHODS[verb].as_bytes(), b" ", &bytes].concat();
            for text in [&text, &bytes] {
                let cut = cut.min(text.len());
                match likeness(&text[..cut]) {
                    Likeness::Undecided => prop_assert!(cut < LONGEST),
                    decided => prop_assert_eq!(likeness(text), decided),
                }
                if let Likeness::Foreign(_) = likeness(text) {
                    prop_assert!(Request::parse(text).is_none());
                }
            }
        }
    }
}
