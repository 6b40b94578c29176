//! Whose server it is.

/// Which server it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ServerKind {
    P2poll,
    Pyp2p,
}
