//! A node in the simulator's network, driven by the loop of a virtual program.

use super::network::{Network, ProgramId};
use super::transport::{Sockets, Virtual};
use super::worker::Surroundings;
use crate::node::Host;
use crate::node::engine::Engine;

/// A node `H` on virtual sockets.
#[derive(Debug)]
pub(super) struct Driver<H> {
    pub(super) host: H,
    program: ProgramId,
    pub(super) sockets: Sockets,
    /// How often it ran.
    pub(super) turns: u64,
}

impl<H: Host> Driver<H> {
    pub(super) fn new(host: H, program: ProgramId) -> Self {
        Self { host, program, sockets: Sockets::new(program), turns: 0 }
    }

    /// One turn of the loop: accepts, and moves what can be moved.
    pub(super) fn service(&mut self, network: &mut Network, around: &mut Surroundings) {
        self.turns += 1;
        let mut transport = Virtual { sockets: &mut self.sockets, network, around };
        let accepted = transport.accept();
        let mut engine = Engine { host: &mut self.host, transport: &mut transport };
        engine.admit(accepted);
        engine.transport.collect();
        engine.service();
        self.sleep(network, around);
    }

    /// Does what is due and sends what is queued.
    pub(super) fn flush(&mut self, network: &mut Network, around: &mut Surroundings) {
        let mut transport = Virtual { sockets: &mut self.sockets, network, around };
        Engine { host: &mut self.host, transport: &mut transport }.flush();
        self.sleep(network, around);
    }

    /// Runs again when there is something to do: at once, when it is known, or at a deadline.
    fn sleep(&mut self, network: &mut Network, around: &mut Surroundings) {
        while let Some(note) = self.host.notes().pop() {
            network.note(self.program, &note.text);
        }
        let mut transport = Virtual { sockets: &mut self.sockets, network, around };
        let wakeup = Engine { host: &mut self.host, transport: &mut transport }.next_wakeup();
        if let Some(wakeup) = wakeup {
            network.wake(self.program, network.now() + wakeup);
        }
    }
}
