//! The end that receives, from several at once.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use p2poll::{Con, ConId, Event, Net, NodeId};

use crate::percent::Percent;
use crate::store::{Part, Store};
use crate::words::{Offer, Receiving, Sending};

/// Files that are received at the same time.
const MAX_TRANSFERS: usize = 8;
/// Files that were received, and that somebody may ask for again who has not heard the "done".
const MAX_FINISHED: usize = 64;
/// Who says nothing for so long is not waited for.
const IDLE: Duration = Duration::from_secs(120);

pub(crate) struct Receiver {
    pub(crate) net: Net,
    store: Store,
    transfers: HashMap<ConId, Transfer>,
    finished: VecDeque<Offer>,
    /// What has arrived whole since somebody asked.
    pub(crate) arrived: Vec<PathBuf>,
}

struct Transfer {
    part: Part,
    /// As the sender calls it.
    offered: Offer,
    /// From whom, if he has proven who he is.
    from: Option<NodeId>,
    percent: Percent,
    verifying: bool,
}

/// What a line leads to.
enum Answer {
    None,
    Say(Receiving),
    /// And nothing more.
    SayAndClose(Receiving),
}

impl Receiver {
    pub(crate) fn new(net: Net, store: Store) -> Self {
        Self { net, store, transfers: HashMap::new(), finished: VecDeque::new(), arrived: Vec::new() }
    }

    /// One turn of the loop. It takes what has come, and never waits for more; only the disk can hold it up.
    pub(crate) fn turn(&mut self) {
        let Self { net, store, transfers, finished, arrived } = self;
        let walk = net.connections();
        for event in net.events() {
            if let Event::Connected { con, .. } = event {
                net.con(con).into_iter().for_each(|con| con.close_when_idle(Some(IDLE)));
            }
        }
        for con in walk {
            for line in con.replies() {
                let answer = match Sending::parse(&line) {
                    Some(Sending::Offer(offer)) => begin(store, transfers, finished, con, offer),
                    Some(Sending::Data { offset, bytes }) => receive(transfers, con.id(), offset, &bytes),
                    None => Answer::SayAndClose(Receiving::No("what is this?".into())),
                };
                if !give(con, answer) {
                    break;
                }
            }
            if let Some(answer) = verify(transfers, finished, arrived, con.id()) {
                give(con, answer);
            }
        }
        // What was received of the others' files stays on the disk.
        transfers.retain(|&id, _| net.con(id).is_some());
    }

    /// Whether to go on without sleeping.
    pub(crate) fn is_busy(&self) -> bool {
        self.transfers.values().any(|transfer| transfer.verifying)
    }

    /// How much is there of the file that is being received.
    pub(crate) fn have(&self) -> Option<(ConId, u64)> {
        self.transfers.iter().next().map(|(&id, transfer)| (id, transfer.part.have()))
    }
}

fn begin(
    store: &Store,
    transfers: &mut HashMap<ConId, Transfer>,
    finished: &VecDeque<Offer>,
    con: Con<'_>,
    offered: Offer,
) -> Answer {
    if transfers.contains_key(&con.id()) {
        return Answer::SayAndClose(Receiving::No("one file at a time".into()));
    }
    if finished.contains(&offered) {
        return Answer::Say(Receiving::Done);
    }
    let from = con.node_id();
    let name = crate::store::harmless(&offered.name);
    if let Some((&id, other)) = transfers.iter().find(|(_, other)| other.part.offer.name == name) {
        // Its earlier connection may have broken without our noticing; somebody else has to wait.
        if from.is_none() || from != other.from {
            return Answer::SayAndClose(Receiving::Later("somebody else is sending it".into()));
        }
        transfers.remove(&id);
    }
    if transfers.len() >= MAX_TRANSFERS {
        return Answer::SayAndClose(Receiving::Later("too many files at once".into()));
    }
    let mut part = match store.begin(offered.clone()) {
        Ok(part) => part,
        Err(why) => return Answer::SayAndClose(Receiving::No(why)),
    };
    let have = part.have();
    eprintln!("file_send: {name}, {} bytes, of which {have} are there, from {}", offered.size, con.id());
    let percent = Percent::of(offered.size);
    let verifying = part.is_whole();
    if verifying && let Err(why) = part.begin_verification() {
        return failed(&why);
    }
    transfers.insert(con.id(), Transfer { part, offered, from, percent, verifying });
    Answer::Say(Receiving::Have(have))
}

fn receive(transfers: &mut HashMap<ConId, Transfer>, id: ConId, offset: u64, bytes: &[u8]) -> Answer {
    let Some(transfer) = transfers.get_mut(&id).filter(|transfer| !transfer.verifying) else {
        return Answer::SayAndClose(Receiving::No("no file is on its way".into()));
    };
    if let Err(why) = transfer.part.write(offset, bytes) {
        transfers.remove(&id);
        return Answer::SayAndClose(Receiving::No(why));
    }
    transfer.percent.tell("received", transfer.part.have());
    if transfer.part.is_whole() {
        transfer.verifying = true;
        if let Err(why) = transfer.part.begin_verification() {
            transfers.remove(&id);
            return failed(&why);
        }
    }
    Answer::None
}

/// Reads a whole file again, a bit in each turn, and gives it its name when it is what it should be.
fn verify(
    transfers: &mut HashMap<ConId, Transfer>,
    finished: &mut VecDeque<Offer>,
    arrived: &mut Vec<PathBuf>,
    id: ConId,
) -> Option<Answer> {
    let transfer = transfers.get_mut(&id).filter(|transfer| transfer.verifying)?;
    let verdict = transfer.part.verify().transpose()?;
    let Transfer { part, offered, .. } = transfers.remove(&id)?;
    Some(match verdict {
        Ok(true) => match part.keep() {
            Ok(path) => {
                eprintln!("file_send: {} is there, and is what was offered", path.display());
                arrived.push(path);
                if finished.len() >= MAX_FINISHED {
                    finished.pop_front();
                }
                finished.push_back(offered);
                Answer::Say(Receiving::Done)
            }
            Err(why) => failed(&why),
        },
        Ok(false) => match part.discard() {
            Ok(()) => Answer::SayAndClose(Receiving::No("its SHA-256 is not the one that was told".into())),
            Err(why) => failed(&why),
        },
        Err(why) => failed(&why),
    })
}

fn failed(why: &io::Error) -> Answer {
    eprintln!("file_send: {why}");
    Answer::SayAndClose(Receiving::No(why.to_string()))
}

/// Whether to go on reading from it.
fn give(con: Con<'_>, answer: Answer) -> bool {
    let (word, close) = match answer {
        Answer::None => return true,
        Answer::Say(word) => (word, false),
        Answer::SayAndClose(word) => (word, true),
    };
    // Who does not even read the few answers that there are has to do without.
    let told = con.send_line(word.to_string()).is_ok();
    if close || !told {
        con.close();
    }
    !close && told
}
