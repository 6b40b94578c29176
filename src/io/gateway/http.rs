//! HTTP, as much as routers are asked by it: one request on a connection of its own, past any proxy, with a deadline.
//!
//! Their servers are small, and often wrong: they answer a request of version 1.0 in chunks, keep the connection open that
//! they were told to close, and miscount. So an answer is taken as far as it came when it ends, and as whole when its
//! document is.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Answers are some hundred bytes long, descriptions up to some ten thousand; more than this is nobody's whom we ask.
const LONGEST: usize = 256 << 10;

/// More fields than this has no router's answer.
const FIELDS: usize = 64;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
}

/// Asks, and waits for the answer; no longer than `patience`, all in all.
pub(super) fn exchange(addr: SocketAddr, request: &[u8], patience: Duration) -> io::Result<Answer> {
    let begin = Instant::now();
    // Never zero, which would mean without end.
    let left = || {
        patience.checked_sub(begin.elapsed()).filter(|left| !left.is_zero()).ok_or(io::ErrorKind::TimedOut)
    };
    let mut stream = TcpStream::connect_timeout(&addr, left()?)?;
    stream.set_write_timeout(Some(left()?))?;
    stream.write_all(request)?;
    let mut incoming = Incoming::default();
    loop {
        stream.set_read_timeout(Some(left()?))?;
        let mut piece = [0; 2048];
        let len = stream.read(&mut piece)?;
        if len == 0 {
            return incoming.end();
        }
        if let Some(answer) = incoming.take(&piece[..len])? {
            return Ok(answer);
        }
    }
}

/// An answer as it arrives.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    /// What is not taken apart yet.
    bytes: Vec<u8>,
    /// All that came.
    total: usize,
    head: Option<Head>,
    body: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    status: u16,
    extent: Extent,
}

/// How far the body goes.
#[derive(Debug, Clone, Copy)]
enum Extent {
    /// So many bytes more.
    Length(usize),
    /// Chunks (RFC 9112 section 7.1); of the present one so many bytes more.
    Chunks(usize),
    /// Until the connection ends.
    Open,
}

impl Incoming {
    /// Takes what arrived. Returns the answer when it is complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> io::Result<Option<Answer>> {
        self.total += bytes.len();
        if self.total > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.bytes.extend_from_slice(bytes);
        while self.head.is_none() {
            if !self.read_head()? {
                return Ok(None);
            }
        }
        let is_complete = self.read_body()? || is_whole(&self.body);
        Ok(is_complete.then(|| self.answer()).flatten())
    }

    /// The connection has ended: what there is of the answer, is it.
    pub(super) fn end(mut self) -> io::Result<Answer> {
        self.answer().ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn answer(&mut self) -> Option<Answer> {
        let Head { status, .. } = self.head?;
        Some(Answer { status, body: std::mem::take(&mut self.body) })
    }

    /// Whether the head is complete. One that says that another follows (RFC 9110 section 15.2) is forgotten.
    fn read_head(&mut self) -> io::Result<bool> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let mut lenient = httparse::ParserConfig::default();
        lenient
            .allow_spaces_after_header_name_in_responses(true)
            .allow_obsolete_multiline_headers_in_responses(true)
            .allow_multiple_spaces_in_response_status_delimiters(true)
            .ignore_invalid_headers_in_responses(true);
        let parsed = lenient.parse_response(&mut response, &self.bytes);
        let len = match parsed.map_err(|_| io::ErrorKind::InvalidData)? {
            httparse::Status::Complete(len) => len,
            httparse::Status::Partial => return Ok(false),
        };
        let status = response.code.unwrap_or_default();
        let extent = extent(response.headers);
        self.bytes.drain(..len);
        if !(100..200).contains(&status) {
            self.head = Some(Head { status, extent });
        }
        Ok(true)
    }

    /// Whether the body is complete.
    fn read_body(&mut self) -> io::Result<bool> {
        let Some(head) = &mut self.head else { return Ok(false) };
        match &mut head.extent {
            Extent::Open => self.body.append(&mut self.bytes),
            Extent::Length(left) => {
                let len = self.bytes.len().min(*left);
                self.body.extend(self.bytes.drain(..len));
                *left -= len;
                return Ok(*left == 0);
            }
            Extent::Chunks(left) => return read_chunks(&mut self.bytes, left, &mut self.body),
        }
        Ok(false)
    }
}

/// Takes chunks, as far as they have come. Returns whether the last one has.
fn read_chunks(bytes: &mut Vec<u8>, left: &mut usize, body: &mut Vec<u8>) -> io::Result<bool> {
    let mut at = 0;
    let is_last = loop {
        let len = bytes.len().saturating_sub(at).min(*left);
        body.extend_from_slice(&bytes[at..at + len]);
        (at, *left) = (at + len, *left - len);
        // The line end after a chunk belongs to it.
        let blank = bytes[at..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        at += blank;
        if *left > 0 || at == bytes.len() {
            break false;
        }
        match httparse::parse_chunk_size(&bytes[at..]).map_err(|_| io::ErrorKind::InvalidData)? {
            httparse::Status::Complete((_, 0)) => break true,
            httparse::Status::Complete((head, size)) => {
                at += head;
                *left = usize::try_from(size).unwrap_or(usize::MAX);
            }
            httparse::Status::Partial => break false,
        }
    };
    bytes.drain(..at);
    Ok(is_last)
}

fn extent(fields: &[httparse::Header]) -> Extent {
    let value = |name: &str| {
        let field = fields.iter().find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(field.value).ok()
    };
    let is_chunked =
        value("transfer-encoding").is_some_and(|coding| coding.to_ascii_lowercase().contains("chunked"));
    let length = value("content-length").and_then(|length| length.trim().parse().ok());
    match length {
        _ if is_chunked => Extent::Chunks(0),
        // Some say 0 where they mean that they do not know.
        Some(0) | None => Extent::Open,
        Some(length) => Extent::Length(length),
    }
}

/// Whether the document has come to its end: some keep the connection open, or promise more than there is.
fn is_whole(body: &[u8]) -> bool {
    let end = body.iter().rposition(|byte| !byte.is_ascii_whitespace() && *byte != 0).map_or(0, |at| at + 1);
    body[..end].ends_with(b"Envelope>") || body[..end].ends_with(b"</root>")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In pieces of so many bytes, and then the end.
    fn read(answer: &str, piece: usize) -> io::Result<Answer> {
        let mut incoming = Incoming::default();
        for piece in answer.as_bytes().chunks(piece) {
            if let Some(answer) = incoming.take(piece)? {
                return Ok(answer);
            }
        }
        incoming.end()
    }

    #[test]
    fn whatever_says_how_long_it_is() {
        for (fields, body) in [
            ("Content-Length: 5\r\n", "<a/>\nand more"),
            ("content-length : 5\r\nX\r\n", "<a/>\n"),
            ("Content-Length: 500\r\n", "<a/>\n"),
            ("Content-Length: 0\r\n", "<a/>\n"),
            ("", "<a/>\n"),
            ("Transfer-Encoding: chunked\r\n", "3\r\n<a/\r\n2;x=y\r\n>\n\r\n0\r\n\r\n"),
            ("Content-Length: 9\r\nTransfer-Encoding:  Chunked\r\n", "005\r\n<a/>\n\r\n0\r\n"),
            ("Transfer-Encoding: chunked\r\n", "500\r\n<a/>\n"),
        ] {
            for piece in [1, 2, 3, 7, 4096] {
                let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
                let expected = Answer { status: 200, body: b"<a/>\n".to_vec() };
                assert_eq!(read(&text, piece).unwrap(), expected, "{text:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_whole_is_not_waited_for() {
        for end in ["</s:Envelope>", "</SOAP-ENV:Envelope>\r\n", "</root>\n\0"] {
            let mut incoming = Incoming::default();
            let answer = incoming.take(format!("HTTP/1.0 500 X\n\n<{end}").as_bytes()).unwrap();
            assert_eq!(answer.map(|answer| answer.status), Some(500), "{end:?}");
        }
    }

    #[test]
    fn an_answer_that_is_announced_is_waited_for() {
        let answer = read("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\nx", 1);
        assert_eq!(answer.unwrap(), Answer { status: 404, body: b"x".to_vec() });
    }

    #[test]
    fn nonsense_is_told_and_none_is_too_long() {
        assert_eq!(read("", 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read("HTTP/1.1 200 OK\r\nA: b", 1).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        for nonsense in ["\0\0\0\0\0\0\0\0", "GET / HTTP/1.1\r\n\r\n"] {
            assert_eq!(read(nonsense, 3).unwrap_err().kind(), io::ErrorKind::InvalidData);
        }
        let chunks = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nmany\r\n";
        assert_eq!(read(chunks, 5).unwrap_err().kind(), io::ErrorKind::InvalidData);
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(LONGEST));
        assert_eq!(read(&endless, 2048).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
