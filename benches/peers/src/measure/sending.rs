//! Lines sent per second. The receiver is the same for all: a blocking thread that throws away what arrives without
//! even copying it (`MSG_TRUNC`, tcp(7)), so that the sender is what is measured.

use super::{LINE, MANY_ROUNDS, round_robin, throughput_table, window};
use crate::contestants::{Contestant, Stop};
use crate::meter::{Meter, Sample, Window};
use crate::options::Options;
use crate::report::Report;
use crate::{Result, allocations, join, usage};
use socket2::Socket;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let window = window(options);
    let all = round_robin(options, "sending", MANY_ROUNDS, |contestant| one(contestant, window));
    let ratios = throughput_table(
        report,
        "Sending: 64-byte lines to one blocking thread that throws them away uncopied (MSG_TRUNC)",
        "sending",
        &all,
        "Each line is handed over by itself; in bulk: 128 by one send_lines. LinesCodec ends it in LF; message-io puts its length before a line with LF.",
    );
    report.at_least("lines sent, against the hand-written loop", ratios.to_loop, 0.6, "at least 0.60");
    report.at_least("the same by send_lines", ratios.bulk_to_loop, 0.68, "at least 0.68");
    report.at_least("lines sent, against LinesCodec", ratios.to_codec, 1.2, "at least 1.20");
    Ok(())
}

/// As much as one call throws away at most.
const READ: usize = 256 * 1024;

fn one(contestant: &dyn Contestant, window: Window) -> Result<Sample> {
    let stop = &AtomicBool::new(false);
    let (announce, address) = channel();
    std::thread::scope(|scope| {
        let length = contestant.sent_length(LINE);
        let counter = scope.spawn(move || count(announce, length, window, stop));
        let address = address.recv()?;
        let (begin_time, begin_allocations) = (usage::thread_time(), allocations::of_this_thread());
        contestant.send(address, LINE, &Stop(stop))?;
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

fn count(
    announce: Sender<SocketAddr>,
    length: usize,
    window: Window,
    stop: &AtomicBool,
) -> Result<(Sample, u64)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce.send(listener.local_addr()?)?;
    let stream = Socket::from(listener.accept()?.0);
    let mut unused = vec![MaybeUninit::uninit(); READ];
    let mut meter = Meter::new(window, stop);
    let (mut bytes, mut lines) = (0, 0);
    loop {
        let count = stream.recv_with_flags(&mut unused, libc::MSG_TRUNC)?;
        if count == 0 {
            if bytes % length != 0 {
                return Err(format!("{bytes} bytes are no lines of {length}").into());
            }
            return Ok((meter.sample().ok_or("ended before the time was up")?, lines as u64));
        }
        bytes += count;
        meter.lines(bytes / length - lines, count);
        lines = bytes / length;
    }
}
