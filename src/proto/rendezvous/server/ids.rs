//! How clients and probes are named.

/// A connection to the server, named by whoever holds the sockets. A name may be given again once `handle_closed` was
/// called for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ClientId(pub(crate) u64);

/// A probe under way; never used again for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ProbeId(pub(super) u64);
