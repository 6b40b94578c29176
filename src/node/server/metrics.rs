//! Who asks for the server's figures, at a listener that has no other purpose: a few at a time, each for one answer.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use crate::id::StreamId;
use crate::time::Instant;
use crate::wire::foreign::is_http_request;

/// At once: a monitor or two, and a person.
const MOST: usize = 8;

/// What an answer may take.
const WITHIN: Duration = Duration::from_secs(5);

/// A longer head of a request is not read to its end.
const LONGEST_HEAD: u64 = 16 << 10;

#[derive(Debug)]
pub(super) struct Metrics {
    at: Option<SocketAddr>,
    asking: VecDeque<(Instant, StreamId)>,
}

/// How far a request has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Asked {
    #[default]
    Nothing,
    /// The first line was this; the rest of the head says nothing that matters here.
    For(Page),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page {
    Figures,
    Other,
    /// That was no request.
    Bad,
}

impl Metrics {
    pub(super) fn new() -> Self {
        Self { at: None, asking: VecDeque::new() }
    }

    pub(super) fn handle_listening(&mut self, at: SocketAddr) {
        self.at = Some(at);
    }

    /// Whether a connection that arrived there is for this.
    pub(super) fn is_at(&self, local: SocketAddr) -> bool {
        self.at.is_some_and(|at| {
            at.port() == local.port()
                && (at.ip().is_unspecified() || at.ip().to_canonical() == local.ip().to_canonical())
        })
    }

    pub(super) fn has_room(&self) -> bool {
        self.asking.len() < MOST
    }

    pub(super) fn begin(&mut self, id: StreamId, now: Instant) {
        self.asking.push_back((now + WITHIN, id));
    }

    pub(super) fn end(&mut self, id: StreamId) {
        self.asking.retain(|(_, asking)| *asking != id);
    }

    /// The next that has taken too long.
    pub(super) fn pop_late(&mut self, now: Instant) -> Option<StreamId> {
        self.asking.front().filter(|(until, _)| *until <= now)?;
        self.asking.pop_front().map(|(_, id)| id)
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.asking.front().map(|(until, _)| *until)
    }
}

impl Asked {
    /// A line of the head, without its end: what to answer, once that is known. `received`: all that came until now.
    pub(super) fn handle_line(&mut self, line: &[u8], received: u64) -> Option<Page> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        match *self {
            _ if received > LONGEST_HEAD => Some(Page::Bad),
            Self::Nothing if !is_http_request(line) => Some(Page::Bad),
            Self::Nothing => {
                let target = line.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
                let is_get = line.starts_with(b"GET ");
                let known = is_get && matches!(target, b"/metrics" | b"/");
                *self = Self::For(if known { Page::Figures } else { Page::Other });
                None
            }
            Self::For(page) => line.is_empty().then_some(page),
        }
    }
}

impl Page {
    /// The whole answer.
    pub(super) fn answer(self, figures: impl FnOnce() -> String) -> Vec<u8> {
        let (status, body) = match self {
            Self::Figures => ("200 OK", figures()),
            Self::Other => ("404 Not Found", "GET /metrics\n".into()),
            Self::Bad => ("400 Bad Request", "GET /metrics HTTP/1.1\n".into()),
        };
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(lines: &[&str]) -> Option<Page> {
        let mut asked = Asked::default();
        lines.iter().find_map(|line| asked.handle_line(line.as_bytes(), 100))
    }

    #[test]
    fn the_figures_are_at_one_place() {
        assert_eq!(ask(&["GET /metrics HTTP/1.1", "Host: x", ""]), Some(Page::Figures));
        assert_eq!(ask(&["GET /metrics HTTP/1.1", "Host: x"]), None, "the head is not over");
        assert_eq!(ask(&["GET /metricsx HTTP/1.1", ""]), Some(Page::Other));
        assert_eq!(ask(&["POST /metrics HTTP/1.1", ""]), Some(Page::Other));
        assert_eq!(ask(&["BOOTSTRAP 10"]), Some(Page::Bad));
        assert_eq!(Asked::default().handle_line(b"GET / HTTP/1.1", LONGEST_HEAD + 1), Some(Page::Bad));
        let answer = String::from_utf8(Page::Figures.answer(|| "a 1\n".into())).expect("text");
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n")
                && answer.ends_with("\r\nContent-Length: 4\r\nConnection: close\r\n\r\na 1\n")
        );
    }

    #[test]
    fn a_few_may_ask_and_not_for_long() {
        let mut metrics = Metrics::new();
        assert!(!metrics.is_at("127.0.0.1:9".parse().unwrap()));
        metrics.handle_listening("0.0.0.0:9".parse().unwrap());
        assert!(
            metrics.is_at("127.0.0.1:9".parse().unwrap()) && !metrics.is_at("127.0.0.1:8".parse().unwrap())
        );
        let mut streams: crate::node::streams::Streams<()> =
            crate::node::streams::Streams::new(crate::config::StreamLimits::default());
        let addr = "127.0.0.1:9".parse().unwrap();
        let mut begun = 0;
        while metrics.has_room() {
            metrics.begin(streams.accept(addr, addr, (), Instant::ZERO), Instant::ZERO);
            begun += 1;
        }
        assert_eq!((begun, metrics.pop_late(Instant::ZERO)), (MOST, None));
        let late = metrics.poll_timeout().expect("somebody asks");
        assert_eq!(std::iter::from_fn(|| metrics.pop_late(late)).count(), MOST);
    }
}
