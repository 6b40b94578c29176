//! Lines: what ends one, and a received one as a slice of the chunk that it arrived in.

use std::cell::OnceCell;
use std::fmt;
use std::ops::Deref;

use bytes::{Buf, Bytes};

use crate::config::LineEnd;

/// A received line, without its end.
///
/// It is a reference-counted slice of the chunk that it arrived in: making and cloning it copies and allocates
/// nothing. The other side of that coin: a line that is kept keeps its chunk, of up to 64 KiB; see
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
    bytes: Bytes,
    /// The text with its replacements, made when it is first asked for, and only where the bytes are not UTF-8.
    lossy: OnceCell<Box<str>>,
}

impl Line {
    #[inline]
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { bytes, lossy: OnceCell::new() }
    }

    /// The bytes as they came, without the line end: any byte but LF can be among them.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text; bytes that are not UTF-8 show as U+FFFD.
    pub fn as_str(&self) -> &str {
        match std::str::from_utf8(&self.bytes) {
            Ok(text) => text,
            Err(_) => self.lossy.get_or_init(|| String::from_utf8_lossy(&self.bytes).into()),
        }
    }

    /// The same line in memory of its own, so that keeping it does not keep the chunk that it arrived in.
    pub fn detach(self) -> Self {
        Self { bytes: Bytes::copy_from_slice(&self.bytes), lossy: self.lossy }
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
        &self.bytes
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
        self.bytes == other.bytes
    }
}

impl Eq for Line {}

impl PartialEq<str> for Line {
    fn eq(&self, other: &str) -> bool {
        self.bytes == other.as_bytes()
    }
}

impl PartialEq<&str> for Line {
    fn eq(&self, other: &&str) -> bool {
        self.bytes == other.as_bytes()
    }
}

/// Takes the first line from the front of a chunk, without its end (LF, or CR LF); `None` when no LF is there.
#[inline]
pub(crate) fn take_line(chunk: &mut Bytes) -> Option<Bytes> {
    let end = memchr::memchr(b'\n', chunk)?;
    let mut line = if end + 1 == chunk.len() { std::mem::take(chunk) } else { chunk.split_to(end + 1) };
    line.truncate(without_carriage_return(&line[..end]));
    Some(line)
}

/// The same, said in another way, to compare with.
#[cfg(test)]
pub(crate) fn split_line(chunk: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(b'\n', chunk)?;
    Some((&chunk[..without_carriage_return(&chunk[..end])], &chunk[end + 1..]))
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

/// Drops `n` bytes from the front without copying.
pub(crate) fn skip(chunk: &mut Bytes, n: usize) {
    chunk.advance(n.min(chunk.len()));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn lines(text: &'static [u8]) -> (Vec<Bytes>, Bytes) {
        let mut chunk = Bytes::from_static(text);
        let lines = std::iter::from_fn(|| take_line(&mut chunk)).collect();
        (lines, chunk)
    }

    #[test]
    fn both_line_ends_are_read_and_empty_lines_are_lines() {
        let (lines, rest) = lines(b"a\r\n\r\n\nb\rc\r\r\nrest");
        assert_eq!(lines, ["a", "", "", "b\rc\r"]);
        assert_eq!(rest, "rest");
    }

    #[test]
    fn bytes_are_exact_and_text_is_readable() {
        let line = Line::new(Bytes::from_static(b"a\0\xffz"));
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
        fn one_line_arrives_as_itself(bytes in prop::collection::vec(any::<u8>(), 0..40), crlf: bool) {
            let end = if crlf { LineEnd::CrLf } else { LineEnd::Lf };
            let mut sent = bytes.clone();
            sent.extend_from_slice(end.as_bytes());
            let mut chunk = Bytes::from(sent.clone());
            let arrived = take_line(&mut chunk).expect("there is an end");
            prop_assert_eq!(arrived == bytes && chunk.is_empty(), is_one_line(&bytes, end));
            let (split, rest) = split_line(&sent).expect("there is an end");
            prop_assert_eq!(arrived, split);
            prop_assert_eq!(chunk, rest);
        }
    }
}
