//! The machine that keeps the objects of the session server: it outlives the server, and fails when the story says so (D-50).

use std::fmt;
use std::io;

use async_trait::async_trait;
use futures::stream::{self, BoxStream};
use futures::{FutureExt as _, StreamExt as _};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use turnkeep_session::InMemoryObjects;
use turnkeep_session::conformance::DiskLife;

/// Objects in memory, for as long as their machine's disk works. A full disk, or one that makes nothing durable, takes no objects and
/// lets none go; one that cannot be read gives none.
#[derive(Debug)]
pub(super) struct Shelf {
    objects: InMemoryObjects,
    disk: DiskLife,
}

impl Shelf {
    /// Makes an empty one.
    pub(super) fn new(disk: DiskLife) -> Self {
        Self { objects: InMemoryObjects::new(), disk }
    }

    /// Gives the objects as they lie there, whatever the disk does.
    pub(super) fn objects(&self) -> &InMemoryObjects {
        &self.objects
    }

    /// Takes all objects away.
    pub(super) fn wipe(&self) {
        let wiped = async {
            let places = self.objects.list(None).map(|meta| meta.map(|meta| meta.location)).boxed();
            self.objects.delete_stream(places).all(async |gone| gone.is_ok()).await
        };
        assert_eq!(wiped.now_or_never(), Some(true), "objects in memory are gone at once");
    }

    fn read(&self) -> Result<()> {
        self.disk.try_read().map_err(failed)
    }

    fn write(&self) -> Result<()> {
        self.disk.try_write().map_err(failed)
    }
}

fn failed(error: io::Error) -> Error {
    Error::Generic { store: "shelf", source: Box::new(error) }
}

impl fmt::Display for Shelf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("shelf")
    }
}

#[async_trait]
impl ObjectStore for Shelf {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.write()?;
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.write()?;
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.read()?;
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.write() {
            Ok(()) => self.objects.delete_stream(locations),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        match self.read() {
            Ok(()) => self.objects.list(prefix),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.read()?;
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.read().and(self.write())?;
        self.objects.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt as _;
    use turnkeep_session::conformance::{DiskFault, FaultyDisk};

    use super::*;

    #[tokio::test]
    async fn a_wipe_leaves_nothing() {
        let shelf = Shelf::new(FaultyDisk::new().life());
        for place in ["a/b", "c"] {
            shelf.put(&Path::from(place), "x".into()).await.unwrap();
        }

        shelf.wipe();

        assert_eq!(shelf.list(None).count().await, 0);
    }

    #[tokio::test]
    async fn each_fault_of_its_disk_refuses_what_it_is_about_until_it_is_mended_d50() {
        let disk = FaultyDisk::new();
        let shelf = Shelf::new(disk.life());
        let (there, gone) = (Path::from("there"), Path::from("gone"));
        shelf.put(&there, "x".into()).await.unwrap();
        let works = async || {
            let put = shelf.put(&gone, "x".into()).await.is_ok();
            let got = shelf.get(&there).await.is_ok();
            let listed = shelf.list(None).all(async |one| one.is_ok()).await;
            (put, shelf.delete(&gone).await.is_ok(), got, listed)
        };

        for (fault, want) in [
            (DiskFault::Full, (false, false, true, true)),
            (DiskFault::SyncFails, (false, false, true, true)),
            (DiskFault::ReadFails, (true, true, false, false)),
        ] {
            disk.fail(fault);
            assert_eq!(works().await, want, "{fault:?}");
            disk.mend();
            assert_eq!(works().await, (true, true, true, true), "mended of {fault:?}");
        }
        assert!(shelf.objects().get(&there).now_or_never().is_some(), "in memory they are there at once");
    }
}
