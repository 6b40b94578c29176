//! `p2poll rendezvous`

use std::time::Duration;

use p2poll::RendezvousConfig;

use crate::Failure;
use crate::arguments::RendezvousOptions;
use crate::output::{Output, Plain};
use crate::waiting::Waiting;

pub(crate) fn run(options: &RendezvousOptions) -> Result<(), Failure> {
    let mut waiting = Waiting::new()?;
    let config = options.listen.iter().fold(RendezvousConfig::new(), |config, addr| config.listen(addr));
    let mut server = config.start()?;
    waiting.add(&mut server)?;

    let mut output = if options.json { Output::json() } else { Output::plain(Plain::default()) };
    for &addr in server.local_addrs() {
        output.listening(addr)?;
    }
    output.flush()?;
    while !waiting.wants_to_leave() {
        server.poll(Some(Duration::ZERO))?;
        waiting.wait(server.next_wakeup())?;
    }
    // Dropping the server closes its sockets.
    Ok(())
}
