//! Lines sent per second. The receiver is the same for all: a blocking thread that counts line ends.

use super::{LINE, MANY_ROUNDS, round_robin, throughput_table, window};
use crate::contestants::{Contestant, Stop};
use crate::meter::{Meter, Sample, Window};
use crate::options::Options;
use crate::report::Report;
use crate::{Result, allocations, join, usage};
use std::io::Read;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let window = window(options);
    let all = round_robin(options, "sending", MANY_ROUNDS, |contestant| one(contestant, window));
    let (to_loop, to_codec) = throughput_table(
        report,
        "Sending: 64-byte lines to one blocking thread that counts line ends (256 KiB a read)",
        "sending",
        &all,
        "Each line is handed over by itself. LinesCodec ends it in LF; message-io puts its length before a line with LF.",
    );
    report.at_least("lines sent, against the hand-written loop", to_loop, 0.6, "at least 0.60");
    report.at_least("lines sent, against LinesCodec", to_codec, 1.2, "at least 1.20");
    Ok(())
}

const READ: usize = 256 * 1024;

fn one(contestant: &dyn Contestant, window: Window) -> Result<Sample> {
    let stop = AtomicBool::new(false);
    let (announce, address) = channel();
    std::thread::scope(|scope| {
        let counter = scope.spawn(|| count(announce, window, &stop));
        let address = address.recv()?;
        let (begin_time, begin_allocations) = (usage::thread_time(), allocations::of_this_thread());
        contestant.send(address, LINE, &Stop(&stop))?;
        let (time, allocations) =
            (usage::thread_time() - begin_time, allocations::of_this_thread() - begin_allocations);
        let (sample, lines) = join(counter)?;
        // The counter's own cost is not of interest: the sender's is, over all that it sent.
        Ok(Sample {
            allocations_per_line: allocations as f64 / lines as f64,
            nanoseconds_per_line: time.as_nanos() as f64 / lines as f64,
            ..sample
        })
    })
}

fn count(announce: Sender<SocketAddr>, window: Window, stop: &AtomicBool) -> Result<(Sample, u64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce.send(listener.local_addr()?)?;
    let (mut stream, _) = listener.accept()?;
    let mut buffer = vec![0; READ];
    let mut meter = Meter::new(window, stop);
    let mut total = 0;
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok((meter.sample().ok_or("ended before the time was up")?, total));
        }
        let lines = memchr::memchr_iter(b'\n', &buffer[..count]).count();
        total += lines as u64;
        meter.lines(lines, count);
    }
}
