//! What a node has a server list.

/// What a node registers as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Advert {
    pub(crate) kind: AdvertKind,
    /// Where it listens; pyp2p says 0 for `Simultaneous`.
    pub(crate) port: u16,
    pub(crate) max_inbound: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AdvertKind {
    /// It can be dialled.
    Passive,
    /// It can be punched, and keeps its connection for that.
    Simultaneous,
}
