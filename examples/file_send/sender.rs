//! The end that sends one file, and connects anew as often as it has to.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use p2poll::{AttemptId, Con, ConId, Event, Net, SendError, Unl};

use crate::percent::Percent;
use crate::words::{CHUNK, Offer, Receiving, Sending, Sha256};

/// How long to wait before connecting anew, doubled each time that it was in vain, up to the longest: a node dials an address
/// that somebody merely named to it only a few times in a minute.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// So many attempts in a row that brought nothing forward are enough.
const MAX_VAIN: u32 = 10;

pub(crate) struct Sender {
    pub(crate) net: Net,
    unl: Unl,
    file: File,
    offer: Offer,
    state: State,
    percent: Percent,
    /// The most that the receiver ever had.
    confirmed: u64,
    /// Attempts in a row since then.
    vain: u32,
    /// Where it began in each of its connections.
    pub(crate) begun_at: Vec<u64>,
}

enum State {
    Pausing {
        until: Instant,
    },
    Connecting(AttemptId),
    Offered(ConId),
    /// The line that is next, as it did not fit into the queue yet.
    Sending {
        con: ConId,
        next: Option<Vec<u8>>,
        offset: u64,
    },
    Done,
}

impl Sender {
    /// Reads the file once, for its SHA-256, before it does anything else.
    pub(crate) fn new(net: Net, unl: Unl, path: &Path, now: Instant) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let digest = Sha256::of(&mut file)?;
        let size = file.metadata()?.len();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        Ok(Self {
            net,
            unl,
            file,
            percent: Percent::of(size),
            offer: Offer { size, digest, name },
            state: State::Pausing { until: now },
            confirmed: 0,
            vain: 0,
            begun_at: Vec::new(),
        })
    }

    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// One turn of the loop. The error is final.
    pub(crate) fn turn(&mut self, now: Instant) -> Result<(), String> {
        if let State::Pausing { until } = self.state
            && until <= now
        {
            self.state = State::Connecting(self.net.connect(&self.unl).map_err(|why| why.to_string())?);
        }
        self.hear(now)?;
        self.speak()
    }

    /// When the next turn is due, though nothing has happened.
    pub(crate) fn timeout(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Pausing { until } => Some(until.saturating_duration_since(now)),
            _ => None,
        }
    }

    fn hear(&mut self, now: Instant) -> Result<(), String> {
        let events: Vec<Event> = self.net.events().collect();
        for event in events {
            self.handle_event(event, now)?;
        }
        let Some(id) = self.con() else { return Ok(()) };
        let words: Vec<Option<Receiving>> = match self.net.connections().find(|con| con.id() == id) {
            Some(con) => con.replies().map(|line| Receiving::parse(&line)).collect(),
            None => Vec::new(),
        };
        words.into_iter().try_for_each(|word| self.handle_word(id, word, now))
    }

    fn handle_event(&mut self, event: Event, now: Instant) -> Result<(), String> {
        match (event, &self.state) {
            (
                Event::Connected { con, via, attempt: Some(attempt), took, .. },
                &State::Connecting(awaited),
            ) if attempt == awaited => {
                eprintln!("file_send: connected ({via}) after {took:.1?}");
                let offer = Sending::Offer(self.offer.clone()).to_string();
                match self.net.con(con).map(|con| con.send_line(offer)) {
                    Some(Ok(())) => self.state = State::Offered(con),
                    _ => self.pause("the connection broke at once", now)?,
                }
            }
            // It listens only so that the receiver can get here.
            (Event::Connected { con, .. }, _) => {
                let stranger = self.net.con(con).filter(|con| con.node_id() != self.unl.node_id());
                stranger.into_iter().for_each(Con::close);
            }
            (Event::Failed { attempt, why }, &State::Connecting(awaited)) if attempt == awaited => {
                self.pause(&why.to_string(), now)?;
            }
            (Event::Closed { con, why }, _) if self.con() == Some(con) => {
                self.pause(&why.to_string(), now)?
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_word(&mut self, id: ConId, word: Option<Receiving>, now: Instant) -> Result<(), String> {
        match (word, &self.state) {
            (Some(Receiving::Have(offset)), State::Offered(_)) if offset <= self.offer.size => {
                eprintln!("file_send: from byte {offset} on");
                self.file.seek(SeekFrom::Start(offset)).map_err(|why| why.to_string())?;
                self.begun_at.push(offset);
                self.progress(offset);
                self.state = State::Sending { con: id, next: None, offset };
                Ok(())
            }
            (Some(Receiving::Done), _) => {
                self.state = State::Done;
                self.net.con(id).into_iter().for_each(Con::close);
                Ok(())
            }
            (Some(Receiving::No(why)), _) => Err(format!("it was refused: {why}")),
            (Some(Receiving::Later(why)), _) => self.pause(&why, now),
            // What was said before the pause that it is in now.
            (_, State::Pausing { .. } | State::Done) => Ok(()),
            _ => Err("what answers there is no receiver of files".into()),
        }
    }

    /// As much as the connection takes.
    fn speak(&mut self) -> Result<(), String> {
        let State::Sending { con, next, offset } = &mut self.state else { return Ok(()) };
        let Some(con) = self.net.con(*con) else { return Ok(()) };
        loop {
            let bytes = match next.take() {
                Some(bytes) => bytes,
                None => read_chunk(&mut self.file).map_err(|why| why.to_string())?,
            };
            if bytes.is_empty() {
                return Ok(());
            }
            let line = Sending::Data { offset: *offset, bytes };
            let sent = con.send_line(line.to_string());
            let Sending::Data { bytes, .. } = line else { return Ok(()) };
            match sent {
                Ok(()) => *offset += bytes.len() as u64,
                Err(SendError::Full) => {
                    // `poll` returns when there is room again.
                    *next = Some(bytes);
                    break;
                }
                // An event tells why.
                Err(SendError::Closed) => break,
                Err(why) => return Err(why.to_string()),
            }
        }
        let under_way = con.queued() as u64 * 3 / 4;
        let gone = offset.saturating_sub(under_way);
        self.percent.tell("sent", gone);
        Ok(())
    }

    fn con(&self) -> Option<ConId> {
        match self.state {
            State::Offered(con) | State::Sending { con, .. } => Some(con),
            _ => None,
        }
    }

    /// What it has, it has: only from there on is anything in vain.
    fn progress(&mut self, offset: u64) {
        if offset > self.confirmed {
            self.confirmed = offset;
            self.vain = 0;
        }
    }

    fn pause(&mut self, why: &str, now: Instant) -> Result<(), String> {
        if let Some(con) = self.con().and_then(|id| self.net.con(id)) {
            con.close();
        }
        self.vain += 1;
        if self.vain >= MAX_VAIN {
            return Err(format!("{why}; that was attempt {} in a row", self.vain));
        }
        let pause = (PAUSE * (1 << (self.vain - 1))).min(LONGEST_PAUSE);
        eprintln!("file_send: {why}; trying again in {:.1} s", pause.as_secs_f64());
        self.state = State::Pausing { until: now + pause };
        Ok(())
    }
}

/// Fewer bytes than a whole chunk at the end of the file only.
fn read_chunk(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(CHUNK);
    file.take(CHUNK as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
