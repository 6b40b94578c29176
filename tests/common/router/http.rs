//! As much of HTTP/1.1 as a control point needs: one request on a connection, answered and closed.

use super::Framing;

/// A request as it arrives.
#[derive(Debug, Default)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

/// Longer ones are nobody's whom we know.
const LONGEST: usize = 64 << 10;

impl Request {
    /// Takes what arrived. Returns whether it is complete.
    pub(super) fn take(&mut self, bytes: &[u8]) -> bool {
        self.bytes.extend_from_slice(bytes);
        self.is_complete() || self.bytes.len() > LONGEST
    }

    fn is_complete(&self) -> bool {
        let Some(end) = self.bytes.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        let len = self.header("content-length").and_then(|len| len.parse().ok()).unwrap_or(0_usize);
        self.bytes.len() >= end + 4 + len
    }

    /// The path of its first line.
    pub(super) fn path(&self) -> String {
        self.text().split_whitespace().nth(1).unwrap_or_default().to_owned()
    }

    /// What follows the `#` in its SOAPAction.
    pub(super) fn action(&self) -> String {
        let action = self.header("soapaction").unwrap_or_default();
        action.trim_matches('"').rsplit('#').next().unwrap_or_default().to_owned()
    }

    /// The text of the element of that name in its body.
    pub(super) fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        Some(rest.split_once('<')?.0.to_owned())
    }

    fn header(&self, name: &str) -> Option<String> {
        self.text().lines().take_while(|line| !line.is_empty()).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// A whole answer.
pub(super) fn answer(status: &str, body: &[u8], framing: Framing) -> Vec<u8> {
    let (field, body) = match framing {
        Framing::Length => (format!("Content-Length: {}\r\n", body.len()), body.to_vec()),
        Framing::End => (String::new(), body.to_vec()),
        // Small ones, so that names and numbers are cut.
        Framing::Chunks => {
            let chunks = body.chunks(19).chain([&[][..]]);
            let framed = chunks
                .flat_map(|chunk| [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            ("Transfer-Encoding: chunked\r\n".into(), framed.collect())
        }
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/xml\r\nConnection: close\r\n{field}\r\n");
    [head.as_bytes(), &body].concat()
}
