//! tokio-util's `LinesCodec` in a `Framed`, on tokio's current-thread runtime.

use super::{Contestant, Host, LOOPBACK, Stop};
use crate::Result;
use crate::meter::{Laps, Meter};
use futures_util::{SinkExt, StreamExt};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::LocalSet;
use tokio_util::codec::{Framed, LinesCodec};

pub struct Lines;

impl Contestant for Lines {
    fn name(&self) -> &'static str {
        "LinesCodec"
    }

    fn receive(&self, announce: &Sender<SocketAddr>, meter: &mut Meter<'_>) -> Result<()> {
        runtime()?.block_on(async {
            let mut framed = accept(announce).await?;
            while let Some(line) = framed.next().await {
                meter.line(line?.as_bytes());
            }
            Ok(())
        })
    }

    /// With LF alone.
    fn sent_length(&self, line: &str) -> usize {
        line.len() + 1
    }

    fn send(&self, to: SocketAddr, line: &str, stop: &Stop<'_>) -> Result<()> {
        runtime()?.block_on(async {
            let mut framed = connect(to).await?;
            while stop.wants_more() {
                // `feed` flushes by itself whenever the buffer is full, and so makes batches of that size.
                for _ in 0..Stop::ASK_EVERY {
                    framed.feed(line).await?;
                }
            }
            Ok(SinkExt::<&str>::flush(&mut framed).await?)
        })
    }

    fn echo(&self, announce: &Sender<SocketAddr>) -> Result<()> {
        runtime()?.block_on(async {
            let mut framed = accept(announce).await?;
            while let Some(line) = framed.next().await {
                framed.send(line?).await?;
            }
            Ok(())
        })
    }

    fn ask(&self, to: SocketAddr, line: &str, laps: &mut Laps) -> Result<()> {
        runtime()?.block_on(async {
            let mut framed = connect(to).await?;
            loop {
                laps.asked();
                framed.send(line).await?;
                framed.next().await.ok_or("the echo closed")??;
                if !laps.answered() {
                    return Ok(());
                }
            }
        })
    }

    fn host(&self) -> Result<Box<dyn Host>> {
        let runtime = runtime()?;
        let listener = runtime.block_on(TcpListener::bind(LOOPBACK))?;
        Ok(Box::new(Idle { runtime, tasks: LocalSet::new(), listener, held: Rc::default() }))
    }
}

/// More than the default of 8 KiB, as whoever wants speed would choose; the same as the hand-written loop's.
const BUFFER: usize = 64 * 1024;

fn runtime() -> Result<Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

async fn accept(announce: &Sender<SocketAddr>) -> Result<Framed<TcpStream, LinesCodec>> {
    let listener = TcpListener::bind(LOOPBACK).await?;
    announce.send(listener.local_addr()?)?;
    frame(listener.accept().await?.0)
}

async fn connect(to: SocketAddr) -> Result<Framed<TcpStream, LinesCodec>> {
    frame(TcpStream::connect(to).await?)
}

fn frame(stream: TcpStream) -> Result<Framed<TcpStream, LinesCodec>> {
    stream.set_nodelay(true)?;
    let mut framed = Framed::with_capacity(stream, LinesCodec::new(), BUFFER);
    framed.set_backpressure_boundary(BUFFER);
    Ok(framed)
}

/// One task for each connection, which waits for a line; buffers as they are by default.
struct Idle {
    runtime: Runtime,
    tasks: LocalSet,
    listener: TcpListener,
    held: Rc<Cell<usize>>,
}

impl Host for Idle {
    fn address(&self) -> SocketAddr {
        self.listener.local_addr().expect("a bound listener has an address")
    }

    fn serve(&mut self, wait: Duration) -> Result<usize> {
        let (listener, held) = (&self.listener, &self.held);
        let serving = async {
            loop {
                let (stream, _) = listener.accept().await?;
                held.set(held.get() + 1);
                tokio::task::spawn_local(async move {
                    let mut framed = Framed::new(stream, LinesCodec::new());
                    while let Some(Ok(_)) = framed.next().await {}
                });
            }
        };
        let until = async { tokio::time::timeout(wait, serving).await };
        match self.tasks.block_on(&self.runtime, until) {
            Ok(error) => error,
            Err(_elapsed) => Ok(self.held.get()),
        }
    }
}
