//! The facade: a node on real sockets, for a program that owns its loop. No protocol decisions.

mod connection;
pub(crate) mod driver;
#[cfg(unix)]
mod embed;
#[cfg(doctest)]
mod promises;
mod reading;
mod server;
mod transport;
mod walk;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[cfg(unix)]
use mio::Registry;

use crate::config::Config;
use crate::connect::Connect;
use crate::error::{ConnectError, StartError};
use crate::id::{AttemptId, ConId, Except};
use crate::identity::NodeId;
use crate::io::{Clock, Entrance, Stream, seed};
use crate::node::peer::Node;
use crate::note::Notes;
use crate::random::Random;
use crate::reach::Reach;
use crate::unl::Unl;
pub use connection::{Con, Replies, Stats};
use driver::Driver;
use reading::Reading;
pub use server::{Rendezvous, ServerStats};
pub use walk::{Connections, Events};

/// A node of a peer-to-peer network, driven by the loop of the program that owns it.
///
/// > **The contract:** call [`connections`](Net::connections) often, or [`poll`](Net::poll) when you want to sleep;
/// > nothing else ever waits.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// let mut net = p2poll::Config::new().port(44444).rendezvous("rv.example.org:8000").start()?;
/// loop {
///     for con in net.connections() {
///         for line in con.replies() {
///             println!("{line}");
///             con.send_line("got it").ok(); // full or gone: its end will be an event
///             net.broadcast("news", con); // to everyone but the one it came from
///         }
///     }
///     net.poll(Some(Duration::from_millis(16)))?; // a game passes ZERO, or leaves this line out
/// }
/// # }
/// ```
///
/// What happens inside a walk (sending, closing, connecting) takes `&self`; what happens between walks (`poll`,
/// `finish`) takes `&mut self`, so polling inside a walk, or keeping a [`Con`] across a `poll`, does not compile. To
/// remember a connection keep its [`ConId`] and ask [`con`](Net::con).
///
/// A `Net` can be sent to another thread; it is not shared between threads.
#[derive(Debug)]
pub struct Net {
    core: RefCell<Driver<Node>>,
    /// What was read since the node was borrowed last.
    reading: Reading,
    /// How many walks are under way: only the outermost one drives the sockets.
    walks: Cell<u32>,
    /// `poll` has just returned because there are lines to read: the walk that follows hands them out without asking
    /// the operating system for more first, which would be one more system call for each answer.
    fresh: Cell<bool>,
    filter: RefCell<Filter>,
    #[cfg(unix)]
    registry: Registry,
}

/// Decides about inbound connections; the application's.
type InboundFilter = Box<dyn FnMut(SocketAddr) -> bool + Send>;

#[derive(Default)]
struct Filter(Option<InboundFilter>);

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Filter(set)" } else { "Filter(none)" })
    }
}

impl Config {
    /// Starts a node: listens, and begins to look for rendezvous servers and peers. Returns at once; what becomes of
    /// it is told by [`events`](Net::events).
    ///
    /// # Errors
    ///
    /// [`StartError::Listen`] when the port is in use or the address is not this machine's; that no server answers is
    /// no error. [`StartError::BadAddress`] when a server or peer is not `HOST:PORT`. [`StartError::BadConfig`] when
    /// values contradict each other.
    pub fn start(self) -> Result<Net, StartError> {
        Net::start(self)
    }
}

impl Net {
    fn start(config: Config) -> Result<Self, StartError> {
        config.check().map_err(StartError::BadConfig)?;
        let tag = next_tag();
        let clock = Clock::start();
        let random = Random::from_seed(seed().map_err(StartError::System)?);
        let (listen, bind, port, dead_after) =
            (config.listen, config.bind, config.port, config.streams.dead_after);
        let node = Node::new(config, tag, random, clock.wall_at_origin(), clock.now())?;
        let mut core = Driver::new(node, clock, dead_after)?;
        if listen {
            let local = core.listen(Entrance::new(bind, port))?;
            core.host.handle_listening(local, clock.now());
        }
        Ok(Self {
            #[cfg(unix)]
            registry: core.registry().map_err(StartError::System)?,
            core: RefCell::new(core),
            reading: Reading::default(),
            walks: Cell::new(0),
            fresh: Cell::new(false),
            filter: RefCell::default(),
        })
    }

    /// Walks over all connections, those that have something to read and those that have not.
    ///
    /// The outermost walk begins with moving what can be moved without waiting: accepts, reads, timers, and ends, when
    /// it is dropped, with sending what was queued. Connections that come about during a walk are shown by the next.
    pub fn connections(&self) -> Connections<'_> {
        Connections::all(self)
    }

    /// Walks over the connections that have something to read; otherwise like [`connections`](Net::connections). Its
    /// cost does not grow with idle connections.
    pub fn ready(&self) -> Connections<'_> {
        Connections::ready(self)
    }

    /// The connection of this id, while it is open; `None` when it has ended or been closed, or is another `Net`'s.
    pub fn con(&self, id: ConId) -> Option<Con<'_>> {
        self.with(|core| core.host.is_shown(id)).then(|| Con::new(self, id))
    }

    /// Sleeps until something happens that the program may want to see, for `timeout` at most; `None`: without limit.
    ///
    /// Moves what can be moved meanwhile. It returns at once while a connection has unread lines, and when one that said
    /// [`Full`](crate::SendError::Full) has room for half of its queue again, and early when a
    /// signal interrupts it, so that the program can look at its flags. Events that nobody drained do not keep it from
    /// sleeping.
    ///
    /// # Errors
    ///
    /// What the operating system says of its poller; there is no known way to get there.
    pub fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // `&mut self` proves that no walk is alive: a count that says otherwise is of one that was leaked.
        self.walks.set(0);
        self.with(|core| core.host.settle_shown());
        let progress = self.with(|core| core.host.progress());
        let begin = self.with(Driver::flush);
        let (relieved, news) =
            self.with(|core| (core.host.take_relieved(), core.host.progress() != progress));
        // What the flush itself brought about, like the end of `stop`, is not slept over.
        let mut left = if relieved || news { Some(Duration::ZERO) } else { timeout };
        loop {
            if !self.pump(left)? {
                return Ok(());
            }
            let done = self.with(|core| {
                let unread = core.host.has_unread();
                self.fresh.set(unread);
                if relieved || core.host.take_relieved() || unread || core.host.progress() != progress {
                    return true;
                }
                // The clock is read only where it matters: it costs about as much as all else in here.
                left = timeout.map(|timeout| match timeout.is_zero() {
                    true => Duration::ZERO,
                    false => timeout.saturating_sub(core.now() - begin),
                });
                left.is_some_and(|left| left.is_zero())
            });
            if done {
                return Ok(());
            }
        }
    }

    /// How long the program may sleep before it has to call [`connections`](Net::connections) or
    /// [`poll`](Net::poll), unless the file descriptor becomes readable earlier; `None`: without limit. For programs
    /// that embed a `Net` in another loop. Calling earlier costs a little; calling later delays what was due: a closing
    /// connection, a retry, a renewal.
    pub fn next_wakeup(&self) -> Option<Duration> {
        self.with(Driver::next_wakeup)
    }

    /// The events that nobody drained yet, oldest first. The queue is bounded ([`Config::max_events`]); a program may
    /// leave it alone. Drained at the beginning of a walk, `Connected` comes before the first line is read; drained
    /// after it, `Closed` comes after the last.
    pub fn events(&self) -> Events<'_> {
        Events::new(self)
    }

    /// Queues a line on every connection but one, `None` for all; returns on how many. A connection whose queue is full
    /// is left out, and so are all when it is not one line (see [`SendError`](crate::SendError)).
    ///
    /// ```no_run
    /// # let net = p2poll::Config::new().start().unwrap();
    /// for con in net.connections() {
    ///     for line in con.replies() {
    ///         net.broadcast(&line, con);
    ///     }
    /// }
    /// net.broadcast("to all", None);
    /// ```
    pub fn broadcast(&self, line: impl AsRef<[u8]>, except: impl Into<Except>) -> usize {
        let (line, except) = (line.as_ref(), except.into());
        self.with(|core| core.host.broadcast(line, except, core.now()))
    }

    /// Begins to connect to an address, `IP:PORT` or `HOST:PORT`. Returns at once; the outcome is
    /// [`Event::Connected`](crate::Event::Connected) or [`Event::Failed`](crate::Event::Failed) with this id, after
    /// [`Config::connect_timeout`] at the latest.
    ///
    /// # Errors
    ///
    /// When it could not even begin; see [`ConnectError`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
    /// use p2poll::{Config, Event};
    /// use std::time::Duration;
    ///
    /// let other = Config::new().bind([127, 0, 0, 1].into()).start()?;
    /// let attempt = net.connect_addr(other.local_addr().ok_or("it listens")?)?;
    /// let mut connected = false;
    /// while !connected {
    ///     net.poll(Some(Duration::from_secs(1)))?;
    ///     connected = net.events().any(|event| matches!(event, Event::Connected { attempt: Some(id), .. } if id == attempt));
    /// }
    /// assert!(!net.cancel(attempt), "it has ended already");
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect_addr(&self, addr: impl ToString) -> Result<AttemptId, ConnectError> {
        let text = addr.to_string();
        self.with(|core| core.host.connect(&text, core.now()))
    }

    /// Begins to connect to a node: by its UNL, or at an address, `HOST:PORT` or `ID@HOST:PORT`. It takes them as texts, and
    /// a [`Unl`], a [`SocketAddr`] and a [`Connect`] as they are.
    ///
    /// By its UNL it goes by whatever way there is, from an existing connection over its addresses and
    /// hole punching to a relay. Returns at once; the outcome is [`Event::Connected`](crate::Event::Connected) with the way
    /// and the time that it took, or [`Event::Failed`](crate::Event::Failed) with what each rung said, after
    /// [`Config::connect_within`] at the latest. [`Event::Climbing`](crate::Event::Climbing) tells how far it is.
    ///
    /// The connection's [`node_id`](Con::node_id) is proven, and the same as the UNL's, unless that is of version 2, which
    /// names none.
    ///
    /// An address is dialled, as by [`connect_addr`](Net::connect_addr), and who is there is asked who it is: its id is learned,
    /// or checked where one is given. Nothing of the connection is shown before that is proven. What is there and does not answer
    /// within [`Config::hello_timeout`] is no node: the connection is closed, and the reason is [`RungFault::Silent`]; another
    /// node than the named one is [`RungFault::WrongNode`]. (For peers that are no nodes there is
    /// [`connect_addr`](Net::connect_addr).) A node that is connected already stays so, by the connection that there is, which is
    /// then the outcome. The dial ends after [`Config::connect_timeout`] at the latest. Of the addresses of a name the first that
    /// accepts a connection is asked.
    ///
    /// [`RungFault::Silent`]: crate::RungFault::Silent
    /// [`RungFault::WrongNode`]: crate::RungFault::WrongNode
    ///
    /// # Errors
    ///
    /// When it could not even begin; see [`ConnectError`].
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use p2poll::{Config, Event};
    /// use std::time::Duration;
    ///
    /// let config = Config::new().bind([127, 0, 0, 1].into()).direct();
    /// let (mut alice, mut bob) = (config.clone().start()?, config.start()?);
    /// let attempt = alice.connect(&bob.unl().ok_or("it has a key")?)?;
    /// let mut con = None;
    /// while con.is_none() {
    ///     alice.poll(Some(Duration::from_millis(5)))?;
    ///     bob.poll(Some(Duration::from_millis(5)))?;
    ///     con = alice.events().find_map(|event| match event {
    ///         Event::Connected { con, attempt: Some(id), .. } if id == attempt => Some(con),
    ///         _ => None,
    ///     });
    /// }
    /// let con = con.and_then(|id| alice.con(id)).ok_or("it is open")?;
    /// assert_eq!(con.node_id(), bob.node_id());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// At an address:
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use p2poll::{Config, ConnectError, Event, TargetError};
    /// # use std::time::Duration;
    /// let config = Config::new().bind([127, 0, 0, 1].into()).direct();
    /// let (mut alice, mut bob) = (config.clone().start()?, config.start()?);
    /// let addr = bob.local_addr().ok_or("it listens")?;
    /// let attempt = alice.connect(addr.to_string())?; // or alice.connect(addr)
    /// let mut con = None;
    /// while con.is_none() {
    ///     alice.poll(Some(Duration::from_millis(5)))?;
    ///     bob.poll(Some(Duration::from_millis(5)))?;
    ///     con = alice.events().find_map(|event| match event {
    ///         Event::Connected { con, attempt: Some(id), .. } if id == attempt => Some(con),
    ///         _ => None,
    ///     });
    /// }
    /// let learned = con.and_then(|id| alice.con(id)?.node_id()).ok_or("it is a node")?;
    /// assert_eq!(Some(learned), bob.node_id());
    /// // Whoever has both can have them checked.
    /// alice.connect(format!("{learned}@{addr}"))?;
    /// assert!(matches!(alice.connect("bob"), Err(ConnectError::BadTarget(TargetError::Unl(_)))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn connect<T>(&self, to: T) -> Result<AttemptId, ConnectError>
    where
        T: TryInto<Connect>,
        ConnectError: From<T::Error>,
    {
        let to = to.try_into()?;
        self.with(|core| core.host.connect_to(to, core.now()))
    }

    /// Where and how this node can be reached, to be given to others; [`Event::Unl`](crate::Event::Unl) tells of changes.
    /// `None` where node links are [switched off](Config::links).
    pub fn unl(&self) -> Option<Unl> {
        self.with(|core| core.host.unl())
    }

    /// The same in version 2, for pyp2p; `None` while no address outside is known.
    pub fn unl_version2(&self) -> Option<Unl> {
        self.with(|core| core.host.unl_version2())
    }

    /// Who this node is; `None` where node links are [switched off](Config::links).
    pub fn node_id(&self) -> Option<NodeId> {
        self.with(|core| core.host.own_id())
    }

    /// The connection to this node, if there is one that has proven to be its.
    pub fn con_of(&self, id: NodeId) -> Option<Con<'_>> {
        let id = self.with(|core| core.host.con_of(id))?;
        self.con(id)
    }

    /// Gives up an attempt; its outcome is [`Event::Failed`](crate::Event::Failed). `false` when it had ended already.
    pub fn cancel(&self, attempt: AttemptId) -> bool {
        self.with(|core| core.host.cancel(attempt, core.now()))
    }

    /// Asks the rendezvous servers for nodes now, instead of by schedule.
    pub fn bootstrap(&self) {
        self.with(|core| core.host.bootstrap(core.now()));
    }

    /// Registers with the rendezvous servers now, instead of by schedule.
    pub fn advertise(&self) {
        self.with(|core| core.host.advertise(core.now()));
    }

    /// Decides about each inbound connection before it takes a slot: `false` refuses it. It replaces an earlier filter.
    ///
    /// It runs as if inside a walk: it may use the `Net`, if it has a way to it, but drives nothing.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
    /// net.filter_inbound(|peer| peer.ip().is_loopback());
    /// # Ok(())
    /// # }
    /// ```
    pub fn filter_inbound(&self, filter: impl FnMut(SocketAddr) -> bool + Send + 'static) {
        let previous = self.filter.borrow_mut().0.replace(Box::new(filter));
        // Dropped here, without the borrow: it is the application's code too.
        drop(previous);
    }

    /// Refuses connections from an address, for a time or for good (`None`), and closes those that it has. Of IPv6 the
    /// whole /64 network is meant. [`Config::max_bans`] limits how many are remembered.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
    /// use std::time::Duration;
    ///
    /// let nuisance = "192.0.2.7".parse()?;
    /// net.ban(nuisance, Some(Duration::from_secs(3600)));
    /// assert_eq!(net.banned().len(), 1);
    /// assert!(net.unban(nuisance));
    /// # Ok(())
    /// # }
    /// ```
    pub fn ban(&self, address: IpAddr, span: Option<Duration>) {
        self.with(|core| core.host.ban(address, span, core.now()));
    }

    /// Ends a ban; `false` when there was none.
    pub fn unban(&self, address: IpAddr) -> bool {
        self.with(|core| core.host.unban(address))
    }

    /// The bans in force, each with the time that is left of it, `None` for those that are for good.
    pub fn banned(&self) -> Vec<(IpAddr, Option<Duration>)> {
        self.with(|core| core.host.banned(core.now()))
    }

    /// The address at which it listens, the port as chosen by the operating system; `None` when it does not listen.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.with(|core| core.host.listening())
    }

    /// What is known of how others can reach this node: its addresses, the kind of its NAT, whether its port can be
    /// reached, what the router does for it, and what all that amounts to. [`Event::Reach`](crate::Event::Reach) tells
    /// of each change.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
    /// assert_eq!(net.reach().port, net.local_addr().map(|addr| addr.port()));
    /// # Ok(())
    /// # }
    /// ```
    pub fn reach(&self) -> Arc<Reach> {
        self.with(|core| core.host.reach())
    }

    /// Finds out anew how others can reach this node, as it does by itself when an address of the machine changes or a
    /// mapping is lost. What was known stays until something else is certain.
    pub fn refresh_reach(&self) {
        self.with(|core| core.host.refresh_reach(core.now()));
    }

    /// How many connections there are.
    pub fn len(&self) -> usize {
        self.with(|core| core.host.count())
    }

    /// Whether there is no connection.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Begins to leave: stops listening and dialling, takes back the registrations, closes all connections; what is
    /// queued still goes out. [`Event::Stopped`](crate::Event::Stopped) ends it. Go on polling until then, or call [`finish`](Net::finish).
    pub fn stop(&self) {
        self.with(|core| {
            core.stop_listening();
            core.host.stop(core.now());
        });
    }

    /// Leaves and waits until it is done, for `deadline` at most; whether it was done by then.
    ///
    /// ```
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let mut net = p2poll::Config::new().bind([127, 0, 0, 1].into()).start()?;
    /// use std::time::Duration;
    ///
    /// net.broadcast("goodbye", None);
    /// assert!(net.finish(Duration::from_secs(3))?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`poll`](Net::poll).
    pub fn finish(&mut self, deadline: Duration) -> io::Result<bool> {
        self.stop();
        let begin = self.with(|core| {
            // Nobody is left to be told.
            core.host.take_relieved();
            core.flush()
        });
        loop {
            let (left, stopped) =
                self.with(|core| (deadline.saturating_sub(core.now() - begin), core.host.is_stopped()));
            if stopped || left.is_zero() {
                return Ok(stopped);
            }
            self.walks.set(0);
            self.pump(Some(left))?;
        }
    }

    /// Borrows, acts, releases; only then is the application's logger called. The node learns first what was read
    /// meanwhile.
    #[inline]
    pub(crate) fn with<R>(&self, act: impl FnOnce(&mut Driver<Node>) -> R) -> R {
        let mut core = self.core.borrow_mut();
        if let Some(read) = self.reading.end_round() {
            core.host.handle_read(read);
        }
        act(&mut core)
    }

    /// Waits for the operating system and moves what can be moved. `false` when a signal interrupted it.
    fn pump(&self, timeout: Option<Duration>) -> io::Result<bool> {
        self.reading.settle();
        let collected = self.with(|core| core.collect(timeout));
        let streams = match collected {
            Ok(streams) => streams,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error),
        };
        let streams = if streams.is_empty() { streams } else { self.screen(streams) };
        self.with(|core| {
            core.admit(streams);
            core.service();
        });
        self.admit_pending();
        self.tell_log();
        Ok(true)
    }

    /// Asks the application's filter, which is out of its slot meanwhile, and no borrow is held.
    fn screen(&self, mut streams: Vec<Stream>) -> Vec<Stream> {
        let Some(filter) = self.filter.borrow_mut().0.take() else { return streams };
        let mut screening = Screening::begin(self, filter);
        // Who may be somebody else is the application's business only when it has turned out to be a peer.
        streams.retain(|stream| {
            self.with(|core| core.host.is_held_back(stream.peer)) || screening.admits(stream.peer)
        });
        streams
    }

    /// Those that were held back and turned out to be peers.
    fn admit_pending(&self) {
        while let Some((id, peer)) = self.with(|core| core.host.poll_pending()) {
            let filter = self.filter.borrow_mut().0.take();
            let wanted = filter.is_none_or(|filter| Screening::begin(self, filter).admits(peer));
            self.with(|core| core.host.admit_pending(id, wanted, core.now()));
        }
    }

    fn tell_log(&self) {
        tell_log(|| self.with(|core| crate::node::Host::notes(&mut core.host).pop()));
    }
}

/// The application's filter while it runs: as if inside a walk. It is put back even when it panics, unless it was
/// replaced meanwhile: a program that survives the panic must not admit everybody from then on.
struct Screening<'net> {
    net: &'net Net,
    filter: Option<InboundFilter>,
}

impl<'net> Screening<'net> {
    fn begin(net: &'net Net, filter: InboundFilter) -> Self {
        net.walks.set(net.walks.get() + 1);
        Self { net, filter: Some(filter) }
    }

    fn admits(&mut self, peer: SocketAddr) -> bool {
        self.filter.as_mut().is_none_or(|filter| filter(peer))
    }
}

impl Drop for Screening<'_> {
    fn drop(&mut self) {
        self.net.walks.set(self.net.walks.get().saturating_sub(1));
        let mut slot = self.net.filter.borrow_mut();
        if slot.0.is_none() {
            slot.0 = self.filter.take();
        }
    }
}

/// Leaves as well as can be done at once: tells the servers, sends what the network takes without waiting, and closes.
impl Drop for Net {
    fn drop(&mut self) {
        self.stop();
        self.with(Driver::flush);
    }
}

/// Hands notes to the application's logger, one by one, each fetched and released before.
fn tell_log(mut next: impl FnMut() -> Option<crate::note::Note>) {
    // What the logger itself causes is left for the next time.
    for _ in 0..Notes::LIMIT {
        let Some(note) = next() else { return };
        log::log!(target: "p2poll", note.level, "{}", note.text);
    }
}

fn next_tag() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use super::*;
    use crate::event::Event;

    fn until(net: &mut Net, mut done: impl FnMut(Event) -> bool) {
        for _ in 0..1000 {
            if net.events().any(&mut done) {
                return;
            }
            net.poll(Some(Duration::from_millis(10))).unwrap();
        }
        panic!("waited in vain");
    }

    #[test]
    fn a_program_that_never_walks_keeps_nothing_of_those_who_left() {
        let mut net = Config::new().bind(Ipv4Addr::LOCALHOST.into()).start().unwrap();
        for _ in 0..200 {
            let raw = TcpStream::connect(net.local_addr().unwrap()).unwrap();
            until(&mut net, |event| matches!(event, Event::Connected { .. }));
            drop(raw);
            until(&mut net, |event| matches!(event, Event::Closed { .. }));
            assert!(net.with(|core| core.host.shown_places()) <= 2);
        }
        net.poll(Some(Duration::ZERO)).unwrap();
        assert_eq!(net.with(|core| core.host.shown_places()), 0);
        assert_eq!((net.len(), net.broadcast("to nobody", None)), (0, 0));
    }
}
