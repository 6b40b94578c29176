//! A UNL: how to reach a node, in one word.

mod address;
mod build;
mod describe;
mod error;
mod server;
#[cfg(test)]
mod tests;
mod version2;
mod version3;

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use crate::identity::{NodeId, PublicKey};
use crate::reach::{NatKind, NodeType};
use crate::text::is_harmless;

pub use address::{Oddity, Place, UnlAddress};
pub use build::UnlBuilder;
pub use error::UnlError;

/// Texts whose contents are anything.
#[cfg(any(test, fuzzing))]
pub(crate) use self::{
    version2::{print as print_version2, seal as seal_version2},
    version3::{print as print_version3, seal as seal_version3},
};

/// A Universal Node Locator: where and how to reach a node, in one word that can be pasted into a chat.
///
/// It is read with [`FromStr`], whatever white space and quotes came along with it, and printed with
/// [`Display`](fmt::Display), always as the same text. There are two versions:
///
/// - **Version 3** is ours. It begins with `unl3_` and names several addresses of both families, the rendezvous servers
///   through which the node takes signals, and its key, with which it is signed: a changed one is found out, and nobody
///   can make one for somebody else's id. What a later version adds to it, older ones skip.
/// - **Version 2** is pyp2p's, byte for byte: one address outside, one inside, one port. Anybody can make it up.
///
/// It is read as it is pasted: quotes, blanks and line ends in and around it do not matter, nor the `unl:` before it.
///
/// What it says is what its node claims: [`UnlAddress::oddity`] shows claims that can not be true. Two are equal when
/// their texts are.
///
/// ```
/// use p2poll::{Key, NatKind, NodeType, Unl};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let key = Key::generate()?;
/// let unl = Unl::builder(NodeType::Simultaneous)
///     .nat(NatKind::Delta { step: 2 })
///     .wan("203.0.113.7:44444".parse()?)
///     .lan("[fd00::45]:44444".parse()?)
///     .server("rv.example.org:8000")
///     .sign(&key)?;
///
/// let pasted = format!("unl: {}\n {}\n", &unl.as_str()[..70], &unl.as_str()[70..]);
/// let read: Unl = pasted.parse()?;
/// assert_eq!(read, unl);
/// assert_eq!(read.node_id(), Some(key.id()));
/// assert_eq!(read.servers().next(), Some("rv.example.org:8000"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Unl {
    /// What it is compared and sent as.
    text: Arc<str>,
    fields: Arc<Fields>,
}

impl Unl {
    /// The most addresses that one names: a computer has few that others can use, and each costs its peers a call.
    pub const MAX_ADDRESSES: usize = 8;

    /// The most rendezvous servers that one names: one that works is enough, and each that is named can be called.
    pub const MAX_SERVERS: usize = 4;

    /// The longest text of one: 512 bytes in Base64 behind the prefix. That is enough for the most addresses and four
    /// servers with names of usual length, and it fits into one line of any chat.
    pub const MAX_TEXT: usize = version3::LONGEST_TEXT;

    /// Begins a new one.
    pub fn builder(node_type: NodeType) -> UnlBuilder {
        UnlBuilder::new(node_type)
    }

    /// 2 or 3.
    pub fn version(&self) -> u8 {
        self.fields.version
    }

    /// The text that it is.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The node's id, proven by the signature; `None` in version 2, which proves nothing.
    pub fn node_id(&self) -> Option<NodeId> {
        self.fields.key.map(|key| key.id())
    }

    /// The node's key, which has signed this; `None` in version 2.
    pub fn public_key(&self) -> Option<PublicKey> {
        self.fields.key
    }

    /// The id that version 2 claims: pyp2p's number in its distributed hash table. It proves nothing.
    pub fn claimed_id(&self) -> Option<NodeId> {
        self.fields.claimed_id
    }

    /// How others can reach the node.
    pub fn node_type(&self) -> NodeType {
        self.fields.node_type
    }

    /// How the NAT in front of it chooses ports; `None` when that is not known. Version 2 has one word for unknown,
    /// delta and random, which is read as [`NatKind::Random`].
    pub fn nat(&self) -> Option<NatKind> {
        self.fields.nat
    }

    /// Who has opened the port in the router.
    pub fn forwarding(&self) -> Forwarding {
        self.fields.forwarding
    }

    /// Its addresses, in the order in which they are to be tried; at most [`Unl::MAX_ADDRESSES`].
    pub fn addresses(&self) -> impl ExactSizeIterator<Item = UnlAddress> + '_ {
        self.fields.addresses.iter().copied()
    }

    /// Whether a server that a user has named is the one that a UNL names: UNLs write each in one way.
    pub(crate) fn names_server(named: &str, given: &str) -> bool {
        named == given || server::normal(given).is_ok_and(|normal| normal == named)
    }

    /// The rendezvous servers through which it takes signals, as `HOST:PORT`, in the order in which it prefers them; at
    /// most [`Unl::MAX_SERVERS`].
    pub fn servers(&self) -> impl ExactSizeIterator<Item = &str> + '_ {
        self.fields.servers.iter().map(String::as_str)
    }

    /// How many fields were skipped, because they belong to a later version of p2poll.
    pub fn skipped(&self) -> usize {
        self.fields.skipped
    }

    /// Whether its node is the one to connect to the other, where both could: pyp2p's rule, by which both ends come to
    /// the same answer. Nobody dials himself.
    pub fn dials(&self, other: &Self) -> bool {
        self > other
    }

    /// All that it says, for people: one fact a line.
    pub fn describe(&self) -> String {
        describe::describe(self)
    }

    fn new(text: String, fields: Fields) -> Self {
        Self { text: text.into(), fields: Arc::new(fields) }
    }
}

/// Reads one, as it is or wrapped into white space or quotes.
impl FromStr for Unl {
    type Err = UnlError;

    fn from_str(text: &str) -> Result<Self, UnlError> {
        let text = unwrapped(text);
        let fields = match version3::version_of(&text) {
            Some(3) => version3::parse(&text)?,
            Some(other) => return Err(UnlError::UnknownVersion(other)),
            None => version2::parse(&text)?,
        };
        Ok(Self::new(text, fields))
    }
}

impl fmt::Display for Unl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for Unl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unl({})", self.text)
    }
}

impl PartialEq for Unl {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Unl {}

impl Hash for Unl {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// pyp2p's order: the texts as big-endian numbers. None begins with a zero byte, so the longer one is the larger.
impl Ord for Unl {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.len().cmp(&other.text.len()).then_with(|| self.text.cmp(&other.text))
    }
}

impl PartialOrd for Unl {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Who has opened the node's port in its router.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Forwarding {
    /// Nobody, as far as the node knows. (pyp2p calls it manual.)
    #[default]
    None,
    /// Its owner.
    ByHand,
    /// The node, by UPnP.
    Upnp,
    /// The node, by NAT-PMP.
    NatPmp,
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "none",
            Self::ByHand => "by hand",
            Self::Upnp => "UPnP",
            Self::NatPmp => "NAT-PMP",
        })
    }
}

/// What both versions say, each as far as it can.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fields {
    version: u8,
    key: Option<PublicKey>,
    claimed_id: Option<NodeId>,
    node_type: NodeType,
    nat: Option<NatKind>,
    forwarding: Forwarding,
    addresses: Vec<UnlAddress>,
    servers: Vec<String>,
    skipped: usize,
}

/// The letters of pyp2p for what both versions say.
mod letters {
    use super::Forwarding;
    use crate::reach::NodeType;

    pub(super) fn of_node_type(node_type: NodeType) -> u8 {
        match node_type {
            NodeType::Passive => b'p',
            NodeType::Active => b'a',
            NodeType::Simultaneous => b's',
        }
    }

    pub(super) fn node_type(letter: u8) -> Option<NodeType> {
        match letter {
            b'p' => Some(NodeType::Passive),
            b'a' => Some(NodeType::Active),
            b's' => Some(NodeType::Simultaneous),
            _ => None,
        }
    }

    pub(super) fn of_forwarding(forwarding: Forwarding) -> u8 {
        match forwarding {
            Forwarding::None => b'm',
            Forwarding::ByHand => b'f',
            Forwarding::Upnp => b'U',
            Forwarding::NatPmp => b'N',
        }
    }

    pub(super) fn forwarding(letter: u8) -> Option<Forwarding> {
        match letter {
            b'm' => Some(Forwarding::None),
            b'f' => Some(Forwarding::ByHand),
            b'U' => Some(Forwarding::Upnp),
            b'N' => Some(Forwarding::NatPmp),
            _ => None,
        }
    }
}

/// The word alone. A UNL has none of the characters that come along when it is pasted out of a text, and a checksum that
/// tells whether it is whole: they are left out wherever they stand, as terminals and mail programs break it.
fn unwrapped(text: &str) -> String {
    let text = text.trim_matches(is_wrapping);
    let begin = text.get(..4).filter(|begin| begin.eq_ignore_ascii_case("unl:")).map_or(0, str::len);
    text[begin..].chars().filter(|&character| !is_wrapping(character)).collect()
}

/// Quotes, the marks of quoted lines, blanks, line ends, and what can not be seen.
pub(crate) fn is_wrapping(character: char) -> bool {
    character.is_whitespace()
        || (!is_harmless(character) && !character.is_control())
        || matches!(character, '"' | '\'' | '`' | '“' | '”' | '„' | '‘' | '’' | '<' | '>')
}
