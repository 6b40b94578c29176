//! Lines: what ends one, and a received one as a slice of the chunk that it arrived in.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Deref;

use bytes::Bytes;

use crate::config::LineEnd;

/// A received line, without its end.
///
/// Making and cloning one allocates nothing. A line of up to 78 bytes is copied out of the chunk that it arrived in:
/// that costs less than counting one more reference to the chunk. A longer one is a reference-counted slice of the
/// chunk, not copied; the other side of that coin is that a long line that is kept keeps its chunk, of 64 KiB: see
/// [`detach`](Line::detach).
///
/// It derefs to `str`. What is not UTF-8 shows there as U+FFFD; [`as_bytes`](Line::as_bytes) gives what really came.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let net = p2poll::Config::new().start()?;
/// for con in net.connections() {
///     for line in con.replies() {
///         if let Some(name) = line.strip_prefix("HELLO ") {
///             println!("{name} came, in {} bytes", line.as_bytes().len());
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Line {
    bytes: Repr,
    /// The text with its replacements, made when it is first asked for, and only where the bytes are not UTF-8.
    lossy: OnceCell<Box<str>>,
}

/// How long a line may be to be copied. Together with its length it fills a cache line and a quarter.
const SHORT: usize = 78;

#[derive(Clone)]
enum Repr {
    /// The first `len` of `bytes`; what follows them is whatever followed the line.
    Short {
        len: u8,
        bytes: [u8; SHORT],
    },
    Shared(Bytes),
}

impl Line {
    /// The bytes as they came, without the line end: any byte but LF can be among them.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.bytes {
            Repr::Short { len, bytes } => &bytes[..usize::from(*len)],
            Repr::Shared(bytes) => bytes,
        }
    }

    /// The text; bytes that are not UTF-8 show as U+FFFD.
    pub fn as_str(&self) -> &str {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => text,
            Err(_) => self.lossy.get_or_init(|| String::from_utf8_lossy(self.as_bytes()).into()),
        }
    }

    /// The same line in memory of its own, so that keeping it does not keep the chunk that it arrived in.
    pub fn detach(self) -> Self {
        match self.bytes {
            Repr::Short { .. } => self,
            Repr::Shared(bytes) => {
                Self { bytes: Repr::Shared(Bytes::copy_from_slice(&bytes)), lossy: self.lossy }
            }
        }
    }
}

/// A line where it stands in its chunk. It is handed up through the layers in place of a [`Line`], which is made last:
/// a value of its size would be copied from stack to stack, and each copy has to wait for the one before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found<'a> {
    pub(crate) chunk: &'a Bytes,
    pub(crate) span: Span,
}

/// The place of a line in its chunk, without its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl<'a> Found<'a> {
    #[inline]
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        let Span { start, len } = self.span;
        &self.chunk[start..start + len]
    }

    #[inline(always)]
    pub(crate) fn to_line(self) -> Line {
        let bytes = if self.span.len <= SHORT { self.copied() } else { Repr::Shared(self.shared()) };
        Line { bytes, lossy: OnceCell::new() }
    }

    #[inline(always)]
    fn copied(self) -> Repr {
        // A length that is known when this is compiled makes the copy five moves; what is too much is never shown.
        let bytes = match self.chunk[self.span.start..].first_chunk::<SHORT>() {
            Some(bytes) => *bytes,
            None => {
                let mut bytes = [0; SHORT];
                bytes[..self.span.len].copy_from_slice(self.as_bytes());
                bytes
            }
        };
        Repr::Short { len: self.span.len as u8, bytes }
    }

    fn shared(self) -> Bytes {
        let Span { start, len } = self.span;
        self.chunk.slice(start..start + len)
    }
}

impl Deref for Line {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<str> for Line {
    fn as_ref(&self) -> &str {
        self
    }
}

impl AsRef<[u8]> for Line {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl PartialEq for Line {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Line {}

impl PartialEq<str> for Line {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for Line {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// Finds the first line of what is left of a chunk: its length without the end (LF, or CR LF) and with it; `None` when
/// no LF is there.
#[inline(always)]
pub(crate) fn find_line(rest: &[u8]) -> Option<(usize, usize)> {
    let end = memchr::memchr(b'\n', rest)?;
    Some((without_carriage_return(&rest[..end]), end + 1))
}

/// Whether the bytes would arrive as the one line that they are, when sent with this end.
#[inline]
pub(crate) fn is_one_line(bytes: &[u8], line_end: LineEnd) -> bool {
    // A CR in front of a bare LF would be taken for a part of the line end.
    let eaten = line_end == LineEnd::Lf && bytes.last() == Some(&b'\r');
    !eaten && !contains_line_feed(bytes)
}

/// Most lines are short, and a loop over all of one that the compiler turns into a few vector instructions is over
/// before a search that could stop early has begun.
#[inline]
fn contains_line_feed(bytes: &[u8]) -> bool {
    const SHORT: usize = 128;
    if bytes.len() <= SHORT {
        bytes.iter().fold(false, |found, &byte| found | (byte == b'\n'))
    } else {
        memchr::memchr(b'\n', bytes).is_some()
    }
}

fn without_carriage_return(line: &[u8]) -> usize {
    line.len() - usize::from(line.last() == Some(&b'\r'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All lines of a text, and what is left of it.
    fn lines(text: impl Into<Bytes>) -> (Vec<Line>, Bytes) {
        let (chunk, mut start, mut lines) = (text.into(), 0, Vec::new());
        while let Some((len, taken)) = find_line(&chunk[start..]) {
            lines.push(Found { chunk: &chunk, span: Span { start, len } }.to_line());
            start += taken;
        }
        (lines, chunk.slice(start..))
    }

    #[test]
    fn both_line_ends_are_read_and_empty_lines_are_lines() {
        let (lines, rest) = lines(&b"a\r\n\r\n\nb\rc\r\r\nrest"[..]);
        assert_eq!(lines, ["a", "", "", "b\rc\r"]);
        assert_eq!(rest, "rest");
    }

    #[test]
    fn bytes_are_exact_and_text_is_readable() {
        let line = lines(&b"a\0\xffz\n"[..]).0.remove(0);
        assert_eq!(line.as_bytes(), b"a\0\xffz");
        assert_eq!(&*line, "a\0\u{fffd}z");
        assert_eq!(format!("{line:>6}"), "  a\0\u{fffd}z");
        assert_eq!(line.clone().detach(), line);
    }

    #[test]
    fn what_would_not_arrive_as_one_line_is_told() {
        assert!(is_one_line(b"a\rb\r", LineEnd::CrLf));
        assert!(!is_one_line(b"a\rb\r", LineEnd::Lf));
        assert!(!is_one_line(b"a\nb", LineEnd::CrLf));
        assert!(is_one_line(b"", LineEnd::Lf));
    }

    proptest! {
        /// Whatever is sent as one line arrives as that line, with either end.
        #[test]
        fn one_line_arrives_as_itself(bytes in prop::collection::vec(any::<u8>(), 0..2 * SHORT), crlf: bool) {
            let end = if crlf { LineEnd::CrLf } else { LineEnd::Lf };
            let sent = [&bytes, end.as_bytes()].concat();
            let (arrived, rest) = lines(sent);
            let exact = arrived.len() == 1 && arrived[0].as_bytes() == bytes && rest.is_empty();
            prop_assert_eq!(exact, is_one_line(&bytes, end));
            prop_assert_eq!(arrived[0].clone().detach(), arrived[0].clone());
        }
    }
}
