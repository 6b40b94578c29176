//! When a client does what.

use std::sync::Arc;
use std::time::Duration;

use crate::identity::Key;
use crate::wire::proof::ProofRole;
use crate::wire::rendezvous::{Features, Incarnation};

/// When a client does what. The defaults are pyp2p's where it has them.
#[derive(Clone, Debug)]
pub(crate) struct ClientConfig {
    /// Proven to the server in each session, which then is kept. Default: none.
    pub(crate) key: Option<Arc<Key>>,
    /// What the key is proven for. Default: to take and send signals.
    pub(crate) role: ProofRole,
    /// Drawn when the process has started, the same for all servers: told with the proof, so that the node is told from
    /// another one with a copy of its key. Default: none, and then of two the latest takes the signals.
    pub(crate) incarnation: Option<Incarnation>,
    /// Extensions that are offered, those for who has a key only with one; with none there is no `HELLO`. Default: all.
    pub(crate) features: Features,
    /// Ask for nodes so often, while some are wanted. Default 30 min.
    pub(crate) bootstrap_every: Duration,
    /// Ask again so soon after more came to be wanted, then after twice as long, up to `bootstrap_every`. Default
    /// 10 s: the first two nodes of a network find each other at once, and a lonely one is no burden.
    pub(crate) bootstrap_soonest: Duration,
    /// Register anew so often. Default 12 h.
    pub(crate) advertise_every: Duration,
    /// A dial, or an answer, that takes longer is given up. Default 10 s.
    pub(crate) answer_within: Duration,
    /// A verdict on a port that takes longer counts as none. Default 12 s: the longest that a server may be set to wait,
    /// and a slow way there and back.
    pub(crate) probe_within: Duration,
    /// Ask a kept connection for a sign of life so often. Default 60 s: most NATs forget a silent one after minutes.
    pub(crate) ping_every: Duration,
    /// The sign of life must come in this time. Default 10 s.
    pub(crate) ping_within: Duration,
    /// The pause after the first failure; each further one doubles it. Default 1 s.
    pub(crate) backoff_first: Duration,
    /// The longest pause. Default 5 min.
    pub(crate) backoff_most: Duration,
    /// So many lines of a connection may make no sense. Default 8.
    pub(crate) patience: usize,
}

impl Default for ClientConfig {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            key: None,
            role: ProofRole::Signal,
            incarnation: None,
            features: Features::ALL,
            bootstrap_every: seconds(30 * 60),
            bootstrap_soonest: seconds(10),
            advertise_every: seconds(12 * 3600),
            answer_within: seconds(10),
            probe_within: seconds(12),
            ping_every: seconds(60),
            ping_within: seconds(10),
            backoff_first: seconds(1),
            backoff_most: seconds(5 * 60),
            patience: 8,
        }
    }
}
