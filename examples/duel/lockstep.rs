//! Both play the same game: a frame is played when the moves of both are there. A move is for a frame a little later than
//! the one in which it is made, so that it has time to travel; when that was not enough, the game stands still for a
//! frame, and nothing waits.

use std::collections::VecDeque;

use p2poll::Con;

use crate::game::{Game, Move, Side};

/// Frames between making a move and playing it: 100 ms.
const DELAY: u64 = 6;
/// How far ahead the other may be. He can not play without our moves, so that he is never as far as this.
const AHEAD: usize = 64;
/// Every so often both tell what their game looks like.
const COMPARE: u64 = 30;
/// So many of those may be awaited.
const UNCOMPARED: usize = 8;

pub(crate) struct Lockstep {
    pub(crate) game: Game,
    side: Side,
    /// The moves from the game's frame on.
    own: VecDeque<Move>,
    theirs: VecDeque<Move>,
    /// Frames, and what the game looked like in them, here and there, until both are known.
    seen: VecDeque<(u64, u64)>,
    heard: VecDeque<(u64, u64)>,
    pub(crate) played: u64,
    pub(crate) stood_still: u64,
    /// How often both games were compared, and were the same.
    pub(crate) compared: u64,
}

impl Lockstep {
    pub(crate) fn new(side: Side) -> Self {
        // Nobody moves before the first move can have come.
        let still: VecDeque<Move> = (0..DELAY).map(|_| Move::Stay).collect();
        Self {
            game: Game::new(),
            side,
            own: still.clone(),
            theirs: still,
            seen: VecDeque::new(),
            heard: VecDeque::new(),
            played: 0,
            stood_still: 0,
            compared: 0,
        }
    }

    /// Takes what has come.
    pub(crate) fn hear(&mut self, con: Con<'_>) -> Result<(), String> {
        con.replies().try_for_each(|line| self.take(&line))
    }

    /// One frame: plays it, if the other's move has come, and says what is done next.
    pub(crate) fn frame(&mut self, con: Con<'_>) -> Result<(), String> {
        if self.theirs.is_empty() {
            self.stood_still += 1;
            return Ok(());
        }
        let (Some(own), Some(theirs)) = (self.own.pop_front(), self.theirs.pop_front()) else {
            return Ok(()); // ours are as many as theirs, or more
        };
        self.game.step(if self.side == Side::Left { [own, theirs] } else { [theirs, own] });
        self.played += 1;
        if self.game.frame.is_multiple_of(COMPARE) {
            let digest = self.game.digest();
            self.seen.push_back((self.game.frame, digest));
            self.compare()?;
            say(con, &format!("game {} {digest:016x}", self.game.frame))?;
        }
        let next = self.game.bot(self.side);
        self.own.push_back(next);
        say(con, &format!("move {} {}", self.game.frame + self.own.len() as u64, next.name()))
    }

    /// A stranger may say this: whatever it is, it costs no more than its line.
    fn take(&mut self, line: &str) -> Result<(), String> {
        let mut words = line.split(' ');
        let (verb, frame, what) = (words.next(), words.next(), words.next());
        let frame: Option<u64> = frame.and_then(|frame| frame.parse().ok());
        match (verb, frame, what, words.next()) {
            (Some("move"), Some(frame), Some(what), None) => {
                let expected = self.game.frame + self.theirs.len() as u64 + 1;
                let its = Move::parse(what).filter(|_| frame == expected && self.theirs.len() < AHEAD);
                self.theirs.push_back(its.ok_or_else(|| foul(line))?);
                Ok(())
            }
            (Some("game"), Some(frame), Some(what), None) => {
                let digest = u64::from_str_radix(what, 16).map_err(|_| foul(line))?;
                self.heard.push_back((frame, digest));
                if self.heard.len() > UNCOMPARED { Err(foul(line)) } else { self.compare() }
            }
            _ => Err(foul(line)),
        }
    }

    /// Either may be some frames ahead.
    fn compare(&mut self) -> Result<(), String> {
        while let (Some(&(seen, ours)), Some(&(heard, theirs))) = (self.seen.front(), self.heard.front()) {
            if seen == heard && ours != theirs {
                return Err(format!("the games differ in frame {seen}"));
            }
            self.compared += u64::from(seen == heard);
            if seen <= heard {
                self.seen.pop_front();
            }
            if heard <= seen {
                self.heard.pop_front();
            }
        }
        // Who tells nothing of his game keeps none of ours.
        self.seen.truncate(UNCOMPARED);
        Ok(())
    }
}

fn say(con: Con<'_>, line: &str) -> Result<(), String> {
    con.send_line(line).map_err(|why| format!("the other does not hear us: {why}"))
}

fn foul(line: &str) -> String {
    let begin: String = line.chars().take(40).collect();
    format!("the other breaks the rules: {begin:?}")
}
