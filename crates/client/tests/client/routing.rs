//! Where requests go and who may change them: `baseURL`, `streamBaseURL`, `headers`, `fetch` (C §3.1).

use std::sync::{Arc, Mutex};

use http::HeaderMap;
use turnkeep_client::{Endpoint, Fetch, FetchContext, SessionsApi};
use turnkeep_host::http::BaseUrl;
use turnkeep_protocol::{ChatInputChunk, PartId};

use crate::fake::{After, Fake, ReadPlan};
use crate::rig::{CHAT, Rig, next_text, text_of};

/// What a function of the request's context was asked.
type Asked = Arc<Mutex<Vec<FetchContext>>>;

fn about(endpoint: Endpoint) -> FetchContext {
    FetchContext { endpoint, chat_id: CHAT.to_owned() }
}

fn base(text: &str) -> BaseUrl {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_base_function_is_asked_per_request_and_the_hook_sees_all_of_them_c2_ca30() {
    let (asked, seen): (Asked, Asked) = Default::default();
    let (bases, hooked) = (asked.clone(), seen.clone());
    let rig = Rig::with(|builder| {
        builder
            .base_url_for(Arc::new(move |context| {
                bases.lock().unwrap().push(context.clone());
                base(&format!("http://session/{}/", context.endpoint.as_str()))
            }))
            .fetch(Arc::new(move |request, context| {
                hooked.lock().unwrap().push(context.clone());
                request
            }))
    })
    .await;
    rig.fake.on_read(ReadPlan::serve(0, After::Break));
    rig.fake.say("a");
    rig.fake.boundary(0);

    assert_eq!(text_of(rig.send("hi").await.unwrap()).await, "a");

    let want = [about(Endpoint::In), about(Endpoint::Out), about(Endpoint::Out)];
    assert_eq!(*asked.lock().unwrap(), want, "the second read asks anew");
    assert_eq!(*seen.lock().unwrap(), want);
    assert_eq!(rig.fake.reads()[0].path, "/out/realtime/v1/sessions/chat-1/out");
    assert_eq!(rig.fake.appends()[0].path, "/in/realtime/v1/sessions/chat-1/in/append");
}

#[tokio::test(start_paused = true)]
async fn a_stream_base_wins_for_reading_only_ca30() {
    let rig = Rig::with(|builder| builder.stream_base_url(base("http://streams"))).await;
    let streams = Arc::new(Fake::default());
    let _server = streams.serve(&rig.host, "streams:80").await;
    streams.say("from there");
    streams.boundary(0);

    assert_eq!(text_of(rig.send("hi").await.unwrap()).await, "from there");

    assert_eq!((rig.fake.appends().len(), rig.fake.reads().len()), (1, 0));
    assert_eq!((streams.appends().len(), streams.reads().len()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn the_hook_may_change_headers_and_address_and_be_replaced_under_an_open_stream_c60() {
    let rig = Rig::start().await;
    let other = Arc::new(Fake::default());
    let _server = other.serve(&rig.host, "other:80").await;
    other.say("a");
    other.say("b");
    other.boundary(0);
    rig.fake.say("a");
    rig.fake.on_read(ReadPlan::serve(1, After::Break));
    let mut stream = rig.send("hi").await.unwrap();
    assert_eq!(next_text(&mut stream).await, "a");

    let reroute: Fetch = Arc::new(|mut request, _| {
        let path = request.uri().path().to_owned();
        *request.uri_mut() = format!("http://other/proxied{path}").parse().unwrap();
        request.headers_mut().insert("authorization", "Bearer proxy".parse().unwrap());
        request
    });
    rig.transport.set_fetch(Some(reroute));

    assert_eq!(text_of(stream).await, "b");
    let read = &other.reads()[0];
    assert_eq!((read.path.as_str(), read.token.as_str()), ("/proxied/realtime/v1/sessions/chat-1/out", "proxy"));
    assert_eq!(read.cursor.as_deref(), Some("0"));
}

#[tokio::test(start_paused = true)]
async fn extra_headers_are_asked_per_request_and_never_win_over_the_fixed_ones_c25_c59_ca37() {
    let count = Arc::new(Mutex::new(0));
    let asked = count.clone();
    let rig = Rig::with(|builder| {
        builder.headers_for(Arc::new(move |_| {
            let mut asked = asked.lock().unwrap();
            *asked += 1;
            let mut headers = HeaderMap::new();
            for name in ["x-part-id", "authorization", "x-peek-settled", "last-event-id"] {
                headers.insert(name, "theirs".parse().unwrap());
            }
            headers.insert("x-tenant", format!("t{asked}").parse().unwrap());
            headers
        }))
    })
    .await;
    rig.fake.on_read(ReadPlan::serve(0, After::Break));
    rig.fake.boundary(0);

    text_of(rig.send("hi").await.unwrap()).await;

    let append = &rig.fake.appends()[0];
    assert_eq!((append.token.as_str(), append.tenant.as_deref()), ("started-1", Some("t1")));
    assert_ne!(append.part_id, "theirs");
    let reads = rig.fake.reads();
    let seen: Vec<_> = reads.iter().map(|read| (read.tenant.as_deref(), read.token.as_str(), read.peek)).collect();
    assert_eq!(seen, [(Some("t2"), "started-1", false), (Some("t3"), "started-1", false)]);
    assert_eq!(reads[0].cursor, None);
}

#[tokio::test(start_paused = true)]
async fn a_secret_key_client_can_be_scoped_to_another_environment_c221() {
    let rig = Rig::start().await;
    let seen: Asked = Asked::default();
    let hooked = seen.clone();
    let api = SessionsApi::new(rig.host.clone(), base("http://nowhere"), "sk_test")
        .base_url_for(Arc::new(|_| base("http://session")))
        .fetch(Arc::new(move |request, context| {
            hooked.lock().unwrap().push(context.clone());
            request
        }));

    api.append(CHAT, &ChatInputChunk::HandoverSkip, &PartId::new("p")).await.unwrap();
    let _ = api.public_token(CHAT).await;
    let _ = api.retrieve(CHAT).await;

    assert_eq!(rig.fake.appends()[0].token, "sk_test");
    assert_eq!(*seen.lock().unwrap(), [about(Endpoint::In), about(Endpoint::Auth), about(Endpoint::Sessions)]);
}
