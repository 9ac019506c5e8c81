//! A program on a server that talks to an agent, through the real session server and worker.

use turnkeep_agent::{Agent, TurnInput};
use turnkeep_client::{AgentChat, AgentChatBuilder, Outcome};
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{MockChatAgent, offline_host};
use turnkeep_host::Host;
use turnkeep_protocol::TaskId;

fn chat(host: &Host) -> AgentChatBuilder {
    let base = "http://session:80".parse().unwrap();
    AgentChat::builder(host.clone(), base, "tr_dev_mockChat", TaskId::new("plain"), "program-1")
}

#[tokio::test(start_paused = true)]
async fn a_program_talks_to_an_agent_and_goes_on_after_a_restart_c155_c157_c159_ca92() {
    let host = offline_host(1);
    let model =
        MockLanguageModel::new().step([say("Hel"), say("lo.")]).step([say("Again.")]).step([say("After the restart.")]);
    let agent = Agent::new("plain", |turn: TurnInput| async move { Ok(turn.stream_text()) });
    let served = MockChatAgent::start_on(host.clone(), agent, &model).await;

    let first = chat(&host).build();
    assert_eq!(first.send_message("hi").await.unwrap().text().await.unwrap(), "Hello.");
    assert_eq!(first.send_message("hi again").await.unwrap().text().await.unwrap(), "Again.");
    let cursor = first.session().unwrap().last_event_id;
    drop(first);

    let restarted = chat(&host).session(cursor).build();
    let mut stream = restarted.send_message("still there?").await.unwrap();
    assert_eq!(stream.text().await.unwrap(), "After the restart.");
    assert_eq!(stream.outcome(), Some(Outcome::Completed));

    let mut view = restarted.reconnect().unwrap();
    assert_eq!(view.text().await.unwrap(), "");
    assert_eq!(view.outcome(), Some(Outcome::Settled), "the server says at once that nothing runs");
    assert!(restarted.close().await);
    served.finish().await;
}
