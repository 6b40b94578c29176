//! What a program's worker does, in virtual time, and what it finds outside of the network.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::network::{Network, ProgramId};
use crate::job::{Job, Report};
use crate::reach::{LanAddress, MappingFault};
use crate::time::Instant;

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

/// One job after the other, as there is one thread.
#[derive(Debug)]
pub(super) struct Worker {
    /// When it is done with its last job; `None`: never.
    free: Option<Instant>,
}

impl Worker {
    pub(super) fn new() -> Self {
        Self { free: Some(Instant::ZERO) }
    }

    /// Begins a job of a program; the report comes by the network, when its time has come.
    pub(super) fn begin(
        &mut self,
        job: Job,
        of: ProgramId,
        network: &mut Network,
        around: &mut Surroundings,
    ) {
        // Routers are asked on threads of their own, whatever the worker is at.
        let is_aside = matches!(job, Job::Gateway { .. });
        let free = if is_aside { Some(network.now()) } else { self.free };
        let Some(begin) = free.map(|free| free.max(network.now())) else { return };
        let outcome = carry_out(job, around, || network.interfaces(of));
        if !is_aside {
            self.free = outcome.as_ref().map(|(takes, _)| begin + *takes);
        }
        if let Some((takes, report)) = outcome {
            network.report_at(begin + takes, of, report);
        }
    }
}

/// How long it takes, and what comes of it; `None`: it never ends.
fn carry_out(
    job: Job,
    around: &mut Surroundings,
    interfaces: impl FnOnce() -> Vec<LanAddress>,
) -> Option<(Duration, Report)> {
    match job {
        Job::Resolve { query, host, port } => {
            let unknown = Name::Answer(Duration::from_millis(30), Err("no such name".into()));
            match around.names.get(&host).cloned().unwrap_or(unknown) {
                Name::Never => None,
                Name::Answer(takes, outcome) => {
                    let at_port =
                        |ips: Vec<IpAddr>| ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect();
                    Some((takes, Report::Resolved(query, outcome.map(at_port))))
                }
            }
        }
        Job::Load { path } => {
            let text = around.files.get(&path).cloned();
            Some((FILE_DELAY, Report::Loaded(text.ok_or_else(|| io::ErrorKind::NotFound.into()))))
        }
        Job::Save { .. } if around.is_disk_full => {
            Some((FILE_DELAY, Report::Saved(Err(io::ErrorKind::StorageFull.into()))))
        }
        Job::Save { path, text } => {
            around.files.insert(path, text);
            Some((FILE_DELAY, Report::Saved(Ok(()))))
        }
        Job::Interfaces => Some((FILE_DELAY, Report::Interfaces(Ok(interfaces())))),
        // No router here speaks a protocol for that.
        Job::Gateway { request, order } => {
            Some((Duration::ZERO, Report::Gateway(request, order.fails_by(MappingFault::NoRouter))))
        }
    }
}
