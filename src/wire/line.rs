//! Lines: what ends one, and a received one as a value.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;

use super::escape::unescape;
use crate::config::LineEnd;

/// A received line, without its end.
///
/// A line of up to 80 bytes is copied out of the chunk that it arrived in: that costs less than counting one more
/// reference to the chunk. A longer one is a reference-counted part of the chunk, not copied; the other side of that coin
/// is that a long line that is kept keeps its chunk, of 128 KiB: see [`detach`](Line::detach). Neither allocates, as long as
/// long lines are dropped within the walk that read them; of those that are kept, the ones of one chunk allocate 48 bytes
/// together.
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
// Flat, and all of it always written, in moves of 16 bytes: it is copied right after it was written, as it goes up to the
// loop that reads it, and a processor that loads what it has just stored in pieces of another shape has to wait until
// those have reached its cache, which costs more than finding the line. An enum with a `Bytes` in it, or smaller fields,
// bring that wait back (measured: half of the time of a loop that reads lines).
#[repr(C, align(16))]
#[derive(Clone)]
pub struct Line {
    /// A short line's bytes, and whatever followed it. Of a long one, where it begins in `shared`.
    text: [u8; SHORT],
    len: usize,
    /// What a long line is a part of.
    shared: Option<Arc<Bytes>>,
    /// The text with its replacements, made when it is first asked for, and only where the bytes are not UTF-8.
    lossy: OnceCell<Box<Box<str>>>,
    /// Written with `lossy`, in one move.
    padding: Padding,
}

/// Zero. No other value is one, so that an `Option` of a line is as large as the line.
#[repr(u64)]
#[derive(Clone, Copy)]
enum Padding {
    Zero = 0,
}

/// How long a line may be to be copied.
pub(crate) const SHORT: usize = 80;

impl Line {
    /// The bytes as they came, without the line end: any byte but LF can be among them.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.shared {
            None => &self.text[..self.len],
            Some(shared) => &shared[self.start()..][..self.len],
        }
    }

    /// The text; bytes that are not UTF-8 show as U+FFFD.
    pub fn as_str(&self) -> &str {
        match std::str::from_utf8(self.as_bytes()) {
            Ok(text) => text,
            Err(_) => self.lossy.get_or_init(|| Box::new(String::from_utf8_lossy(self.as_bytes()).into())),
        }
    }

    /// The same line in memory of its own, so that keeping it does not keep the chunk that it arrived in.
    pub fn detach(self) -> Self {
        match self.shared {
            None => self,
            Some(_) => {
                let own = Arc::new(Bytes::copy_from_slice(self.as_bytes()));
                Self { text: [0; SHORT], shared: Some(own), ..self }
            }
        }
    }

    fn start(&self) -> usize {
        self.text.first_chunk().map_or(0, |start| usize::from_ne_bytes(*start))
    }
}

/// A received line where it stands, for who only looks at it; see [`Con::for_each_line`](crate::Con::for_each_line).
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
/// let mut longest = None;
/// for con in net.connections() {
///     con.for_each_line(|line| {
///         if line == "STOP" {
///             con.close();
///         } else if line.as_bytes().len() > 1000 {
///             longest = Some(line.to_line()); // to keep it
///         }
///     });
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy)]
pub struct LineRef<'a>(Found<'a>);

impl<'a> LineRef<'a> {
    /// The bytes as they came, without the line end: any byte but LF can be among them.
    #[inline]
    pub fn as_bytes(self) -> &'a [u8] {
        self.0.as_bytes()
    }

    /// The text; bytes that are not UTF-8 show as U+FFFD.
    pub fn to_str(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.as_bytes())
    }

    /// The line as a value, to be kept. A long one keeps its chunk, as any [`Line`] does, and allocates its share in that.
    pub fn to_line(self) -> Line {
        self.0.to_line()
    }
}

impl AsRef<[u8]> for LineRef<'_> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for LineRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.to_str())
    }
}

impl fmt::Debug for LineRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.to_str(), f)
    }
}

impl PartialEq for LineRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for LineRef<'_> {}

impl PartialEq<str> for LineRef<'_> {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for LineRef<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

/// A line where it stands in its chunk. It is handed up through the layers in place of a [`Line`], which is made last.
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

    /// The application's line in a line of a node link.
    #[inline]
    pub(crate) fn unescaped(self) -> Self {
        let line = self.as_bytes();
        let cut = line.len() - unescape(line).len();
        let Span { start, len } = self.span;
        Self { span: Span { start: start + cut, len: len - cut }, ..self }
    }

    #[inline]
    pub(crate) fn lend(self) -> LineRef<'a> {
        LineRef(self)
    }

    #[inline(always)]
    pub(crate) fn to_line(self) -> Line {
        self.to_line_by(|chunk| Arc::new(chunk.clone()))
    }

    /// `share` is asked for a long line's share in its chunk.
    // Each field in one place, whatever the line is: so it is made of values in registers, where it is used.
    #[inline(always)]
    pub(crate) fn to_line_by(self, share: impl FnOnce(&Bytes) -> Arc<Bytes>) -> Line {
        let Span { start, len } = self.span;
        let is_short = len <= SHORT;
        // A length that is known when this is compiled makes the copy five moves; what is too much is never shown.
        let text = match self.chunk[start..].first_chunk::<SHORT>() {
            Some(text) if is_short => *text,
            _ => self.text(),
        };
        let shared = if is_short { None } else { Some(share(self.chunk)) };
        Line { text, len, shared, lossy: OnceCell::new(), padding: Padding::Zero }
    }

    /// Of a long line, or one near the end of its chunk.
    #[cold]
    #[inline(never)]
    fn text(self) -> [u8; SHORT] {
        if self.span.len > SHORT { start_as_text(self.span.start) } else { padded(self.as_bytes()) }
    }
}

/// A short line, and nothing behind it.
fn padded(line: &[u8]) -> [u8; SHORT] {
    let mut text = [0; SHORT];
    text[..line.len()].copy_from_slice(line);
    text
}

/// Where a long line begins.
fn start_as_text(start: usize) -> [u8; SHORT] {
    padded(&start.to_ne_bytes())
}

/// Long lines' shares in their chunks, which are used again when no line has one any more: a long line allocates nothing.
#[derive(Debug, Default)]
pub(crate) struct Shares(Vec<Arc<Bytes>>);

impl Shares {
    /// As many chunks as a tick fills by default, and as many again.
    const LIMIT: usize = 4;

    pub(crate) fn share(&mut self, chunk: &Bytes) -> Arc<Bytes> {
        if let Some(last) = self.0.last().filter(|last| is_same(last, chunk)) {
            return last.clone();
        }
        let free = self.0.iter_mut().position(|share| Arc::get_mut(share).is_some());
        let mut share = free.map(|at| self.0.swap_remove(at)).unwrap_or_default();
        match Arc::get_mut(&mut share) {
            Some(unused) => *unused = chunk.clone(),
            None => share = Arc::new(chunk.clone()),
        }
        if self.0.len() == Self::LIMIT {
            self.0.swap_remove(0);
        }
        self.0.push(share.clone());
        share
    }

    /// Lets go of chunks of which no line is held.
    pub(crate) fn settle(&mut self) {
        self.0.iter_mut().filter_map(Arc::get_mut).for_each(|share| *share = Bytes::new());
    }
}

/// Whether two slices are one. Both are held, so that no other can have come to the same place.
pub(crate) fn is_same(one: &Bytes, other: &Bytes) -> bool {
    (one.as_ptr(), one.len()) == (other.as_ptr(), other.len())
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
    keeps_its_end(bytes, line_end) && !contains_line_feed(bytes)
}

/// Whether all of a line arrives that has no LF in it: a CR in front of a bare LF would be taken for a part of the line end.
#[inline]
pub(crate) fn keeps_its_end(bytes: &[u8], line_end: LineEnd) -> bool {
    line_end != LineEnd::Lf || bytes.last() != Some(&b'\r')
}

/// Writes a line with its end. Returns how many line ends there are now.
#[inline(always)]
pub(crate) fn put_line(tail: &mut Vec<u8>, line: &[u8], end: LineEnd) -> usize {
    tail.extend_from_slice(line);
    // Of a length that the compiler knows: a call to copy two bytes costs more than the two.
    match end {
        LineEnd::CrLf => tail.extend_from_slice(b"\r\n"),
        LineEnd::Lf => tail.push(b'\n'),
    }
    1
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

#[inline(always)]
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
    fn a_line_is_flat_and_none_is_one_too() {
        assert_eq!((size_of::<Line>(), size_of::<Option<Line>>(), align_of::<Line>()), (112, 112, 16));
    }

    #[test]
    fn a_long_line_that_is_no_text_shows_as_one() {
        let long = [&[b'x'; SHORT][..], b"\xff\n"].concat();
        let line = lines(long).0.remove(0);
        assert_eq!(&*line, "x".repeat(SHORT) + "\u{fffd}");
        assert_eq!(&*line.clone().detach(), &*line);
    }

    #[test]
    fn a_detached_line_keeps_nothing_but_itself() {
        let chunk = Bytes::from([&[b'x'; 2 * SHORT][..], b"\n"].concat());
        let line = Found { chunk: &chunk, span: Span { start: 5, len: SHORT + 1 } }.to_line();
        assert!(!chunk.is_unique());
        let line = line.detach();
        assert!(chunk.is_unique());
        assert_eq!(line.as_bytes(), [b'x'; SHORT + 1]);
    }

    #[test]
    fn shares_are_used_again_and_hold_no_chunk_when_they_are_settled() {
        let (mut shares, mut seen) = (Shares::default(), std::collections::HashSet::new());
        for _ in 0..100 {
            let chunk = Bytes::from(vec![b'x'; 200]);
            let found = Found { chunk: &chunk, span: Span { start: 0, len: 150 } };
            let lines = [(); 2].map(|()| found.to_line_by(|chunk| shares.share(chunk)));
            seen.extend(lines.iter().flat_map(|line| line.shared.as_ref().map(Arc::as_ptr)));
            shares.settle();
            assert!(!chunk.is_unique(), "it is held by lines");
            drop(lines);
            shares.settle();
            assert!(chunk.is_unique());
        }
        assert_eq!(seen.len(), 1);
        let kept: Vec<_> = (0..100u8).map(|n| shares.share(&vec![n; 200].into())).collect();
        assert!(kept.iter().zip(0..).all(|(share, n)| share[..] == [n; 200]));
        assert!(shares.0.len() <= Shares::LIMIT);
    }

    #[test]
    fn a_line_that_is_lent_can_be_shown_and_kept() {
        let chunk = Bytes::from(&b"one\xff\n"[..]);
        let line = Found { chunk: &chunk, span: Span { start: 1, len: 3 } }.lend();
        assert_eq!((line.to_str().as_ref(), format!("{line:>5}")), ("ne\u{fffd}", "  ne\u{fffd}".into()));
        assert_eq!(
            (line.to_line().as_bytes(), format!("{line:?}")),
            (line.as_bytes(), "\"ne\u{fffd}\"".into())
        );
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
