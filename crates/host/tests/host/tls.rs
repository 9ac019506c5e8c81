//! `https://` bases: whom the client trusts, and what it says when it does not.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use turnkeep_host::http::{BaseUrl, Deadlines, HttpClient, serve};
use turnkeep_host::{Connection, Host, Listener, Task, Tls};

/// Greets every connection in TLS before it hands it out.
struct Secure {
    inner: Box<dyn Listener>,
    acceptor: TlsAcceptor,
}

impl Listener for Secure {
    fn accept(&mut self) -> BoxFuture<'_, std::io::Result<Connection>> {
        Box::pin(async move {
            let plain = self.inner.accept().await?;
            Ok(Box::new(self.acceptor.accept(plain).await?) as Connection)
        })
    }

    fn local_addr(&self) -> String {
        self.inner.local_addr()
    }
}

/// Serves the request's `host` header over TLS as `localhost`; gives its address and its certificate.
async fn start(host: &Host) -> (BaseUrl, Vec<u8>, Task) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = own.cert.der().to_vec();
    let key = own.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let inner = host.net().listen("127.0.0.1:0").await.unwrap();
    let port = inner.local_addr().rsplit_once(':').unwrap().1.to_owned();
    let listener = Box::new(Secure { inner, acceptor: TlsAcceptor::from(Arc::new(config)) });
    let service = tower::service_fn(|request: Request<Incoming>| async move {
        let named = request.headers()["host"].as_bytes().to_vec();
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(named))))
    });
    let server_host = host.clone();
    let task = host.spawn(async move {
        serve(&server_host, listener, service).await;
    });
    (format!("https://localhost:{port}").parse().unwrap(), certificate, task)
}

fn ask() -> Request<Bytes> {
    Request::get("/").body(Bytes::new()).unwrap()
}

#[tokio::test]
async fn a_secure_base_is_reached_when_its_certificate_is_trusted() {
    let host = Host::os();
    let (base, certificate, _server) = start(&host).await;
    let tls = Tls::with_roots(&host, [certificate.as_slice()]).unwrap();
    let client = HttpClient::new(host, base.clone(), Deadlines::default()).tls(tls);

    let response = client.fetch(ask()).await.unwrap();

    assert_eq!(response.body(), base.authority());
}

#[tokio::test]
async fn a_peer_whom_nobody_vouches_for_is_refused_for_good() {
    let host = Host::os();
    let (base, _, _server) = start(&host).await;
    let client = HttpClient::new(host, base, Deadlines::default());

    let refused = client.fetch(ask()).await.unwrap_err();

    assert!(refused.to_string().contains("UnknownIssuer"), "{refused}");
    assert!(!refused.is_retryable());
}

#[tokio::test]
async fn what_is_no_certificate_is_said_at_once() {
    let refused = Tls::with_roots(&Host::os(), [b"hello".as_slice()]).unwrap_err();

    assert_eq!(refused.kind(), std::io::ErrorKind::InvalidData);
}
