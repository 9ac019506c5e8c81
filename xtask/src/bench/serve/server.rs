//! The measured process.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tempfile::TempDir;
use turnkeep_host::Host;
use turnkeep_session::{
    Environment, InMemoryObjects, MemoryStorage, ObjectStore, RedbStorage, Server, Storage, objects_in_folder,
};

use crate::cli::BenchStore;

/// The key that the clients present.
pub(super) const SECRET: &str = "tr_dev_bench";

/// How long a run is held without a sign of life: longer than any measurement, for nobody beats for thousands of them.
const LEASE: Duration = Duration::from_secs(24 * 60 * 60);

/// A server in a process of its own; dropping it ends the process.
pub(super) struct ServerProcess {
    child: Child,
    addr: String,
    /// What it keeps; gone after it.
    _folder: TempDir,
}

impl ServerProcess {
    /// Starts the process and waits until it says where it listens.
    pub(super) fn start(store: BenchStore, smoke: bool) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = super::super::command(smoke)?;
        command.args(["bench", "serve", "--store", store.name(), "--here"]).arg(folder.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its stdout is piped")?).read_line(&mut line)?;
        Ok(Self { child, addr: line.trim_end().to_owned(), _folder: folder })
    }

    /// Gives the server's base URL.
    pub(super) fn base(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Gives how much memory the process has now, in MB.
    pub(super) fn rss_mb(&self) -> Result<f64> {
        let path = format!("/proc/{}/status", self.child.id());
        let status =
            fs::read_to_string(&path).with_context(|| format!("{path}: only Linux tells a process's memory"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        let kib: f64 = line.trim().strip_suffix(" kB").context("VmRSS is not in kB")?.trim().parse()?;
        Ok(super::rounded(kib * 1024.0 / 1e6))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // It may have ended by itself, with a message of its own.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Serves until the process is killed, keeping everything in `folder` if the store is one that does; prints the address first.
pub(super) fn serve(store: BenchStore, folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let host = Host::os();
        let (storage, objects): (Arc<dyn Storage>, Arc<dyn ObjectStore>) = match store {
            BenchStore::Memory => (Arc::new(MemoryStorage::without_journal()), Arc::new(InMemoryObjects::new())),
            BenchStore::Redb => {
                let storage = RedbStorage::in_folder(&host, folder).await?;
                (Arc::new(storage), objects_in_folder(&host, folder.join("snapshots")).await?)
            }
        };
        let server = Server::new(host, storage, objects, Environment::new("env_bench", SECRET)).lease(LEASE);
        let server = server.bind("127.0.0.1:0").await?;
        println!("{}", server.local_addr());
        std::io::stdout().flush()?;
        match server.run().await? {}
    })
}
