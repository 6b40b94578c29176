//! What the two ends say to each other, one line each. Bytes are in Base64, so that all of it can be typed and read.

use std::fmt;
use std::io::{self, Read};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::Digest as _;

/// Bytes of the file in one line; in Base64 they are a third more.
pub(crate) const CHUNK: usize = 24 << 10;

/// What the sender says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sending {
    /// `offer SIZE SHA256 NAME`
    Offer(Offer),
    /// `data OFFSET BASE64`
    Data { offset: u64, bytes: Vec<u8> },
}

/// A file that is offered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) size: u64,
    pub(crate) digest: Sha256,
    pub(crate) name: String,
}

/// What the receiver says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Receiving {
    /// `have OFFSET`: so much is there already; go on from here.
    Have(u64),
    /// `done`: the file is there, and is the one that was offered.
    Done,
    /// `later WHY`: not now.
    Later(String),
    /// `no WHY`: not at all.
    No(String),
}

impl Sending {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.split_once(' ')?;
        match verb {
            "offer" => {
                let mut words = rest.splitn(3, ' ');
                let (size, digest, name) = (words.next()?, words.next()?, words.next()?);
                Some(Self::Offer(Offer {
                    size: size.parse().ok()?,
                    digest: Sha256::parse(digest)?,
                    name: name.into(),
                }))
            }
            "data" => {
                let (offset, text) = rest.split_once(' ')?;
                let bytes = STANDARD.decode(text).ok().filter(|bytes| (1..=CHUNK).contains(&bytes.len()))?;
                Some(Self::Data { offset: offset.parse().ok()?, bytes })
            }
            _ => None,
        }
    }
}

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offer(Offer { size, digest, name }) => {
                // A line end would end the line; the receiver makes of the name what it likes anyway.
                write!(f, "offer {size} {digest} {}", name.replace(['\r', '\n'], "_"))
            }
            Self::Data { offset, bytes } => write!(f, "data {offset} {}", STANDARD.encode(bytes)),
        }
    }
}

impl Receiving {
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "have" => rest.parse().ok().map(Self::Have),
            "done" => Some(Self::Done),
            "later" => Some(Self::Later(rest.into())),
            "no" => Some(Self::No(rest.into())),
            _ => None,
        }
    }
}

impl fmt::Display for Receiving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Have(offset) => write!(f, "have {offset}"),
            Self::Done => f.write_str("done"),
            Self::Later(why) => write!(f, "later {why}"),
            Self::No(why) => write!(f, "no {why}"),
        }
    }
}

/// A SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sha256([u8; 32]);

impl Sha256 {
    /// Of all that can be read.
    pub(crate) fn of(mut from: impl Read) -> io::Result<Self> {
        let mut hasher = Hasher::default();
        while hasher.take(&mut from)? {}
        Ok(hasher.finish())
    }

    /// 64 hexadecimal digits.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut digest = [0; 32];
        for (place, byte) in digest.iter_mut().enumerate() {
            *byte = u8::from_str_radix(text.get(2 * place..2 * place + 2)?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A SHA-256 in the making, in steps that a loop can afford.
#[derive(Default)]
pub(crate) struct Hasher(sha2::Sha256);

impl Hasher {
    /// Takes 256 KiB at most; `false` when there is nothing more.
    pub(crate) fn take(&mut self, from: &mut impl Read) -> io::Result<bool> {
        let mut bytes = Vec::with_capacity(256 << 10);
        from.take(256 << 10).read_to_end(&mut bytes)?;
        self.0.update(&bytes);
        Ok(!bytes.is_empty())
    }

    pub(crate) fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}
