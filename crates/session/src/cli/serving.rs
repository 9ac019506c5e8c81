//! [`Serving`]: a server that has its address, from start to end.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use serde_json::json;
use turnkeep_host::Host;

use super::args::{Format, Keep};
use super::settings::Settings;
use crate::{
    BoundServer, Error, InMemoryObjects, MemoryStorage, ObjectStore, RedbStorage, Server, Storage, StorageError,
    objects_in_folder,
};

/// The folder of chat snapshots in the folder of sessions.
const SNAPSHOTS: &str = "snapshots";

/// Why a server did not start, or ended before it was told to. The text says what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Another program has the port.
    #[error(
        "port {0} is taken: end the program that has it, choose another with --port, or let --port 0 find a free one"
    )]
    PortTaken(u16),
    /// The system does not let this user have the address.
    #[error("{0} may not be used: ports below 1024 want more rights, and the address must be one of this machine")]
    AddressRefused(SocketAddr),
    /// Another server has the folder's store open.
    #[error("the sessions in {0} are in use: end the server that has them, or name another folder with --data")]
    DataInUse(String),
    /// The folder's store cannot be opened.
    #[error("the sessions in {folder} cannot be opened: {source}; name another folder with --data, or say --in-memory")]
    Data {
        /// The folder.
        folder: String,
        /// Why.
        source: StorageError,
    },
    /// The chat snapshots are not seen to be those of the sessions.
    #[error(
        "{snapshots}: {source}: put back what belongs to the sessions, or give them a folder of their own with --data; if what is \
         there is all that is left, start once with --adopt-snapshots, and chats whose snapshots are missing go on without them"
    )]
    Snapshots {
        /// Where they are looked for.
        snapshots: String,
        /// What is amiss.
        source: Error,
    },
    /// The server failed.
    #[error(transparent)]
    Server(#[from] Error),
    /// The system gives no signals.
    #[error("signals cannot be heard: {0}")]
    Signals(#[from] io::Error),
}

/// A server that has its address and waits to be run.
pub struct Serving {
    bound: BoundServer,
    address: SocketAddr,
}

impl Serving {
    /// Opens the store and takes the address.
    ///
    /// # Errors
    ///
    /// [`ServeError`], which says what to do.
    pub async fn start(host: Host, settings: &Settings) -> Result<Self, ServeError> {
        let asked = SocketAddr::new(settings.host, settings.port);
        let (storage, objects) = stores(&host, settings.keep.clone()).await?;
        let server = settings.apply(Server::new(host, storage, objects, settings.environment()));
        let bound = server.bind(&asked.to_string()).await.map_err(|error| refusal(asked, &settings.keep, error))?;
        let address = bound.local_addr().parse().unwrap_or(asked);
        Ok(Self { bound, address })
    }

    /// Gives the address by which programs on this machine reach the server.
    pub fn url(&self) -> String {
        let ip = match self.address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        format!("http://{}", SocketAddr::new(ip, self.address.port()))
    }

    /// Says that the server is ready, and which agents are beside it.
    pub fn ready_line(&self, format: Format, agents: &[&str]) -> String {
        match format {
            Format::Json => json!({ "event": "ready", "url": self.url(), "agents": agents }).to_string(),
            Format::Text if agents.is_empty() => format!("ready on {}", self.url()),
            Format::Text => format!("ready on {} with {}", self.url(), agents.join(", ")),
        }
    }

    /// Serves until `stop` comes, then ends in order ([`BoundServer::run_until`]).
    ///
    /// # Errors
    ///
    /// [`ServeError::Server`] when the store fails.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        self.bound.run_until(stop).await?;
        Ok(())
    }
}

/// Opens the store and the snapshots beside it: the one place where they are chosen.
async fn stores(host: &Host, keep: Keep) -> Result<(Arc<dyn Storage>, Arc<dyn ObjectStore>), ServeError> {
    let Keep::Folder(folder) = keep else {
        let storage = MemoryStorage::without_journal();
        return Ok((Arc::new(storage), Arc::new(InMemoryObjects::new())));
    };
    let opened = async {
        // The store first: whoever has it open has the snapshots, too.
        let storage = RedbStorage::in_folder(host, &folder).await?;
        let objects = objects_in_folder(host, folder.join(SNAPSHOTS)).await?;
        Ok((Arc::new(storage) as Arc<dyn Storage>, objects))
    };
    let name = folder.display().to_string();
    opened.await.map_err(|error| match error {
        StorageError::InUse => ServeError::DataInUse(name),
        source => ServeError::Data { folder: name, source },
    })
}

fn refusal(asked: SocketAddr, keep: &Keep, error: Error) -> ServeError {
    let source = match (&error, keep) {
        (Error::ForeignObjects | Error::MissingObjects { .. }, Keep::Folder(folder)) => {
            return ServeError::Snapshots { snapshots: folder.join(SNAPSHOTS).display().to_string(), source: error };
        }
        (Error::Listen { source, .. }, _) => source,
        _ => return error.into(),
    };
    match source.kind() {
        io::ErrorKind::AddrInUse => ServeError::PortTaken(asked.port()),
        io::ErrorKind::PermissionDenied | io::ErrorKind::AddrNotAvailable => ServeError::AddressRefused(asked),
        _ => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ServeArgs;

    fn settings(port: u16) -> Settings {
        let key = "tr_dev_4f1c0a".into();
        ServeArgs { port: Some(port), key, ..ServeArgs::default() }.settings(Keep::InMemory).unwrap()
    }

    #[tokio::test]
    async fn a_free_port_is_found_and_said_and_a_taken_one_refused_with_what_to_do() {
        let serving = Serving::start(Host::os(), &settings(0)).await.unwrap();
        let port = serving.address.port();

        let refused = Serving::start(Host::os(), &settings(port)).await.err().expect("the port is taken").to_string();

        assert_ne!(port, 0);
        assert!(refused.starts_with(&format!("port {port} is taken")) && refused.contains("--port 0"), "{refused}");
        assert_eq!(serving.ready_line(Format::Text, &[]), format!("ready on http://127.0.0.1:{port}"));
        let line: serde_json::Value = serde_json::from_str(&serving.ready_line(Format::Json, &["echo"])).unwrap();
        assert_eq!(line, json!({ "event": "ready", "url": format!("http://127.0.0.1:{port}"), "agents": ["echo"] }));
    }

    #[tokio::test]
    async fn a_folder_serves_one_server_at_a_time_d12_d26() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(0);
        settings.keep = Keep::Folder(folder.path().join("sessions"));
        let start = || Serving::start(Host::os(), &settings);
        let serving = start().await.unwrap();

        let refused = start().await.err().expect("the folder is in use").to_string();
        drop(serving);

        assert!(refused.contains("are in use: end the server that has them"), "{refused}");
        start().await.expect("it is free again");
    }

    #[tokio::test]
    async fn sessions_beside_another_stores_snapshots_are_served_when_they_are_adopted_d86() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = settings(0);
        settings.keep = Keep::Folder(folder.path().join("sessions"));
        let start = async |settings: &Settings| Serving::start(Host::os(), settings).await.map(drop);
        start(&settings).await.unwrap();
        std::fs::remove_file(folder.path().join("sessions/turnkeep.redb")).unwrap();

        let refused = start(&settings).await.unwrap_err().to_string();
        settings.adopts = true;
        let adopted = start(&settings).await;
        settings.adopts = false;

        let place = folder.path().join("sessions/snapshots");
        let said =
            format!("{}: the chat snapshots belong to another store of sessions than this one: ", place.display());
        assert!(refused.starts_with(&said) && refused.contains("--adopt-snapshots"), "{refused}");
        adopted.unwrap();
        start(&settings).await.unwrap();
    }

    #[tokio::test]
    async fn a_server_that_is_told_to_stop_ends_in_order() {
        let serving = Serving::start(Host::os(), &settings(0)).await.unwrap();

        serving.run_until(std::future::ready(())).await.unwrap();
    }
}
