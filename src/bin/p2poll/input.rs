//! Standard input, read by a thread of its own: nothing portable reads it without waiting.

use std::collections::VecDeque;
use std::io::{self, IsTerminal as _, Read as _};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use mio::Waker;

/// The longest line that p2poll's and pyp2p's peers accept.
const MAX_LINE: usize = 1 << 20;

/// Bytes of lines that are held here. Beyond it the reader has to wait, and so has who writes to it.
const MAX_HELD: usize = 256 << 10;

/// Reads that wait between the threads, and how much one read may take.
const CHUNKS: usize = 4;
const CHUNK: usize = 64 << 10;

pub(crate) struct Input {
    chunks: Receiver<Vec<u8>>,
    splitter: Splitter,
    ended: bool,
    /// The reader may have more than there was room for; it will not wake anybody for that again.
    more: bool,
    /// A person types.
    interactive: bool,
}

impl Input {
    /// Begins to read. The waker is woken when there is something to [`take`](Self::take).
    pub(crate) fn start(waker: Arc<Waker>) -> io::Result<Self> {
        let (sender, chunks) = sync_channel(CHUNKS);
        // It ends with the program, most likely in the middle of a read: nobody waits for it.
        thread::Builder::new().name("standard input".into()).spawn(move || {
            read_all(&sender, &waker);
            drop(sender);
            // Were the poller gone, nobody would want to know.
            let _ = waker.wake();
        })?;
        let interactive = io::stdin().is_terminal();
        Ok(Self { chunks, splitter: Splitter::default(), ended: false, more: false, interactive })
    }

    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// Takes what the reader has, as far as there is room.
    pub(crate) fn take(&mut self) {
        self.more = false;
        while !self.ended {
            if self.splitter.held >= MAX_HELD {
                self.more = true;
                return;
            }
            match self.chunks.try_recv() {
                Ok(chunk) => self.splitter.handle(&chunk),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => {
                    self.splitter.handle_end();
                    self.ended = true;
                }
            }
        }
    }

    /// Whether to go on without sleeping, as soon as lines can be sent.
    pub(crate) fn has_work(&self) -> bool {
        self.more || self.waiting() > 0
    }

    /// Lines that wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.splitter.lines.len()
    }

    /// All lines that wait to be sent.
    pub(crate) fn lines(&mut self) -> VecDeque<Vec<u8>> {
        self.splitter.held = 0;
        std::mem::take(&mut self.splitter.lines)
    }

    /// Nothing more will come, and nothing waits.
    pub(crate) fn is_over(&self) -> bool {
        self.has_ended() && self.waiting() == 0
    }

    /// Nothing more will come.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// There was something to be sent, or at least somebody wanted to.
    pub(crate) fn had_lines(&self) -> bool {
        self.splitter.lines_seen
    }

    /// Lines that no peer would have accepted.
    pub(crate) fn refused(&self) -> u64 {
        self.splitter.refused
    }
}

fn read_all(sender: &SyncSender<Vec<u8>>, waker: &Waker) {
    let mut stdin = io::stdin().lock();
    let mut chunk = vec![0; CHUNK];
    loop {
        match stdin.read(&mut chunk) {
            Ok(0) => return,
            Ok(len) => {
                if sender.send(chunk[..len].to_vec()).is_err() || waker.wake().is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return log::error!("standard input can not be read: {error}"),
        }
    }
}

/// Cuts what was read into lines.
#[derive(Default)]
struct Splitter {
    lines: VecDeque<Vec<u8>>,
    /// Bytes of `lines`, an end of two bytes for each included.
    held: usize,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// That line is too long: the rest of it goes the way of its beginning.
    skipping: bool,
    refused: u64,
    /// A line has come to its end.
    lines_seen: bool,
}

impl Splitter {
    fn handle(&mut self, chunk: &[u8]) {
        for piece in chunk.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            if !self.skipping {
                self.partial.extend_from_slice(text);
            }
            if self.partial.len() > MAX_LINE {
                self.partial = Vec::new();
                self.skipping = true;
            }
            if ends {
                self.finish_line();
            }
        }
    }

    /// What has no end is a line, too.
    fn handle_end(&mut self) {
        if !self.partial.is_empty() || self.skipping {
            self.finish_line();
        }
    }

    fn finish_line(&mut self) {
        self.lines_seen = true;
        let mut line = std::mem::take(&mut self.partial);
        if std::mem::take(&mut self.skipping) {
            self.refused += 1;
            return log::error!("a line of more than {MAX_LINE} bytes was not sent: no peer would accept it");
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        self.held += line.len() + 2;
        self.lines.push_back(line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_whatever_the_pieces() {
        let text = b"one\r\n\ntwo \xff\nthe rest";
        for size in 1..=text.len() {
            let mut splitter = Splitter::default();
            text.chunks(size).for_each(|chunk| splitter.handle(chunk));
            assert_eq!(splitter.lines, [b"one".to_vec(), vec![], b"two \xff".to_vec()], "{size}");
            splitter.handle_end();
            splitter.handle_end();
            assert_eq!(splitter.lines.len(), 4, "{size}");
            assert_eq!(splitter.held, 3 + 5 + 8 + 2 * 4, "{size}");
        }
    }

    #[test]
    fn a_line_that_nobody_would_accept_is_refused_and_the_next_is_not() {
        let mut splitter = Splitter::default();
        for _ in 0..40 {
            splitter.handle(&[b'x'; CHUNK]);
            assert!(splitter.partial.len() <= MAX_LINE);
        }
        splitter.handle(b"x\nnext\n");
        assert_eq!((splitter.refused, &splitter.lines[0][..]), (1, &b"next"[..]));
    }
}
