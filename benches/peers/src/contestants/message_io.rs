//! message-io's framed TCP: callbacks from a thread of its own; a message is its length and its bytes.

use super::{Contestant, Host, LOOPBACK, Stop};
use crate::Result;
use crate::meter::{Laps, Meter};
use ::message_io::network::{Endpoint, NetEvent, SendStatus, Transport};
use ::message_io::node::{self, NodeEvent, NodeHandler, NodeListener, NodeTask};
use ::message_io::util::encoding::{MAX_ENCODED_SIZE, encode_size};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

pub struct MessageIo;

impl Contestant for MessageIo {
    fn name(&self) -> &'static str {
        "message-io"
    }

    fn frame(&self, line: &str) -> Vec<u8> {
        let mut size = [0; MAX_ENCODED_SIZE];
        [encode_size(line.as_bytes(), &mut size), line.as_bytes()].concat()
    }

    fn receive(&self, announce: &Sender<SocketAddr>, meter: &mut Meter<'_>) -> Result<()> {
        serve(announce, |_, _, message| meter.line(message))
    }

    fn send(&self, to: SocketAddr, line: &str, stop: &Stop<'_>) -> Result<()> {
        let (handler, listener) = node::split::<()>();
        let (endpoint, _) = handler.network().connect_sync(Transport::FramedTcp, to)?;
        // Its messages have no end mark; the line end is there for the reader that counts.
        let message = format!("{line}\n");
        while stop.wants_more() {
            for _ in 0..Stop::ASK_EVERY {
                sent(handler.network().send(endpoint, message.as_bytes()))?;
            }
        }
        handler.network().remove(endpoint.resource_id());
        handler.stop();
        listener.for_each(|_| ());
        Ok(())
    }

    fn echo(&self, announce: &Sender<SocketAddr>) -> Result<()> {
        serve(announce, |handler, from, message| {
            handler.network().send(from, message);
        })
    }

    fn ask(&self, to: SocketAddr, line: &str, laps: &mut Laps) -> Result<()> {
        let (handler, listener) = node::split::<()>();
        let (endpoint, _) = handler.network().connect_sync(Transport::FramedTcp, to)?;
        handler.signals().send(());
        let mut failed = Ok(());
        listener.for_each(|event| match event {
            NodeEvent::Signal(()) => {
                laps.asked();
                handler.network().send(endpoint, line.as_bytes());
            }
            NodeEvent::Network(NetEvent::Message(..)) if laps.answered() => {
                laps.asked();
                handler.network().send(endpoint, line.as_bytes());
            }
            NodeEvent::Network(NetEvent::Message(..)) => {
                handler.network().remove(endpoint.resource_id());
                handler.stop();
            }
            NodeEvent::Network(NetEvent::Disconnected(_)) => {
                failed = Err("the echo closed".into());
                handler.stop();
            }
            NodeEvent::Network(_) => {}
        });
        failed
    }

    fn host(&self) -> Result<Box<dyn Host>> {
        let (handler, listener) = node::split::<()>();
        let (_, address) = handler.network().listen(Transport::FramedTcp, LOOPBACK)?;
        let held = Arc::new(AtomicUsize::new(0));
        let counter = held.clone();
        let task = listener.for_each_async(move |event| {
            if let NodeEvent::Network(NetEvent::Accepted(..)) = event {
                counter.fetch_add(1, Ordering::Relaxed);
            }
        });
        Ok(Box::new(Idle { handler, _task: task, address, held }))
    }
}

/// Listens and hands out messages until the peer leaves.
fn serve(
    announce: &Sender<SocketAddr>,
    mut on_message: impl FnMut(&NodeHandler<()>, Endpoint, &[u8]),
) -> Result<()> {
    let (handler, listener): (NodeHandler<()>, NodeListener<()>) = node::split();
    let (_, address) = handler.network().listen(Transport::FramedTcp, LOOPBACK)?;
    // Announced from inside `for_each`: what comes before it is hoarded by another thread.
    handler.signals().send(());
    listener.for_each(|event| match event {
        NodeEvent::Signal(()) => drop(announce.send(address)),
        NodeEvent::Network(NetEvent::Message(from, message)) => on_message(&handler, from, message),
        NodeEvent::Network(NetEvent::Disconnected(_)) => handler.stop(),
        NodeEvent::Network(_) => {}
    });
    Ok(())
}

fn sent(status: SendStatus) -> Result<()> {
    match status {
        SendStatus::Sent => Ok(()),
        other => Err(format!("message-io could not send: {other:?}").into()),
    }
}

struct Idle {
    handler: NodeHandler<()>,
    _task: NodeTask,
    address: SocketAddr,
    held: Arc<AtomicUsize>,
}

impl Host for Idle {
    fn address(&self) -> SocketAddr {
        self.address
    }

    fn serve(&mut self, wait: Duration) -> Result<usize> {
        std::thread::sleep(wait);
        Ok(self.held.load(Ordering::Relaxed))
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        self.handler.stop();
    }
}
