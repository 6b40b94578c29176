//! Walks over connections and events.

use std::time::Duration;

use super::Net;
use super::connection::Con;
use crate::event::Event;

/// A walk over connections; see [`Net::connections`] and [`Net::ready`].
#[derive(Debug)]
pub struct Connections<'net> {
    net: &'net Net,
    which: Which,
    next: usize,
    /// Where the list ended when the walk began.
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    All,
    Ready,
}

impl<'net> Connections<'net> {
    pub(super) fn all(net: &'net Net) -> Self {
        Self::begin(net, Which::All)
    }

    pub(super) fn ready(net: &'net Net) -> Self {
        Self::begin(net, Which::Ready)
    }

    fn begin(net: &'net Net, which: Which) -> Self {
        let outermost = net.walks.get() == 0;
        // From here on the application's filter and logger, which run in there, walk inside this walk; and should one of
        // them panic, this one ends.
        net.walks.set(net.walks.get() + 1);
        let mut walk = Self { net, which, next: 0, end: 0 };
        if outermost {
            if !net.fresh.replace(false) {
                // An interruption by a signal costs nothing here, and a broken poller shows in `poll`.
                let _ = net.pump(Some(Duration::ZERO));
            }
            net.with(|core| core.host.settle_shown());
        }
        walk.end = net.with(|core| match which {
            Which::All => core.host.shown_places(),
            Which::Ready => core.host.ready_places(),
        });
        walk
    }
}

impl<'net> Iterator for Connections<'net> {
    type Item = Con<'net>;

    fn next(&mut self) -> Option<Con<'net>> {
        let net = self.net;
        net.with(|core| {
            while self.next < self.end {
                let at = self.next;
                self.next += 1;
                let id = match self.which {
                    Which::All => core.host.shown_at(at),
                    Which::Ready => core.host.ready_at(at),
                };
                if let Some(id) = id {
                    return Some(Con::new(net, id));
                }
            }
            None
        })
    }
}

impl Drop for Connections<'_> {
    fn drop(&mut self) {
        let walks = self.net.walks.get().saturating_sub(1);
        if walks == 0 {
            self.net.with(|core| {
                core.host.handle_walk();
                core.flush()
            });
            self.net.tell_log();
        }
        self.net.walks.set(walks);
    }
}

/// The events of a `Net` that were not drained yet; see [`Net::events`].
#[derive(Debug)]
pub struct Events<'net> {
    net: &'net Net,
}

impl<'net> Events<'net> {
    pub(super) fn new(net: &'net Net) -> Self {
        Self { net }
    }
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        self.net.with(|core| core.host.poll_event())
    }
}
