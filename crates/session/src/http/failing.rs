//! A disk that fails under a server: nothing is acknowledged that is not durable, and the server says that it is not ready (D-12).

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use turnkeep_host::{Entropy, Host};

use super::{App, router};
use crate::actor::Driver;
use crate::core::Core;
use crate::objects::Objects;
use crate::storage::WINDOWS;
use crate::storage::conformance::{DiskFault, FaultyDisk};
use crate::{Environment, Error, InMemoryObjects, RedbStorage, Storage, StorageError, StoreId};

const APPEND: &str = "/realtime/v1/sessions/chat/in/append";

/// Loads the store on `disk` as a server does that starts.
async fn start(disk: &FaultyDisk) -> Result<(Arc<App>, Driver), StorageError> {
    let host = Host::os();
    let storage = Arc::new(RedbStorage::open(&host, "the store", disk.life()).await?);
    let core = Core::load(storage.load(WINDOWS).await?, host.entropy().draws(), Duration::from_secs(10));
    let (driver, actor) = Driver::new(core, storage.clone(), host.clone());
    let environment = Environment::new("env_1", "secret");
    let objects = Objects::new(Arc::new(InMemoryObjects::new()), &environment, host.entropy().draws(), StoreId(1));
    Ok((App::new(host, actor, storage, objects, environment, CancellationToken::new()), driver))
}

async fn ask(app: &Arc<App>, method: &str, path: &str, body: &'static str) -> (StatusCode, String) {
    let request = Request::builder().method(method).uri(path).header("authorization", "Bearer secret");
    let request = request.header("content-length", body.len()).body(Body::from(body)).unwrap();
    let response = router(app.clone()).oneshot(request).await.unwrap();
    let status = response.status();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap())
}

#[tokio::test]
async fn what_a_failing_disk_cannot_keep_is_not_acknowledged_and_the_server_is_not_ready_d12() {
    for fault in [DiskFault::Full, DiskFault::SyncFails] {
        let disk = FaultyDisk::new();
        let (app, driver) = start(&disk).await.unwrap();
        let serving = driver.run();
        let story = async {
            let create = r#"{"type":"t","taskIdentifier":"t","externalId":"chat","triggerConfig":{"basePayload":{}}}"#;
            assert!(ask(&app, "POST", "/api/v1/sessions", create).await.0.is_success());
            assert_eq!(ask(&app, "POST", APPEND, r#"{"kind":"stop"}"#).await.0, StatusCode::OK);
            assert_eq!(ask(&app, "GET", "/readyz", "").await.0, StatusCode::OK);
            disk.fail(fault);
            ask(&app, "POST", APPEND, r#"{"kind":"stop"}"#).await
        };

        let (ended, (status, _)) = tokio::join!(serving, story);

        let error = ended.expect_err("the first failed commit ends the server");
        assert!(matches!(error, Error::Storage(_)) && error.is_retryable(), "{fault:?}: {error}");
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR, "{fault:?}");
        let (status, text) = ask(&app, "GET", "/readyz", "").await;
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "the store has failed\n"), "{fault:?}");

        drop(app);
        disk.lose_power(&Entropy::from_seed(1).draws());
        disk.mend();
        let (app, driver) = start(&disk).await.unwrap();
        let _running = app.host.spawn(async move { driver.run().await.unwrap() });
        let (_, text) = ask(&app, "GET", "/realtime/v1/sessions/chat/in/records", "").await;
        assert!(text.contains(r#""seqNum":0"#), "{fault:?}: what was acknowledged is there: {text}");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_is_not_served_d12() {
    let disk = FaultyDisk::new();
    drop(start(&disk).await.unwrap());
    for n_reads in 0..3 {
        disk.fail_after(n_reads, DiskFault::ReadFails);
        let refused = start(&disk).await.err().expect("the store is not opened");
        assert!(matches!(refused, StorageError::Disk(_)) && refused.is_retryable(), "{refused}");
        disk.mend();
    }
    start(&disk).await.expect("a disk that works again is served");
}
