//! A network in memory with one server on it, which answers as the test says.

use std::io;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use turnkeep_host::{Connection, Host, Listener, Net, Tasks};

/// What a request was: its first line, its head and its body.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) line: String,
    pub(super) head: String,
    pub(super) body: String,
}

/// Gives status and body; none breaks the connection.
type Answers = Arc<dyn Fn(&Asked) -> Option<(u16, String)> + Send + Sync>;

/// The server.
#[derive(Clone)]
pub(super) struct Canned {
    answers: Answers,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<Tasks>,
}

impl Canned {
    pub(super) fn new(answers: impl Fn(&Asked) -> Option<(u16, String)> + Send + Sync + 'static) -> Self {
        Self { answers: Arc::new(answers), asked: Arc::default(), connections: Arc::new(Tasks::new()) }
    }

    /// Lists the first lines of the requests so far.
    pub(super) fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Makes a host from which every address leads to this server.
    pub(super) fn host(&self) -> Host {
        Host::os().with_net(self.clone())
    }

    async fn serve(self, mut stream: DuplexStream) -> io::Result<()> {
        loop {
            let asked = read(&mut stream).await?;
            self.asked.lock().unwrap().push(asked.clone());
            let Some((status, body)) = (self.answers)(&asked) else {
                return Ok(());
            };
            let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await?;
        }
    }
}

async fn read(stream: &mut DuplexStream) -> io::Result<Asked> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    let head = String::from_utf8(head).expect("heads are text").to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().expect("a length is a number"))];
    stream.read_exact(&mut body).await?;
    let line = head.lines().next().unwrap_or_default().trim_end_matches(" http/1.1").to_owned();
    Ok(Asked { line, head, body: String::from_utf8(body).expect("bodies are text") })
}

impl Net for Canned {
    fn dial<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Connection>> {
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(64 * 1024);
            let server = self.clone();
            self.connections.add(Host::os().spawn(async move {
                // A client that is gone has what it wanted.
                let _ = server.serve(far).await;
            }));
            Ok(Box::new(near) as Connection)
        })
    }

    fn listen<'a>(&'a self, _: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        unreachable!("a link only dials")
    }
}
