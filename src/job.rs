//! What blocks by nature: one job, one report. Nodes give the jobs; `io` carries them out on threads, and the simulator
//! in virtual time.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::gateway;
use crate::reach::LanAddress;

/// What a node asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Job {
    /// Look up a host name; the report has the same number.
    Resolve { query: u64, host: String, port: u16 },
    /// Read the file of known peers.
    Load { path: PathBuf },
    /// Replace the file of known peers.
    Save { path: PathBuf, text: String },
    /// Look what addresses the interfaces have.
    Interfaces,
    /// Ask a router; the report has the same number. Later orders have larger numbers.
    Gateway { request: u64, order: gateway::Order },
}

/// What came of a job.
#[derive(Debug)]
pub(crate) enum Report {
    Resolved(u64, Result<Vec<SocketAddr>, String>),
    Loaded(io::Result<String>),
    Saved(io::Result<()>),
    Interfaces(io::Result<Vec<LanAddress>>),
    Gateway(u64, gateway::Report),
}
