//! The same code over real TCP on loopback.

use std::sync::Arc;

use turnkeep_client::{SendMessages, Transport};
use turnkeep_host::Host;
use turnkeep_protocol::{TaskId, UiMessage};

use crate::fake::{After, Fake, ReadPlan};
use crate::rig::text_of;

#[tokio::test]
async fn a_turn_runs_over_real_tcp() {
    let host = Host::os();
    let fake = Arc::new(Fake::default());
    let (addr, _server) = fake.serve(&host, "127.0.0.1:0").await;
    fake.on_read(ReadPlan::serve(1, After::Break));
    fake.say("over ");
    fake.say("TCP");
    fake.boundary(0);
    let token = Arc::new(|_| Box::pin(async { Ok("token".to_owned()) }) as _);
    let base = format!("http://{addr}").parse().unwrap();
    let transport = Transport::builder(host, base, TaskId::new("agent"), token).build();

    let send = SendMessages::submit([UiMessage::user("u1", "hi")]);
    let stream = transport.send_messages("chat", send).await.unwrap();

    assert_eq!(text_of(stream).await, "over TCP");
}
