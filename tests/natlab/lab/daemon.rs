//! miniupnpd, the program that many real routers run, in the namespace of one of ours.

use std::io::{BufRead, BufReader, Error, Result, Write};
use std::net::Ipv4Addr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Mapping;
use super::space::Space;

/// Far more than it needs to start.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of its log that are kept.
const LOG: usize = 1000;

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Daemon {
    // Closed when we are dropped, which is what the keeper waits for.
    stop: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
    log: Log,
}

impl Daemon {
    /// Starts it in a router, and returns when it listens.
    pub(crate) fn start(space: &Arc<Space>, mapping: Mapping, lan: Ipv4Addr, extra: &str) -> Result<Daemon> {
        let settings = settings(mapping, lan, extra);
        let log = Log::default();
        let (stop, stopped) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        // It is to be killed when its parent dies, and the kernel takes that to mean the thread.
        let keeper = thread::Builder::new().name("miniupnpd".into()).spawn({
            let (space, log) = (space.clone(), log.clone());
            move || match launch(&space, &settings) {
                Ok((child, output)) => keep(child, output, mapping, &log, &tell, &stopped),
                Err(why) => _ = tell.send(Err(why)),
            }
        })?;
        let daemon = Daemon { stop: Some(stop), keeper: Some(keeper), log };
        match told.recv_timeout(PATIENCE) {
            Ok(Ok(())) => Ok(daemon),
            Ok(Err(why)) => Err(why),
            Err(_) => Err(Error::other(format!("miniupnpd does not listen:\n{}", daemon.log()))),
        }
    }

    /// What it has printed.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take() {
            _ = keeper.join();
        }
    }
}

type Log = Arc<Mutex<Vec<String>>>;

fn launch(space: &Space, settings: &str) -> Result<(Child, ChildStderr)> {
    // It wants files for its settings and its process id. They lie in a file system that only it sees and that goes
    // with it.
    let script = "mount -t tmpfs natlab /run && cat >/run/settings && \
                  exec miniupnpd -d -f /run/settings -P /run/pid";
    let mut words = space.entrance();
    let mut command = Command::new(words.remove(0));
    command.args(words).args(["unshare", "--mount", "sh", "-c", script]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        pipe.write_all(settings.as_bytes())?;
    }
    let output = child.stderr.take().ok_or_else(|| Error::other("no pipe"))?;
    Ok((child, output))
}

fn keep(
    mut child: Child,
    output: ChildStderr,
    mapping: Mapping,
    log: &Log,
    tell: &Sender<Result<()>>,
    stopped: &Receiver<()>,
) {
    let mut awaited = Vec::new();
    if mapping != Mapping::NatPmp {
        awaited.push("HTTP listening on port");
    }
    if mapping != Mapping::Upnp {
        awaited.push("Listening for NAT-PMP");
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                awaited.retain(|words| !line.contains(words));
                if awaited.is_empty() {
                    // Only the first is listened for.
                    _ = tell.send(Ok(()));
                }
                let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                if log.len() < LOG {
                    log.push(line);
                }
            }
            // It has ended: nobody has to wait for it any longer.
            _ = tell.send(Err(Error::other("miniupnpd has ended")));
        });
        // Nothing is ever sent: this ends when the other half is dropped.
        _ = stopped.recv();
        end(&mut child);
    });
}

/// Politely at first, so that it takes its rules with it as a real one does.
fn end(child: &mut Child) {
    // Not yet waited for, so the number is still its own.
    _ = i32::try_from(child.id()).map(|id| kill(Pid::from_raw(id), Signal::SIGTERM));
    let deadline = Instant::now() + Duration::from_secs(1);
    let (_never, tick) = mpsc::channel::<()>();
    while child.try_wait().is_ok_and(|ended| ended.is_none()) && Instant::now() < deadline {
        if tick.recv_timeout(Duration::from_millis(2)) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    _ = child.kill();
    _ = child.wait();
}

fn settings(mapping: Mapping, lan: Ipv4Addr, extra: &str) -> String {
    let switch = |on| if on { "yes" } else { "no" };
    let (upnp, natpmp) = (switch(mapping != Mapping::NatPmp), switch(mapping != Mapping::Upnp));
    // Its own address outside it asks the interface for; a reserved one it does not map ports of.
    format!(
        "ext_ifname=wan0\n\
         listening_ip=lan0\n\
         enable_upnp={upnp}\n\
         enable_natpmp={natpmp}\n\
         secure_mode=no\n\
         min_lifetime=120\n\
         max_lifetime=86400\n\
         upnp_table_name=natlab\n\
         upnp_nat_table_name=natlab\n\
         upnp_forward_chain=miniupnpd\n\
         upnp_nat_chain=prerouting_miniupnpd\n\
         upnp_nat_postrouting_chain=postrouting_miniupnpd\n\
         uuid=00000000-0000-0000-0000-{:012x}\n\
         {extra}\n\
         allow 1024-65535 0.0.0.0/0 1024-65535\n\
         deny 0-65535 0.0.0.0/0 0-65535\n",
        u32::from(lan)
    )
}
