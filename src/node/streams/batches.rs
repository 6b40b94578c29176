//! Tests: lines that are read together leave everything as if they had been asked for one by one.

use proptest::prelude::*;

use super::*;
use crate::wire::line::{Span, find_line};

const LIMITS: StreamLimits = StreamLimits { max_unread: 300, max_line: 60, ..StreamLimits::DEFAULT };

/// A node's streams with one of them, and what came of it.
struct Reader {
    streams: Streams<u8>,
    id: StreamId,
    /// What has not arrived yet.
    rest: Vec<u8>,
    lines: Vec<Vec<u8>>,
}

impl Reader {
    fn new(text: &[u8], is_link: bool) -> Self {
        let mut streams = Streams::new(LIMITS);
        let end = SocketAddr::from(([127, 0, 0, 1], 9));
        let id = streams.accept(end, end, 1, Instant::ZERO);
        if is_link {
            streams.frame_sending(id, 400, 400);
            streams.frame_receiving(id, false);
        }
        Self { streams, id, rest: text.to_vec(), lines: Vec::new() }
    }

    /// As much as it takes arrives, up to so many bytes.
    fn receive(&mut self, most: usize) {
        self.streams.settle_ready();
        let slot = self.id.slot();
        if let Some(space) = self.streams.space(slot) {
            let len = most.min(self.rest.len()).min(space.len());
            space[..len].copy_from_slice(&self.rest[..len]);
            self.rest.drain(..len);
            self.streams.handle_received(slot, len);
        }
    }

    fn read_one_by_one(&mut self, most: usize) {
        for _ in 0..most {
            let line = self.streams.next_line(self.id).map(|found| found.as_bytes().to_vec());
            let Some(line) = line else { return };
            self.lines.push(line);
        }
    }

    fn read_together(&mut self, most: usize) {
        let before = self.lines.len();
        while self.lines.len() - before < most {
            let Some(rest) = self.streams.rest(self.id) else { return };
            let (piece, begin) = (rest.piece.clone(), rest.at);
            let mut read = ReadLines { stream: rest.stream, len: 0, lines: 0 };
            let (is_escaped, max_line) = (rest.is_escaped, rest.max_line);
            while self.lines.len() - before < most
                && let Some((len, taken)) = find_line(&piece[begin + read.len..])
                && len <= max_line
            {
                let start = begin + read.len;
                let found = Found { chunk: &piece, span: Span { start, len } };
                let found = if is_escaped { found.unescaped() } else { found };
                self.lines.push(found.as_bytes().to_vec());
                read.len += taken;
                read.lines += 1;
            }
            if read.lines == 0 {
                return self.read_one_by_one(1); // which is too long
            }
            self.streams.handle_read(read);
        }
    }

    /// All that can be seen from outside.
    fn state(&mut self) -> impl PartialEq + std::fmt::Debug + use<> {
        self.streams.handle_timeout(Instant::ZERO);
        let resumed: Vec<_> = std::iter::from_fn(|| self.streams.poll_resumed()).collect();
        let actions: Vec<_> = std::iter::from_fn(|| self.streams.poll_action()).collect();
        let sent = self.streams.unsent(self.id.slot()).to_vec();
        self.streams.handle_sent(self.id.slot(), sent.len());
        let counters = self.streams.facts(self.id).map(|facts| facts.counters);
        let flags = (self.streams.has_lines(self.id), self.streams.is_open(self.id), self.rest.len());
        (resumed, actions, sent, counters, flags, self.streams.ready().to_vec(), self.lines.clone())
    }
}

proptest! {
    #[test]
    fn reading_together_is_reading_one_by_one(
        is_link: bool,
        lines in prop::collection::vec(("~{0,2}[a-z]{0,58}", any::<bool>()), 0..60),
        steps in prop::collection::vec((1usize..200, 0usize..9), 1..80),
    ) {
        let end = |crlf| if crlf { "\r\n" } else { "\n" };
        let text: String = lines.iter().map(|(line, crlf)| line.clone() + end(*crlf)).collect();
        let mut readers = [(); 2].map(|()| Reader::new(text.as_bytes(), is_link));
        for (bytes, count) in steps {
            let [one, other] = &mut readers;
            one.receive(bytes);
            other.receive(bytes);
            one.read_one_by_one(count);
            other.read_together(count);
            prop_assert_eq!(one.state(), other.state());
        }
    }

    #[test]
    fn a_line_over_the_limit_ends_both(at in 0usize..5, over in 1usize..4) {
        let mut text = "short\n".repeat(at);
        text += &"x".repeat(LIMITS.max_line + over);
        text += "\nafter\n";
        let mut readers = [(); 2].map(|()| Reader::new(text.as_bytes(), false));
        for reader in &mut readers {
            reader.receive(1000);
        }
        let [one, other] = &mut readers;
        one.read_one_by_one(10);
        other.read_together(10);
        prop_assert_eq!(one.lines.len(), at);
        prop_assert_eq!(one.state(), other.state());
        prop_assert!(!one.streams.is_open(one.id));
    }
}

#[test]
fn a_stream_that_was_read_holds_no_chunk() {
    let mut reader = Reader::new(b"one\ntwo\n", false);
    reader.receive(100);
    let piece = reader.streams.rest(reader.id).expect("it arrived").piece.clone();
    reader.read_one_by_one(2);
    reader.streams.settle_ready();
    assert!(reader.streams.rest(reader.id).is_none());
    assert!(reader.streams.table.get(reader.id).is_some_and(|entry| entry.stream.arrived().is_empty()));
    // What is left of the chunk is the only other that holds it.
    reader.streams.chunks = Chunks::default();
    assert!(piece.is_unique());
}
