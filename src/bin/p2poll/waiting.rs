//! Waiting for the network, for standard input and for the wish to leave, all at once.
//!
//! On unix all of it wakes one poller. Elsewhere a `Net` has no descriptor to wait on, so that the wait is cut into
//! slices.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};
use signal_hook::consts::signal::{SIGINT, SIGTERM};
use signal_hook::flag;

const WAKER: Token = Token(0);
#[cfg(unix)]
const DRIVEN: Token = Token(1);
#[cfg(unix)]
const SIGNALS: Token = Token(2);

/// How long a wait may take where the network wakes nobody.
#[cfg(not(unix))]
const SLICE: Duration = Duration::from_millis(20);

pub(crate) struct Waiting {
    poll: Poll,
    events: Events,
    waker: Arc<Waker>,
    leave: Arc<AtomicBool>,
    #[cfg(unix)]
    signals: mio::net::UnixStream,
}

impl Waiting {
    /// Asks the operating system for the signals that mean "leave": the first is told by
    /// [`wants_to_leave`](Self::wants_to_leave), a second one ends the program at once, with status 1.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Arc::new(Waker::new(poll.registry(), WAKER)?);
        let leave = Arc::new(AtomicBool::new(false));
        for signal in leaving_signals() {
            // In this order, which is also that of a signal's actions: the first signal finds the flag down.
            flag::register_conditional_shutdown(signal, 1, Arc::clone(&leave))?;
            flag::register(signal, Arc::clone(&leave))?;
        }
        Ok(Self {
            #[cfg(unix)]
            signals: signal_stream(&poll)?,
            poll,
            events: Events::with_capacity(8),
            waker,
            leave,
        })
    }

    /// Wakes a wait, from any thread.
    pub(crate) fn waker(&self) -> Arc<Waker> {
        Arc::clone(&self.waker)
    }

    /// The user asked to end.
    pub(crate) fn wants_to_leave(&self) -> bool {
        self.leave.load(Ordering::Relaxed)
    }

    /// Also waits for a `Net` or a server.
    #[cfg(unix)]
    pub(crate) fn add(&mut self, driven: &mut impl mio::event::Source) -> io::Result<()> {
        self.poll.registry().register(driven, DRIVEN, mio::Interest::READABLE)
    }

    #[cfg(not(unix))]
    pub(crate) fn add<T>(&mut self, _driven: &mut T) -> io::Result<()> {
        Ok(())
    }

    /// Sleeps until one of them has news, for `timeout` at most.
    pub(crate) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        #[cfg(not(unix))]
        let timeout = Some(timeout.map_or(SLICE, |timeout| timeout.min(SLICE)));
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        #[cfg(unix)]
        self.drain_signals();
        Ok(())
    }

    /// Nothing is learnt from the bytes: the flag says it all.
    #[cfg(unix)]
    fn drain_signals(&mut self) {
        use std::io::Read as _;
        let mut bytes = [0; 16];
        while matches!(self.signals.read(&mut bytes), Ok(len) if len > 0) {}
    }
}

/// A closed terminal asks to leave, too.
fn leaving_signals() -> impl Iterator<Item = i32> {
    #[cfg(unix)]
    let more = Some(signal_hook::consts::signal::SIGHUP);
    #[cfg(not(unix))]
    let more = None;
    [SIGINT, SIGTERM].into_iter().chain(more)
}

/// Signals write here. A flag alone could be set between looking at it and going to sleep.
#[cfg(unix)]
fn signal_stream(poll: &Poll) -> io::Result<mio::net::UnixStream> {
    let (read, write) = std::os::unix::net::UnixStream::pair()?;
    for signal in leaving_signals() {
        signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
    }
    read.set_nonblocking(true)?;
    let mut read = mio::net::UnixStream::from_std(read);
    poll.registry().register(&mut read, SIGNALS, mio::Interest::READABLE)?;
    Ok(read)
}
