//! A way between an MCP server and its session server that remembers what was asked, may answer by itself, and may lead elsewhere.

use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use turnkeep_host::{Connection, Host, Task};

/// Bytes of one read; a request's head fits in.
const PIECE: usize = 64 * 1024;

#[derive(Default)]
struct State {
    target: String,
    /// What came from the client, piece by piece: each request begins one, since nobody asks before the answer before is there.
    asked: Vec<String>,
    /// The status that the next append gets from here.
    refusal: Option<u16>,
}

/// The relay; it ends with the value.
pub struct Relay {
    pub base_url: String,
    state: Arc<Mutex<State>>,
    _serving: Task,
}

impl Relay {
    /// Leads to the server at `base_url`.
    pub async fn to(host: &Host, base_url: &str) -> Self {
        let mut listener = host.net().listen("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr());
        let state: Arc<Mutex<State>> = Arc::default();
        let (shared, on) = (state.clone(), host.clone());
        let serving = host.spawn(async move {
            let mut open = Vec::new();
            while let Ok(client) = listener.accept().await {
                let (shared, host) = (shared.clone(), on.clone());
                open.push(on.spawn(async move { carry(&host, client, &shared).await }));
            }
        });
        let relay = Self { base_url: own, state, _serving: serving };
        relay.lead_to(base_url);
        relay
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Leads to another server from now on; connections to the one before close when they are next used.
    pub fn lead_to(&self, base_url: &str) {
        self.state().target = base_url.trim_start_matches("http://").to_owned();
    }

    /// Answers the next append with a status.
    pub fn refuse_append(&self, status: u16) {
        self.state().refusal = Some(status);
    }

    /// Gives the lines of every request whose head has `text`.
    pub fn asked(&self, text: &str) -> Vec<Vec<String>> {
        let state = self.state();
        let asked = state.asked.iter().filter(|asked| asked.contains(text));
        asked.map(|asked| asked.lines().map(str::to_lowercase).collect()).collect()
    }
}

/// Carries one connection, until either side closes it or an append is refused.
async fn carry(host: &Host, mut client: Connection, state: &Mutex<State>) {
    let target = state.lock().unwrap().target.clone();
    let Ok(mut server) = host.net().dial(&target).await else { return };
    let (mut up, mut down) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        tokio::select! {
            biased;
            read = client.read(&mut up) => {
                let Ok(n_bytes @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&up[..n_bytes]).into_owned();
                let is_append = text.starts_with("POST") && text.contains("/in/append");
                let refusal = {
                    let mut state = state.lock().unwrap();
                    if state.target != target {
                        return;
                    }
                    state.asked.push(text);
                    if is_append { state.refusal.take() } else { None }
                };
                if let Some(status) = refusal {
                    let answer = format!("HTTP/1.1 {status} No\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}");
                    let _ = client.write_all(answer.as_bytes()).await;
                    return;
                }
                if server.write_all(&up[..n_bytes]).await.is_err() {
                    return;
                }
            }
            read = server.read(&mut down) => {
                let Ok(n_bytes @ 1..) = read else { return };
                if client.write_all(&down[..n_bytes]).await.is_err() {
                    return;
                }
            }
        }
    }
}
