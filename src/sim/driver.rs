//! A node and its virtual sockets: `net::engine`, call by call, on [`Network`].

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::network::{EndId, Network, ProgramId, Read, Report, Write};
use crate::node::streams::SocketAction;
use crate::node::{Action, Host, Job};
use crate::proto::stream::End;
use crate::reach::MappingFault;
use crate::time::Instant;

/// As in `net::engine`.
const ROUNDS: usize = 16;

/// What a file takes.
const FILE_DELAY: Duration = Duration::from_millis(1);

/// What the resolver says of a name.
#[derive(Clone, Debug)]
pub(super) enum Name {
    /// These addresses, or why there are none, after this time.
    Answer(Duration, Result<Vec<IpAddr>, String>),
    /// Nothing, ever: and as there is one worker, nothing that comes after it either.
    Never,
}

/// What programs find outside of the network, by computer where that matters.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    pub(super) names: BTreeMap<String, Name>,
    pub(super) files: BTreeMap<PathBuf, String>,
    /// Files can not be written.
    pub(super) is_disk_full: bool,
}

/// A node `H` on virtual sockets.
#[derive(Debug)]
pub(super) struct Driver<H> {
    pub(super) host: H,
    program: ProgramId,
    slots: Vec<Option<EndId>>,
    by_end: BTreeMap<EndId, usize>,
    readable: VecDeque<usize>,
    writable: Vec<usize>,
    /// When the worker is done with its last job; `None`: never.
    worker_free: Option<Instant>,
    /// How often it ran.
    pub(super) turns: u64,
}

impl<H: Host> Driver<H> {
    pub(super) fn new(host: H, program: ProgramId) -> Self {
        Self {
            host,
            program,
            slots: Vec::new(),
            by_end: BTreeMap::new(),
            readable: VecDeque::new(),
            writable: Vec::new(),
            worker_free: Some(Instant::ZERO),
            turns: 0,
        }
    }

    /// Offers the accepted connections to the node, moves what can be moved: `collect`, `admit` and `service`.
    pub(super) fn service(&mut self, network: &mut Network, around: &mut Surroundings) {
        let now = network.now();
        self.turns += 1;
        while let Some(end) = network.mailbox(self.program).backlog.pop_front() {
            match self.host.handle_accepted(network.peer(end), network.local(end), now) {
                Some(id) => self.put(id.slot(), end),
                None => network.close(end),
            }
        }
        self.host.streams().settle_ready();
        while let Some((end, outcome)) = network.mailbox(self.program).connected.pop_front() {
            let Some(&slot) = self.by_end.get(&end) else { continue };
            match outcome {
                Ok(local) => {
                    self.readable.push_back(slot);
                    self.writable.push(slot);
                    self.host.handle_connected(slot, local, now);
                }
                Err(kind) => self.host.handle_connect_failed(slot, kind, now),
            }
        }
        while let Some(report) = network.mailbox(self.program).reports.pop_front() {
            match report {
                Report::Resolved(query, outcome) => self.host.handle_resolved(query, outcome, now),
                Report::Loaded(outcome) => self.host.handle_loaded(outcome, now),
                Report::Saved(outcome) => self.host.handle_saved(outcome, now),
                Report::Interfaces(addresses) => self.host.handle_interfaces(Ok(addresses), now),
                Report::Gateway(request, report) => self.host.handle_gateway(request, report, now),
            }
        }
        while let Some(end) = network.mailbox(self.program).hangups.pop_front() {
            if let Some(&slot) = self.by_end.get(&end) {
                self.host.streams().handle_hangup(slot, now);
            }
        }
        while let Some(end) = network.mailbox(self.program).readable.pop_front() {
            self.readable.extend(self.by_end.get(&end));
        }
        while let Some(end) = network.mailbox(self.program).writable.pop_front() {
            self.writable.extend(self.by_end.get(&end));
        }
        for _ in 0..self.readable.len() {
            if let Some(slot) = self.readable.pop_front() {
                self.read(slot, network);
            }
        }
        self.flush(network, around);
    }

    /// Does what is due and sends what is queued.
    pub(super) fn flush(&mut self, network: &mut Network, around: &mut Surroundings) {
        let now = network.now();
        for _ in 0..ROUNDS {
            self.host.handle_timeout(now);
            while let Some(action) = self.host.poll_action() {
                self.act(action, network, around);
            }
            while let Some(slot) = self.host.poll_resumed() {
                self.readable.push_back(slot);
            }
            while let Some(slot) = self.host.streams().poll_unsent() {
                self.write(slot, network);
            }
            while let Some(slot) = self.writable.pop() {
                self.write(slot, network);
            }
            if !self.host.streams().is_busy() && self.host.poll_timeout().is_none_or(|at| at > now) {
                break;
            }
        }
        while let Some(note) = self.host.notes().pop() {
            network.note(self.program, &note.text);
        }
        self.sleep(network);
    }

    /// Runs again when there is something to do: at once, when it is known, or at a deadline.
    fn sleep(&mut self, network: &mut Network) {
        let busy = !self.readable.is_empty() || self.host.streams().is_busy() || self.host.has_work();
        if busy {
            network.wake(self.program, network.now());
        } else if let Some(at) = self.host.poll_timeout() {
            network.wake(self.program, at);
        }
    }

    fn read(&mut self, slot: usize, network: &mut Network) {
        let now = network.now();
        let mut left = self.host.streams().limits().read_per_tick;
        loop {
            let Some(end) = self.slots.get(slot).copied().flatten() else { return };
            let Some(space) = self.host.space(slot) else { return };
            match network.read(end, space) {
                Read::Data(len) => {
                    self.host.handle_received(slot, len, now);
                    left = left.saturating_sub(len);
                    if left == 0 {
                        return self.readable.push_back(slot);
                    }
                }
                Read::Blocked => return,
                Read::Finished => return self.host.handle_end(slot, End::Finished, now),
                Read::Broken(kind) => return self.host.handle_end(slot, End::Broken(kind), now),
            }
        }
    }

    fn write(&mut self, slot: usize, network: &mut Network) {
        let Some(end) = self.slots.get(slot).copied().flatten() else { return };
        while !self.host.streams().unsent(slot).is_empty() {
            match network.write(end, self.host.streams().unsent(slot)) {
                Write::Sent(len) => self.host.handle_sent(slot, len),
                Write::Blocked | Write::Broken => return,
            }
        }
    }

    fn act(&mut self, action: Action, network: &mut Network, around: &mut Surroundings) {
        let now = network.now();
        match action {
            Action::Socket(SocketAction::Dial { slot, to, from }) => {
                match network.dial(self.program, to, from) {
                    Ok(end) => self.put(slot, end),
                    Err(kind) => self.host.handle_connect_failed(slot, kind, now),
                }
            }
            Action::Socket(SocketAction::ShutdownWrite { slot }) => {
                if let Some(end) = self.slots.get(slot).copied().flatten() {
                    network.shutdown_write(end);
                }
            }
            Action::Socket(SocketAction::Close { slot }) => {
                if let Some(end) = self.slots.get_mut(slot).and_then(Option::take) {
                    self.by_end.remove(&end);
                    network.close(end);
                }
            }
            // On a thread of its own, not on the worker.
            Action::Job(Job::Gateway { request, order }) => {
                network.report_at(
                    now,
                    self.program,
                    Report::Gateway(request, order.fails_by(MappingFault::NoRouter)),
                );
            }
            Action::Job(job) => self.begin_job(job, network, around),
        }
    }

    /// One after the other, as there is one worker.
    fn begin_job(&mut self, job: Job, network: &mut Network, around: &mut Surroundings) {
        let Some(begin) = self.worker_free.map(|free| free.max(network.now())) else { return };
        let (takes, report) = match job {
            Job::Resolve { query, host, port } => {
                let unknown = Name::Answer(Duration::from_millis(30), Err("no such name".into()));
                match around.names.get(&host).cloned().unwrap_or(unknown) {
                    Name::Never => {
                        self.worker_free = None;
                        return;
                    }
                    Name::Answer(takes, outcome) => {
                        let at_port =
                            |ips: Vec<IpAddr>| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                        (takes, Report::Resolved(query, outcome.map(at_port)))
                    }
                }
            }
            Job::Load { path } => {
                let text = around.files.get(&path).cloned();
                (FILE_DELAY, Report::Loaded(text.ok_or_else(|| io::ErrorKind::NotFound.into())))
            }
            Job::Save { .. } if around.is_disk_full => {
                (FILE_DELAY, Report::Saved(Err(io::ErrorKind::StorageFull.into())))
            }
            Job::Save { path, text } => {
                around.files.insert(path, text);
                (FILE_DELAY, Report::Saved(Ok(())))
            }
            Job::Interfaces => (FILE_DELAY, Report::Interfaces(network.interfaces(self.program))),
            // Begun already, elsewhere.
            Job::Gateway { .. } => return,
        };
        self.worker_free = Some(begin + takes);
        network.report_at(begin + takes, self.program, report);
    }

    fn put(&mut self, slot: usize, end: EndId) {
        if self.slots.len() <= slot {
            self.slots.resize(slot + 1, None);
        }
        assert!(self.slots[slot].is_none(), "slot {slot} was not closed before it was used again");
        self.slots[slot] = Some(end);
        self.by_end.insert(end, slot);
        self.readable.push_back(slot);
    }
}
