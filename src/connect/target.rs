//! Whom to connect to, and how people write that.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use super::{Connect, Rungs};
use crate::address::HostPort;
use crate::identity::{NodeId, NodeIdError};
use crate::unl::{Unl, UnlError, is_wrapping};

/// Whom to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The node that it names.
    Unl(Unl),
    /// The node that is there, which has to be this one, if one is given.
    Address { at: HostPort, id: Option<NodeId> },
}

/// Why a text says nothing that can be connected to; the text is in none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// It has a port, and is no address: this is wrong with it.
    Address(&'static str),
    /// What comes before the `@` is no id of a node.
    Id(NodeIdError),
    /// It has no port, so that it can only be a UNL, and this is wrong with it.
    Unl(UnlError),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(why) => write!(f, "not an address: {why}; write HOST:PORT or ID@HOST:PORT"),
            Self::Id(why) => write!(f, "before the @: {why}"),
            Self::Unl(UnlError::Foreign) => f.write_str("neither a UNL nor an address, which has a port"),
            Self::Unl(why) => why.fmt(f),
        }
    }
}

impl std::error::Error for TargetError {}

/// Reads `HOST:PORT`, `ID@HOST:PORT` or a UNL, which may have `unl:` before it. White space and quotes around it do not matter.
///
/// ```
/// use p2poll::{Connect, TargetError};
///
/// assert!("[2001:db8::7]:44444".parse::<Connect>().is_ok());
/// let no_id = "somebody@example.org:44444".parse::<Connect>();
/// assert!(matches!(no_id, Err(TargetError::Id(_))));
/// ```
impl FromStr for Connect {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        // No UNL has an @ or a colon in it, but for the word before it, and every address has a port.
        let text = text.trim_matches(is_wrapping);
        let (id, at) = match text.split_once('@') {
            Some((id, at)) => (Some(id.parse().map_err(TargetError::Id)?), at),
            None => (None, text),
        };
        let is_unl =
            || !text.contains(':') || text.get(..4).is_some_and(|begin| begin.eq_ignore_ascii_case("unl:"));
        match HostPort::parse(at) {
            Ok(at) => Ok(Target::Address { at, id }.into()),
            Err(_) if id.is_none() && is_unl() => {
                text.parse::<Unl>().map(Self::from).map_err(TargetError::Unl)
            }
            Err(why) => Err(TargetError::Address(why)),
        }
    }
}

/// As [`FromStr`] reads it.
impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.target {
            Target::Unl(unl) => unl.fmt(f),
            Target::Address { at, id: Some(id) } => write!(f, "{id}@{at}"),
            Target::Address { at, id: None } => at.fmt(f),
        }
    }
}

impl TryFrom<&str> for Connect {
    type Error = TargetError;

    fn try_from(text: &str) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl TryFrom<&String> for Connect {
    type Error = TargetError;

    fn try_from(text: &String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl TryFrom<String> for Connect {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl From<Unl> for Connect {
    fn from(unl: Unl) -> Self {
        Target::Unl(unl).into()
    }
}

impl From<&Unl> for Connect {
    fn from(unl: &Unl) -> Self {
        unl.clone().into()
    }
}

/// Whoever is there.
impl From<SocketAddr> for Connect {
    fn from(addr: SocketAddr) -> Self {
        Target::Address { at: HostPort::Address(addr), id: None }.into()
    }
}

/// This node, which is to be there.
impl From<(NodeId, SocketAddr)> for Connect {
    fn from((id, addr): (NodeId, SocketAddr)) -> Self {
        Target::Address { at: HostPort::Address(addr), id: Some(id) }.into()
    }
}

impl From<Target> for Connect {
    fn from(target: Target) -> Self {
        Self { target, rungs: Rungs::ALL, temporary: None }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNL: &str = "AgABAgMEBQYHCAkKCwwNDg8QERITcGdVnK0HcQDLLQCowGEATmo=";

    #[test]
    fn each_kind_is_told_by_its_form() {
        let id = NodeId::from_bytes([7; 20]);
        for text in [UNL, "192.0.2.7:1", "[fe80::1%eth0]:1", "[2001:db8::1]:1", "example.org:1"] {
            let connect: Connect = text.parse().expect(text);
            assert_eq!(connect.to_string(), text);
            assert_eq!(format!(" \"{text}\"\n").parse::<Connect>().expect(text).target, connect.target);
            assert_eq!(matches!(connect.target, Target::Unl(_)), text == UNL);
        }
        for text in [format!("unl: {UNL}"), format!("UNL:{UNL}")] {
            assert_eq!(text.parse::<Connect>().expect("a UNL").to_string(), UNL);
        }
        assert!(matches!("unl:1".parse(), Ok(Connect { target: Target::Address { .. }, .. })));
        let named: Connect = format!("{id}@192.0.2.7:1").parse().expect("an id at an address");
        assert_eq!(named.target, Connect::from((id, "192.0.2.7:1".parse().expect("one"))).target);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let id = "7".repeat(40);
        for (text, why) in [
            ("192.0.2.7:0".to_owned(), "not an address: the port is no number from 1 to 65535"),
            (format!("{id}@"), "not an address: it has no port"),
            (format!("{id}@example.org"), "not an address: it has no port"),
            (format!("{id}@{UNL}"), "not an address: it has no port"),
            (format!("{id}@{id}@example.org:1"), "not an address: the host is no name"),
            ("@example.org:1".to_owned(), "before the @: not a node id"),
            (format!("{}@example.org:1", &id[1..]), "before the @: not a node id"),
            ("example.org".to_owned(), "neither a UNL nor an address"),
            (String::new(), "neither a UNL nor an address"),
            (UNL.replacen('g', "h", 1), "the UNL was altered"),
        ] {
            let said = text.parse::<Connect>().expect_err(&text).to_string();
            assert!(said.starts_with(why), "{text}: {said}");
        }
    }

    fn hosts() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<std::net::Ipv4Addr>().prop_map(|ip| ip.to_string()),
            any::<std::net::Ipv6Addr>().prop_map(|ip| format!("[{ip}]")),
            "[a-z0-9][a-z0-9._-]{0,20}",
        ]
    }

    proptest! {
        #[test]
        fn an_id_at_an_address_is_read_as_it_is_printed(
            bytes in any::<[u8; 20]>(),
            has_id in any::<bool>(),
            host in hosts(),
            port in 1u16..,
        ) {
            let id = has_id.then(|| NodeId::from_bytes(bytes));
            let at = HostPort::parse(&format!("{host}:{port}")).expect("an address");
            let connect = Connect::from(Target::Address { at, id });
            let read: Connect = connect.to_string().parse().expect("what was printed");
            prop_assert_eq!(read.target, connect.target);
        }

        #[test]
        fn no_text_is_read_as_something_else_than_it_says(text in "[0-9a-f@:.\\[\\]%é \"]{0,60}") {
            if let Ok(Connect { target: Target::Address { at, id }, .. }) = text.parse::<Connect>() {
                let (said_id, said_at) = match text.split_once('@') {
                    Some((id, at)) => (Some(id.trim_matches([' ', '"'])), at),
                    None => (None, &*text),
                };
                prop_assert_eq!(id.map(|id| id.to_string()), said_id.map(str::to_lowercase));
                let said_port = said_at.trim_matches([' ', '"']).rsplit_once(':').map(|(_, port)| port.parse());
                let printed = at.to_string();
                let port = printed.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
                prop_assert_eq!(port, said_port);
            }
        }
    }
}
