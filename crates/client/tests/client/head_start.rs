//! The first turn by way of the author's warm server (C §5.3).

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use turnkeep_client::{ChatEventKind, Error, Outcome, SendMessages, Source, TabChannel, TabMessage};
use turnkeep_host::{Host, Task, http::serve};
use turnkeep_protocol::{SeqNum, UiMessage};

use crate::fake::Body;
use crate::net::settle;
use crate::rig::{CHAT, Rig, drain, next_text, streaming, text_of};

/// How many pieces may wait for a reader.
const PIECES: usize = 100;

/// An author's server that answers as a test says, piece by piece.
#[derive(Default)]
struct Warm {
    seen: Mutex<Vec<Seen>>,
    refusals: Mutex<Vec<(u16, bool)>>,
    body: Mutex<Option<mpsc::Sender<io::Result<Frame<Bytes>>>>>,
}

struct Seen {
    path: String,
    headers: HeaderMap,
    body: Value,
}

impl Warm {
    async fn serve(self: &Arc<Self>, host: &Host) -> Task {
        let listener = host.net().listen("app:80").await.unwrap();
        let (warm, own) = (self.clone(), host.clone());
        host.spawn(async move {
            let service = tower::service_fn(move |request| {
                let warm = warm.clone();
                async move { Ok::<_, Infallible>(warm.answer(request).await) }
            });
            serve(&own, listener, service).await;
        })
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (head, body) = request.into_parts();
        assert_eq!(head.method, Method::POST);
        let body = serde_json::from_slice(&body.collect().await.unwrap().to_bytes()).unwrap();
        self.seen.lock().unwrap().push(Seen { path: head.uri.path().to_owned(), headers: head.headers, body });
        let refusal = self.refusals.lock().unwrap().pop();
        let (sender, mut pieces) = mpsc::channel(PIECES);
        let stream = futures::stream::poll_fn(move |context| pieces.poll_recv(context));
        let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(stream)));
        let (status, has_token) = refusal.unwrap_or((200, true));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if has_token {
            response.headers_mut().insert("x-trigger-chat-access-token", "warm-token".parse().unwrap());
        }
        if status == 200 {
            *self.body.lock().unwrap() = Some(sender);
        } else {
            sender.try_send(Ok(Frame::data("no budget left".into()))).unwrap();
        }
        response
    }

    fn body(&self) -> mpsc::Sender<io::Result<Frame<Bytes>>> {
        self.body.lock().unwrap().clone().expect("it was asked")
    }

    fn send(&self, chunk: &Value) {
        self.body().try_send(Ok(Frame::data(format!("data: {chunk}\n\n").into()))).unwrap();
    }

    fn say(&self, text: &str) {
        self.send(&delta(text));
    }

    fn complete(&self, cursor: u64) {
        self.send(&json!({ "type": "trigger:turn-complete" }));
        self.send(&json!({ "type": "trigger:session-state", "lastEventId": cursor.to_string() }));
    }

    fn end(&self) {
        self.body.lock().unwrap().take();
    }

    fn cut(&self) {
        self.body().try_send(Err(io::ErrorKind::ConnectionReset.into())).unwrap();
        self.end();
    }

    fn n_asked(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

/// A channel to other tabs that keeps what was told to them.
#[derive(Default)]
struct Tabs(Mutex<Vec<String>>);

impl TabChannel for Tabs {
    fn send(&self, message: &TabMessage) {
        let told = serde_json::to_value(message).unwrap();
        self.0.lock().unwrap().push(told["type"].as_str().unwrap().to_owned());
    }

    fn receive(&self) -> BoxFuture<'_, Option<TabMessage>> {
        Box::pin(std::future::pending())
    }
}

fn delta(text: &str) -> Value {
    json!({ "type": "text-delta", "id": "1", "delta": text })
}

async fn scene() -> (Rig, Arc<Warm>, Task) {
    let rig = Rig::with(|builder| builder.head_start("http://app/api/chat".parse().unwrap())).await;
    let warm = Arc::new(Warm::default());
    let serving = warm.serve(&rig.host).await;
    (rig, warm, serving)
}

#[tokio::test(start_paused = true)]
async fn the_first_turn_is_one_post_and_the_second_goes_the_usual_way_c61_c184_c203_c206_c209_ca86_cr29() {
    let (rig, warm, _serving) = scene().await;

    let history = [UiMessage::user("u0", "Hello"), UiMessage::user("u1", "How is it?")];
    let stream = rig.transport.send_messages(CHAT, SendMessages::submit(history.clone())).await.unwrap();
    assert_eq!((rig.state().public_access_token.as_str(), rig.state().is_streaming), ("warm-token", Some(true)));
    warm.say("Fine");
    rig.fake.say("Fine");
    warm.complete(0);
    warm.end();
    assert_eq!(text_of(stream).await, "Fine");

    let (asked, seen) = (warm.n_asked(), warm.seen.lock().unwrap().pop().unwrap());
    assert_eq!((asked, seen.path.as_str()), (1, "/api/chat"));
    let want = json!({ "chatId": CHAT, "trigger": "submit-message", "headStartMessages": history });
    assert_eq!(seen.body, want, "the whole history, and nothing of a record");
    assert!(!seen.headers.contains_key("authorization"), "a warm server has no use for a session's token");
    assert_eq!((rig.heard.n_starts(), rig.heard.n_renewals(), rig.fake.reads().len()), (0, 0, 0));
    let saved = rig.heard.last_change();
    assert_eq!((saved.is_streaming, saved.last_event_id), (Some(false), Some(SeqNum::new(0))));

    let second = rig.send("again").await.unwrap();
    rig.fake.say("Sure");
    rig.fake.boundary(0);
    assert_eq!(text_of(second).await, "Sure");
    assert_eq!(warm.n_asked(), 0);
    assert_eq!(rig.fake.appends()[0].token, "warm-token");
    assert_eq!(rig.fake.reads()[0].cursor.as_deref(), Some("0"), "nothing of the first turn again");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_is_known_or_preloaded_and_an_action_bypass_it_c184_c203_ca86() {
    let (rig, warm, _serving) = scene().await;
    rig.transport.set_session(CHAT, streaming(None, None));
    drop(rig.send("hi").await.unwrap());
    rig.transport.preload("chat-2").await.unwrap();
    drop(rig.transport.send_messages("chat-2", SendMessages::submit([UiMessage::user("u", "hi")])).await.unwrap());
    let action = json!({ "action": { "type": "undo" } }).as_object().unwrap().clone().into_iter().collect();
    drop(rig.transport.send_messages("chat-3", SendMessages::regenerate().body(action)).await.unwrap());

    assert_eq!((warm.n_asked(), rig.fake.appends().len()), (0, 3));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_fails_the_send_and_the_next_try_is_a_head_start_again_c204_ca86() {
    let (rig, warm, _serving) = scene().await;
    warm.refusals.lock().unwrap().push((500, true));

    let error = rig.send("hi").await.unwrap_err();

    assert_eq!((error.status(), error.to_string().as_str()), (Some(500), "status 500: no budget left"));
    assert!(rig.transport.session(CHAT).is_none());
    {
        let events = rig.heard.events.lock().unwrap();
        let [event] = &events[..] else { panic!("{events:?}") };
        let ChatEventKind::MessageSendFailed { sent, status: Some(500), .. } = &event.kind else { panic!("{event:?}") };
        assert_eq!((sent.source, sent.message_id.as_deref()), (Source::HeadStart, Some("id-hi")));
    }
    let stream = rig.send("hi").await.unwrap();
    warm.complete(0);
    warm.end();
    text_of(stream).await;
    assert_eq!((warm.n_asked(), rig.fake.appends().len()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_success_without_a_token_is_an_error_c205_cf11() {
    let (rig, warm, _serving) = scene().await;
    warm.refusals.lock().unwrap().push((200, false));

    let error = rig.send("hi").await.unwrap_err();

    assert!(matches!(error, Error::BadResponse { what: "head-start response", .. }), "{error}");
    assert!(rig.transport.session(CHAT).is_none());
    assert_eq!(rig.heard.event_names(), ["message-send-failed"]);
}

#[tokio::test(start_paused = true)]
async fn its_reader_is_registered_so_a_reload_effect_opens_no_second_one_c131_cr33() {
    let (rig, warm, _serving) = scene().await;

    let mut stream = rig.send("hi").await.unwrap();
    warm.say("Fine");
    assert_eq!(next_text(&mut stream).await, "Fine");

    assert!(rig.transport.reconnect_to_stream(CHAT).is_none(), "the flag says streaming, and somebody reads");
    warm.complete(0);
    warm.end();
    text_of(stream).await;
    assert_eq!(rig.fake.reads().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn its_claim_is_let_go_of_with_the_response_and_with_a_refusal_c131_c130() {
    let tabs = Arc::new(Tabs::default());
    let channel = tabs.clone();
    let rig = Rig::with(|builder| builder.head_start("http://app/api/chat".parse().unwrap()).multi_tab(channel)).await;
    let warm = Arc::new(Warm::default());
    let _serving = warm.serve(&rig.host).await;
    warm.refusals.lock().unwrap().push((500, true));

    rig.send("hi").await.unwrap_err();
    assert_eq!(*tabs.0.lock().unwrap(), ["claim", "release"], "nothing came of it");
    let stream = rig.send("hi").await.unwrap();
    assert_eq!(tabs.0.lock().unwrap().len(), 3, "the turn runs");
    warm.complete(7);
    warm.end();
    text_of(stream).await;

    assert_eq!(tabs.0.lock().unwrap()[2..], ["claim", "release", "session"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_finds_it_and_the_handler_sees_the_browser_go_c131_c105() {
    let (rig, warm, _serving) = scene().await;
    let mut stream = rig.send("hi").await.unwrap();
    warm.say("Fine");
    next_text(&mut stream).await;

    assert!(rig.transport.stop_generation(CHAT).await);

    assert_eq!(drain(&mut stream).await.2, Outcome::Aborted);
    tokio::time::timeout(Duration::from_secs(1), warm.body().closed()).await.expect("the connection is closed");
    assert_eq!(rig.fake.appends()[0].body, json!({ "kind": "stop" }));
    assert_eq!(rig.state().is_streaming, Some(false));
}

#[tokio::test(start_paused = true)]
async fn an_abort_closes_it_normally_and_stops_the_turn_it_owns_c208_c81() {
    let (rig, warm, _serving) = scene().await;
    let mut stream = rig.send("hi").await.unwrap();
    warm.say("Fine");
    next_text(&mut stream).await;

    stream.abort();

    let (_, failure, outcome) = drain(&mut stream).await;
    assert!(failure.is_none());
    assert_eq!(outcome, Outcome::Aborted);
    rig.fake.wait_for_appends(1).await;
    assert!(!rig.heard.event_names().contains(&"stream-error"));
}

#[tokio::test(start_paused = true)]
async fn its_events_are_a_sends_with_their_own_source_ca87_c145() {
    let (rig, warm, _serving) = scene().await;
    let stream = rig.send("hi").await.unwrap();
    warm.say("Fine");
    warm.complete(7);
    warm.end();
    text_of(stream).await;

    assert_eq!(rig.heard.event_names(), ["message-sent", "stream-connected", "first-chunk", "turn-completed"]);
    let events = rig.heard.events.lock().unwrap();
    let ChatEventKind::MessageSent(sent) = &events[0].kind else { panic!("{events:?}") };
    let body_bytes = warm.seen.lock().unwrap()[0].body.to_string().len();
    assert_eq!((sent.source.as_str(), &sent.part_id, sent.body_bytes), ("head-start", &None, body_bytes));
    for event in &events[1..] {
        let (ChatEventKind::StreamConnected { message_id, .. }
        | ChatEventKind::FirstChunk { message_id, .. }
        | ChatEventKind::TurnCompleted { message_id, .. }) = &event.kind
        else {
            panic!("{event:?}")
        };
        assert_eq!(message_id.as_deref(), Some("id-hi"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_breaks_off_is_read_on_from_out_without_what_was_shown_d24_c208() {
    let (rig, warm, _serving) = scene().await;
    let mut stream = rig.send("hi").await.unwrap();
    for text in ["Let ", "me "] {
        warm.say(text);
        assert_eq!(next_text(&mut stream).await, text);
    }
    for text in ["Let ", "me ", "look", "me "] {
        rig.fake.data(&delta(text));
    }
    rig.fake.boundary(0);

    warm.cut();

    assert_eq!(text_of(stream).await, "lookme ", "each chunk once, also one that says the same");
    let reads = rig.fake.reads();
    assert_eq!(
        (reads.len(), &reads[0].cursor, reads[0].peek, reads[0].token.as_str()),
        (1, &None, false, "warm-token")
    );
    assert_eq!(rig.state().is_streaming, Some(false));
    let names = rig.heard.event_names();
    assert_eq!(names.iter().filter(|name| **name == "first-chunk").count(), 1);
    assert!(!names.contains(&"stream-error") && names.last() == Some(&"turn-completed"), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn a_step_that_never_reached_out_hides_nothing_of_what_follows_it_d24_c191() {
    let (rig, warm, _serving) = scene().await;
    let mut stream = rig.send("hi").await.unwrap();
    warm.say("Let ");
    next_text(&mut stream).await;
    rig.fake.data(&delta("look"));
    rig.fake.boundary(0);

    warm.cut();

    assert_eq!(text_of(stream).await, "look");
    let names = rig.heard.event_names();
    assert_eq!(names.iter().filter(|name| **name == "first-chunk").count(), 1, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn a_chat_that_was_there_is_read_on_behind_its_old_turns_d24_c198_d87() {
    let (rig, warm, _serving) = scene().await;
    rig.fake.say("old");
    rig.fake.boundary(0);
    let mut stream = rig.send("hi").await.unwrap();
    warm.send(&json!({ "type": "trigger:session-state", "lastEventId": "1" }));
    warm.say("new");
    assert_eq!(next_text(&mut stream).await, "new");
    rig.fake.data(&delta("new"));
    rig.fake.data(&delta("er"));
    rig.fake.boundary(1);

    warm.cut();

    assert_eq!(text_of(stream).await, "er");
    assert_eq!(rig.fake.reads()[0].cursor.as_deref(), Some("1"));
}

#[tokio::test(start_paused = true)]
async fn a_silent_response_is_given_up_for_out_and_a_turn_that_nobody_makes_ends_with_an_error_d24_c95() {
    let (rig, warm, _serving) = scene().await;
    let mut stream = rig.send("hi").await.unwrap();
    warm.say("Fine");
    next_text(&mut stream).await;
    let silent = tokio::time::Instant::now();

    let (text, failure, _) = drain(&mut stream).await;

    assert_eq!(text, "");
    assert!(matches!(failure, Some(Error::ReconnectBudget { .. } | Error::RetriesExhausted { .. })), "{failure:?}");
    assert!(silent.elapsed() >= Duration::from_secs(60));
    // Short windows, so that their budget ends even while a server is there and quiet.
    assert_eq!(rig.fake.reads()[0].window.as_deref(), Some("30"));
    assert_eq!(rig.heard.last_change().is_streaming, Some(false));
    assert_eq!(rig.heard.event_names().last(), Some(&"stream-error"));
}

#[tokio::test(start_paused = true)]
async fn the_end_of_the_response_clears_the_flag_also_without_a_turns_end_c206() {
    let (rig, warm, _serving) = scene().await;
    let mut stream = rig.send("hi").await.unwrap();
    warm.send(&json!({ "type": "error", "errorText": "out of order" }));
    warm.send(&json!({ "type": "trigger:session-state", "lastEventId": "3" }));
    warm.end();

    let (text, failure, outcome) = drain(&mut stream).await;

    assert_eq!((text.as_str(), failure.is_none(), outcome), ("<error>", true, Outcome::Settled));
    let saved = rig.heard.last_change();
    assert_eq!((saved.is_streaming, saved.last_event_id), (Some(false), Some(SeqNum::new(3))));
    assert!(!rig.heard.event_names().contains(&"turn-completed"));
    assert!(rig.transport.reconnect_to_stream(CHAT).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_post_goes_through_the_same_hook_as_everything_else_d23() {
    let (rig, warm, _serving) = scene().await;
    let endpoints: Arc<Mutex<Vec<&'static str>>> = Arc::default();
    let told = endpoints.clone();
    rig.transport.set_fetch(Some(Arc::new(move |mut request, context| {
        told.lock().unwrap().push(context.endpoint.as_str());
        request.headers_mut().insert("x-traced", "yes".parse().unwrap());
        request
    })));

    let stream = rig.send("hi").await.unwrap();
    warm.complete(0);
    warm.end();
    text_of(stream).await;

    assert_eq!(*endpoints.lock().unwrap(), ["head-start"]);
    assert_eq!(warm.seen.lock().unwrap()[0].headers["x-traced"], "yes");
}

#[tokio::test(start_paused = true)]
async fn a_send_that_is_dropped_while_it_is_posted_leaves_nothing_behind_c130() {
    let (rig, _warm, serving) = scene().await;
    drop(serving);
    let sending = tokio::time::timeout(Duration::from_millis(1), rig.send("hi")).await;

    assert!(sending.is_err() || sending.unwrap().is_err());
    settle().await;
    assert!(rig.transport.session(CHAT).is_none());
}
