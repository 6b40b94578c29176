//! Both ends in one loop: a connection that breaks in the middle, and senders that mean no good.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use p2poll::{AttemptId, Con, ConId, Config, Event, Net, Unl};

use crate::now;
use crate::receiver::Receiver;
use crate::sender::Sender;
use crate::store::{Store, harmless};
use crate::words::{Offer, Receiving, Sending, Sha256};

type Outcome = Result<(), Box<dyn Error>>;

/// Larger than all queues on the way together, so that it breaks in the middle.
const SIZE: usize = 12 << 20;
const MAX_SIZE: u64 = 64 << 20;
/// More than anything takes; only a failure waits for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn run() -> Outcome {
    names_stay_in_the_folder()?;
    let place = Temporary::create()?;
    let from = place.0.join("holiday.bin");
    fs::write(&from, contents())?;

    let folder = place.0.join("received");
    let net = loopback().start()?;
    let mut receiver = Receiver::new(net, Store::open(&folder, MAX_SIZE)?);
    let unl = crate::unl(&receiver.net, false).ok_or("there is no UNL, though it listens")?;
    resume(&mut receiver, &unl, &from)?;
    be_hostile(&mut receiver, &unl, &folder)?;

    // All of it, as it was, and nothing else.
    if fs::read(folder.join("holiday.bin"))? != contents() {
        return Err("what was received is not what was sent".into());
    }
    expect_listing(&folder, &["_.._etc_passwd", "holiday.bin", "unfinished.part", "unfinished.part.sha256"])?;
    expect_listing(&place.0, &["holiday.bin", "received"])?;
    println!("all is well");
    Ok(())
}

/// The connection is closed under the sender's feet, and it goes on from where it was.
fn resume(receiver: &mut Receiver, unl: &Unl, from: &Path) -> Outcome {
    let mut sender = Sender::new(loopback().start()?, unl.clone(), from, now())?;
    let deadline = Deadline::new();
    let mut broken_at = None;
    while !sender.is_done() {
        receiver.turn();
        if broken_at.is_none()
            && let Some((con, have)) = receiver.have()
            && have > SIZE as u64 / 4
        {
            println!("breaking the connection at byte {have}");
            receiver.net.con(con).into_iter().for_each(Con::close);
            broken_at = Some(have);
        }
        sender.turn(now())?;
        receiver.net.poll(Some(Duration::from_millis(1)))?;
        sender.net.poll(Some(Duration::from_millis(1)))?;
        deadline.check("the file did not arrive")?;
    }
    let (begun, arrived) = (&sender.begun_at, receiver.arrived.len());
    if broken_at.is_none() || begun.len() != 2 || begun[0] != 0 || begun.get(1).copied() < broken_at {
        return Err(format!("broken at {broken_at:?}, it began at {begun:?}").into());
    }
    if arrived == 1 { Ok(()) } else { Err(format!("it arrived {arrived} times").into()) }
}

/// Each says something, and hears the last answer; nothing of it does harm.
fn be_hostile(receiver: &mut Receiver, unl: &Unl, folder: &Path) -> Outcome {
    let said = b"root::0:0";
    let digest = Sha256::of(&said[..])?;
    let offer = |size: u64, name: &str| Sending::Offer(Offer { size, digest, name: name.into() }).to_string();
    let data = |offset| Sending::Data { offset, bytes: said.to_vec() }.to_string();
    let size = said.len() as u64;
    let is_no = |words: &'static str| move |word: &Receiving| matches!(word, Receiving::No(why) if why.contains(words));

    // It gets a name of ours, in our folder.
    let lines = [offer(size, "../../etc/passwd"), data(0)];
    hear(receiver, unl, &lines, |word| *word == Receiving::Done)?;
    let lines = [offer(size + 1, "holiday.bin"), data(0)];
    hear(receiver, unl, &lines, is_no("there is a file holiday.bin already"))?;
    hear(receiver, unl, &[offer(MAX_SIZE + 1, "large")], is_no("not accepted"))?;
    let more = [offer(size, "more"), data(0), data(size)];
    hear(receiver, unl, &more, is_no("no file is on its way"))?;
    // Whether it got its name before the rest came is a matter of luck.
    for end in ["", ".part", ".part.sha256"] {
        let _ = fs::remove_file(folder.join(format!("more{end}")));
    }
    let beyond = [offer(size + 1, "unfinished"), data(0), data(size)];
    hear(receiver, unl, &beyond, is_no("does not follow"))?;
    hear(receiver, unl, &[offer(size, "unfinished")], is_no("another file unfinished is on its way"))?;
    let forged = [
        Sending::Offer(Offer { size, digest: Sha256::of(&b"else"[..])?, name: "forged".into() }).to_string(),
        data(0),
    ];
    hear(receiver, unl, &forged, is_no("SHA-256"))?;
    hear(receiver, unl, &[data(0)], is_no("no file is on its way"))?;
    hear(receiver, unl, &["data 0 ?".into()], is_no("what is this"))
}

/// A connection of its own, on which these lines are said until an answer fits.
fn hear(receiver: &mut Receiver, unl: &Unl, lines: &[String], fits: impl Fn(&Receiving) -> bool) -> Outcome {
    let mut net = loopback().start()?;
    let attempt = net.connect(unl)?;
    let deadline = Deadline::new();
    let mut heard = Vec::new();
    loop {
        receiver.turn();
        if let Some(con) = outcome_of(&net, attempt).and_then(|id| net.con(id)) {
            lines.iter().try_for_each(|line| con.send_line(line))?;
        }
        for con in net.connections() {
            heard.extend(con.replies().filter_map(|line| Receiving::parse(&line)));
        }
        if heard.iter().any(&fits) {
            return Ok(());
        }
        receiver.net.poll(Some(Duration::from_millis(1)))?;
        net.poll(Some(Duration::from_millis(1)))?;
        deadline.check(&format!("{lines:?} was answered by {heard:?}"))?;
    }
}

/// The connection that it has just led to.
fn outcome_of(net: &Net, begun: AttemptId) -> Option<ConId> {
    net.events().find_map(|event| match event {
        Event::Connected { con, attempt: Some(attempt), .. } if attempt == begun => Some(con),
        _ => None,
    })
}

fn names_stay_in_the_folder() -> Outcome {
    for (name, expected) in [
        ("holiday.jpg", "holiday.jpg"),
        ("Grüße aus Köln (2).tar.gz", "Grüße aus Köln (2).tar.gz"),
        ("../../etc/passwd", "_.._etc_passwd"),
        ("..\\..\\boot.ini", "_.._boot.ini"),
        ("C:\\boot.ini", "C__boot.ini"),
        (".bashrc", "bashrc"),
        ("..", "unnamed"),
        ("", "unnamed"),
        ("a\u{1b}[2J\u{202e}b", "a__2J_b"),
        ("x.PART", "x.PART_"),
        ("x.part.sha256", "x.part.sha256_"),
        ("NUL.txt", "_NUL.txt"),
        ("end. .", "end"),
    ] {
        let name_here = harmless(name);
        if name_here != expected {
            return Err(format!("{name:?} becomes {name_here:?}, not {expected:?}").into());
        }
    }
    if harmless(&"ü".repeat(1000)).len() > 200 {
        return Err("a name is too long".into());
    }
    Ok(())
}

fn loopback() -> Config {
    Config::new().bind([127, 0, 0, 1].into()).direct()
}

/// Looks random, and is the same each time.
fn contents() -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..SIZE / 8).flat_map(|_| next()).collect()
}

fn expect_listing(folder: &Path, expected: &[&str]) -> Outcome {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort_unstable();
    if names == expected {
        return Ok(());
    }
    Err(format!("in {} there is {names:?} instead of {expected:?}", folder.display()).into())
}

/// A folder that nobody else has, and that is removed at the end.
struct Temporary(PathBuf);

impl Temporary {
    fn create() -> Result<Self, Box<dyn Error>> {
        let path = std::env::temp_dir().join(format!("p2poll-file_send-{}", std::process::id()));
        fs::create_dir(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(why) = fs::remove_dir_all(&self.0) {
            eprintln!("file_send: {} stays behind: {why}", self.0.display());
        }
    }
}

struct Deadline(Instant);

impl Deadline {
    fn new() -> Self {
        Self(now() + PATIENCE)
    }

    fn check(&self, what: &str) -> Result<(), String> {
        if now() < self.0 { Ok(()) } else { Err(format!("{what} in time")) }
    }
}
