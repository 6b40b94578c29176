//! Lines received per second. The sender is the same for all: a blocking thread that writes ready-made blocks.

use super::{LINE, MANY_ROUNDS, P2POLL, pick, round_robin, throughput_table, window};
use crate::contestants::Contestant;
use crate::meter::{Meter, Sample, Window};
use crate::options::Options;
use crate::report::Report;
use crate::{Result, join};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

pub fn run(options: &Options, report: &mut Report) -> Result<()> {
    let window = window(options);
    let all = round_robin(options, "receiving", MANY_ROUNDS, |contestant| one(contestant, window));
    let ratios = throughput_table(
        report,
        "Receiving: 64-byte lines from one blocking thread that writes ready-made blocks of 128 KiB",
        "receiving",
        &all,
        "CRLF ends the lines; message-io's carry their length instead, in blocks made the same way. In bulk: for_each_line.",
    );
    let allocations =
        all.get(P2POLL).map(|samples| pick(samples, |sample| sample.allocations_per_line).median());
    report.at_least("lines received, against the hand-written loop", ratios.to_loop, 0.7, "at least 0.70");
    report.at_least("the same by for_each_line", ratios.bulk_to_loop, 0.85, "at least 0.85");
    report.at_least("lines received, against LinesCodec", ratios.to_codec, 1.2, "at least 1.20");
    // Less than one in ten thousand is a timer's or a table's, not a line's.
    report.at_most("allocations per line received", allocations, 0.0001, "0");
    Ok(())
}

const BLOCK: usize = 128 * 1024;

fn one(contestant: &dyn Contestant, window: Window) -> Result<Sample> {
    let stop = AtomicBool::new(false);
    let block = contestant.frame(LINE).repeat(BLOCK / LINE.len());
    let mut meter = Meter::new(window, &stop);
    std::thread::scope(|scope| {
        let (announce, address) = channel();
        let feeder = scope.spawn(|| feed(address, &block, &stop));
        let received = contestant.receive(&announce, &mut meter);
        drop(announce); // ends a feeder that never heard of an address
        stop.store(true, Ordering::Relaxed);
        received.and(join(feeder))
    })?;
    let sample = meter.sample().ok_or("ended before the time was up")?;
    if sample.bytes_per_line != LINE.len() as f64 {
        return Err(format!("the lines came {} bytes long", sample.bytes_per_line).into());
    }
    Ok(sample)
}

fn feed(address: Receiver<SocketAddr>, block: &[u8], stop: &AtomicBool) -> Result<()> {
    let mut stream = TcpStream::connect(address.recv()?)?;
    while !stop.load(Ordering::Relaxed) {
        stream.write_all(block)?;
    }
    Ok(())
}
