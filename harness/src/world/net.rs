//! The simulated network as a host sees it: turmoil's TCP, traced, and shaped where a story asks for exact bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};
use turnkeep_host::{Connection, Listener, Net};

use super::head::Head;
use crate::trace::{Event, Trace, fingerprint};

/// What a story does to the bytes that one host reads from another.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    /// The most bytes of one read.
    pub(super) piece: Option<usize>,
    /// How many more bytes arrive before a reset; the reset hits one connection and is then used up.
    pub(super) cut_after: Option<usize>,
}

/// The shapes of all links, by (reader, source), and who is offline. The driver writes, streams read.
#[derive(Clone, Default)]
pub(super) struct Shapes(Arc<Mutex<Shaping>>);

#[derive(Default)]
struct Shaping {
    links: BTreeMap<(String, String), Shape>,
    offline: BTreeSet<String>,
    /// How often each host has lost its network, which only ever grows; what it had open then is silent for good.
    outages: BTreeMap<String, u64>,
    /// How many answers stream from each host to each other one, at the end that gives them.
    streams: BTreeMap<(String, String), usize>,
}

impl Shapes {
    pub(super) fn change(&self, reader: &str, source: &str, change: impl FnOnce(&mut Shape)) {
        let mut shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        change(shapes.links.entry((reader.to_owned(), source.to_owned())).or_default());
    }

    /// Shapes no link any more and lets everybody dial; connections that have died stay dead.
    pub(super) fn clear(&self) {
        let mut shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shapes.links.clear();
        shapes.offline.clear();
    }

    /// Lets whatever `host` dials fail at once, or no longer, as a device does that knows it has no network. What it has open when it
    /// goes offline says nothing any more, at either end.
    pub(super) fn set_offline(&self, host: &str, is_offline: bool) {
        let mut shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if is_offline {
            shapes.offline.insert(host.to_owned());
            *shapes.outages.entry(host.to_owned()).or_default() += 1;
        } else {
            shapes.offline.remove(host);
        }
    }

    /// Counts the answers that stream from `source` to `reader`, as `source` knows it.
    pub(super) fn streams(&self, source: &str, reader: &str) -> usize {
        let shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shapes.streams.get(&(source.to_owned(), reader.to_owned())).copied().unwrap_or_default()
    }

    fn count_streams(&self, source: &str, reader: &str, change: impl FnOnce(usize) -> usize) {
        let mut shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = shapes.streams.entry((source.to_owned(), reader.to_owned())).or_default();
        *count = change(*count);
    }

    /// Counts the outages of both ends of a connection.
    fn outages(&self, ends: [&str; 2]) -> u64 {
        let shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        ends.iter().filter_map(|host| shapes.outages.get(*host)).sum()
    }

    fn is_offline(&self, host: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).offline.contains(host)
    }

    /// Tells whether no link is shaped.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).links.is_empty()
    }

    fn get(&self, reader: &str, source: &str) -> Shape {
        let shapes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        shapes.links.get(&(reader.to_owned(), source.to_owned())).copied().unwrap_or_default()
    }
}

/// One host's network.
pub(super) struct WorldNet {
    host: String,
    trace: Trace,
    shapes: Shapes,
    connections: Arc<AtomicU64>,
}

impl WorldNet {
    pub(super) fn new(host: &str, trace: Trace, shapes: Shapes) -> Self {
        Self { host: host.to_owned(), trace, shapes, connections: Arc::default() }
    }

    fn wrap(&self, stream: TcpStream, peer: &str, op: &str, outages: u64) -> Connection {
        let conn = self.connections.fetch_add(1, Ordering::Relaxed);
        let wire = Wire {
            stream,
            host: self.host.clone(),
            peer: peer.to_owned(),
            conn,
            trace: self.trace.clone(),
            shapes: self.shapes.clone(),
            outages,
            ended: false,
            is_dialled: op == "dial",
            asked: Head::default(),
            answer: Head::default(),
            is_streaming: false,
        };
        wire.log(op, &[]);
        Box::new(wire)
    }
}

impl Net for WorldNet {
    fn dial<'a>(&'a self, authority: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            let bad = || io::Error::new(io::ErrorKind::InvalidInput, format!("`{authority}` is not name:port"));
            let (name, port) = authority.rsplit_once(':').ok_or_else(bad)?;
            let port: u16 = port.parse().map_err(|_| bad())?;
            if self.shapes.is_offline(&self.host) {
                return Err(io::ErrorKind::NetworkUnreachable.into());
            }
            // Before the handshake: a network that is lost meanwhile is lost to it, too.
            let outages = self.shapes.outages([&self.host, name]);
            let stream = TcpStream::connect((name, port)).await?;
            Ok(self.wrap(stream, name, "dial", outages))
        })
    }

    fn listen<'a>(&'a self, addr: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let listener = TcpListener::bind(addr).await?;
            let local_addr = listener.local_addr()?.to_string();
            let net = Self {
                host: self.host.clone(),
                trace: self.trace.clone(),
                shapes: self.shapes.clone(),
                connections: self.connections.clone(),
            };
            Ok(Box::new(WorldPort { listener, local_addr, net }) as Box<dyn Listener>)
        })
    }
}

struct WorldPort {
    listener: TcpListener,
    local_addr: String,
    net: WorldNet,
}

impl Listener for WorldPort {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            let (stream, from) = self.listener.accept().await?;
            let peer = turmoil::reverse_lookup(from.ip()).unwrap_or_else(|| from.ip().to_string());
            let outages = self.net.shapes.outages([&self.net.host, &peer]);
            Ok(self.net.wrap(stream, &peer, "accept", outages))
        })
    }

    fn local_addr(&self) -> String {
        self.local_addr.clone()
    }
}

/// A traced connection whose reads a story can shape.
struct Wire {
    stream: TcpStream,
    host: String,
    peer: String,
    conn: u64,
    trace: Trace,
    shapes: Shapes,
    /// The outages of both ends before it was opened.
    outages: u64,
    ended: bool,
    /// Whether this end asks and the other one answers.
    is_dialled: bool,
    /// The heads of the newest request and of its answer.
    asked: Head,
    answer: Head,
    /// Whether this end gives an answer that streams.
    is_streaming: bool,
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.end_stream();
    }
}

/// How a page says whose it is, when it asks another site.
const ORIGIN: &str = "origin: ";

/// What a browser wants to read in the head of an answer to a page of another site.
const ALLOWS: &str = "access-control-allow-origin: ";

/// What streams, as its head says.
const STREAMS: &str = "content-type: text/event-stream";

/// The most bytes of one shaped read.
const SCRATCH_BYTES: usize = 4096;

impl Wire {
    fn log(&self, op: &str, bytes: &[u8]) {
        let hash = if bytes.is_empty() { String::new() } else { fingerprint(bytes) };
        let event =
            Event::Net { peer: self.peer.clone(), conn: self.conn, op: op.to_owned(), bytes: bytes.len(), hash };
        self.trace.log(&self.host, event);
    }

    /// Tells whether an end has lost its network since: then nothing arrives here any more, not even an end, and nothing leaves.
    fn is_silent(&self) -> bool {
        self.shapes.outages([&self.host, &self.peer]) != self.outages
    }

    /// Takes in a piece of a request; the first one behind an answer begins the next exchange.
    fn take_request(&mut self, bytes: &[u8]) {
        if self.answer.has_begun() && !bytes.is_empty() {
            self.end_stream();
            (self.asked, self.answer) = Default::default();
        }
        self.asked.take(bytes);
    }

    /// Gives an answer that streams, from the end of its head on.
    fn take_own_answer(&mut self, bytes: &[u8]) {
        if self.answer.take(bytes) && self.answer.has(STREAMS) {
            self.is_streaming = true;
            self.shapes.count_streams(&self.host, &self.peer, |count| count + 1);
        }
    }

    fn end_stream(&mut self) {
        if std::mem::take(&mut self.is_streaming) {
            self.shapes.count_streams(&self.host, &self.peer, |count| count.saturating_sub(1));
        }
    }

    fn end(&mut self, op: &str) {
        if !self.ended {
            self.ended = true;
            self.log(op, &[]);
        }
    }

    fn poll_shaped(&mut self, shape: Shape, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.remaining().min(SCRATCH_BYTES);
        // A cut waits for a byte to arrive: it loses an answer, not a request that was never sent.
        let most = room.min(shape.piece.unwrap_or(room)).min(shape.cut_after.unwrap_or(room).max(1));
        let mut scratch = [0_u8; SCRATCH_BYTES];
        let mut piece = ReadBuf::new(&mut scratch[..most]);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        let bytes = piece.filled();
        if shape.cut_after == Some(0) && !bytes.is_empty() {
            // The reset is used up: the next connection of this link is whole again.
            self.shapes.change(&self.host, &self.peer, |shape| shape.cut_after = None);
            self.end("cut");
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        buf.put_slice(bytes);
        if shape.cut_after.is_some() {
            let arrived = bytes.len();
            self.shapes.change(&self.host, &self.peer, |shape| {
                shape.cut_after = shape.cut_after.map(|left| left.saturating_sub(arrived));
            });
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if self.is_silent() {
            return Poll::Pending;
        }
        let shape = self.shapes.get(&self.host, &self.peer);
        let before = buf.filled().len();
        let room = buf.remaining();
        let polled = if shape.piece.is_some() || shape.cut_after.is_some() {
            ready!(self.poll_shaped(shape, cx, buf))
        } else {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))
        };
        if self.is_dialled {
            let is_head_over = self.answer.take(&buf.filled()[before..]);
            if is_head_over && self.asked.has(ORIGIN) && !self.answer.has(ALLOWS) {
                // As a browser does: of an answer that does not allow the page's origin nobody learns anything (S-121).
                buf.set_filled(before);
                self.end("not allowed");
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
        } else {
            self.take_request(&buf.filled()[before..]);
        }
        let got = &buf.filled()[before..];
        match &polled {
            Ok(()) if got.is_empty() && room > 0 => self.log("end", &[]),
            Ok(()) => self.log("read", got),
            Err(_) if self.ended => {}
            Err(_) => self.log("end", &[]),
        }
        Poll::Ready(polled)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.is_silent() {
            // As a socket does that nobody acknowledges: it takes the bytes.
            self.log("lose", bytes);
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        match self.is_dialled {
            true => self.take_request(&bytes[..written]),
            false => self.take_own_answer(&bytes[..written]),
        }
        self.log("write", &bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
