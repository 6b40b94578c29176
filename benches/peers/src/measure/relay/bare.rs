//! The loop that somebody would write by hand who had only to copy: connections are pairs in the order in which they come,
//! and what one says goes to the other. No limits, no protocol, no fairness.

use crate::{Result, usage};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use std::io::{ErrorKind, Read, Write};

const LISTENER: Token = Token(usize::MAX);

/// As much as the server reads at once.
const BUFFER: usize = 64 << 10;

struct End {
    socket: TcpStream,
    readable: bool,
    /// What the socket has not taken.
    pending: Vec<u8>,
}

/// The process: it ends with its parent.
pub fn serve() -> Result<()> {
    usage::room_for(usize::from(u16::MAX))?;
    usage::stay_on(usage::Core::First)?;
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut listener = TcpListener::bind("127.0.0.1:0".parse()?)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    println!("{}", listener.local_addr()?);
    let mut ends: Vec<End> = Vec::new();
    let mut buffer = vec![0; BUFFER];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut ends)?;
                continue;
            }
            let Token(index) = event.token();
            if event.is_writable() && flush(&mut ends[index])? {
                pump(&mut ends, index ^ 1, &mut buffer)?;
            }
            if event.is_readable() {
                ends[index].readable = true;
                pump(&mut ends, index, &mut buffer)?;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, ends: &mut Vec<End>) -> Result<()> {
    loop {
        let mut socket = match listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        socket.set_nodelay(true)?;
        poll.registry().register(&mut socket, Token(ends.len()), Interest::READABLE | Interest::WRITABLE)?;
        ends.push(End { socket, readable: false, pending: Vec::new() });
    }
}

/// Whether all is out.
fn flush(end: &mut End) -> Result<bool> {
    let sent = write(&mut end.socket, &end.pending)?;
    end.pending.drain(..sent);
    Ok(end.pending.is_empty())
}

/// Copies from one end to its pair until there is nothing, or the pair has enough.
fn pump(ends: &mut [End], index: usize, buffer: &mut [u8]) -> Result<()> {
    let Ok([end, pair]) = ends.get_disjoint_mut([index, index ^ 1]) else { return Ok(()) };
    while end.readable && pair.pending.is_empty() {
        match end.socket.read(buffer) {
            Ok(0) => end.readable = false,
            Ok(count) => {
                // A short read has emptied the socket (epoll(7)).
                end.readable = count == buffer.len();
                let sent = write(&mut pair.socket, &buffer[..count])?;
                pair.pending.extend_from_slice(&buffer[sent..count]);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => end.readable = false,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// How much the socket took.
fn write(socket: &mut TcpStream, bytes: &[u8]) -> Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match socket.write(&bytes[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(sent)
}
