//! Tool errors: what, where, and what to do now.

use serde_json::json;
use turnkeep_mcp::Settings;

use crate::relay::Relay;
use crate::rig::{KEY, Served};

fn part_id(request: &[String]) -> Option<String> {
    request.iter().find(|line| line.starts_with("x-part-id: ")).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_chat_and_another_agent_are_tool_errors_c225_c226_c231_ca93() {
    let served = Served::start().await;
    let client = served.client().await;
    client.start("echo", "chat-1").await.ok();

    let unknown = "chat nobody is not open here: open it with start_agent_chat and this chat id";
    assert_eq!(client.send("nobody", "hi").await.error(), unknown);
    assert_eq!(client.close("nobody").await.error(), unknown);
    let other =
        "chat chat-1 is open with agent echo, not tool: go on with send_agent_message, or start another chat with tool";
    assert_eq!(client.start("tool", "chat-1").await.error(), other);
    let wrong = client.call("send_agent_message", json!({ "chatId": "chat-1" })).await.error();
    assert_eq!(wrong, "the input of send_agent_message is wrong: missing field `message`");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_says_which_server_refused_it_c230() {
    let served = Served::start().await;
    let client = served.client_with(Settings::new(served.base_url.parse().unwrap(), "tr_dev_wrong")).await;

    let error = client.start("echo", "c").await.error();

    let server = served.base_url.trim_start_matches("http://");
    assert!(error.starts_with(&format!("chat c was not started by the server at {server}: status 401")), "{error}");
    assert!(error.ends_with("check the secret key that this server was started with"), "{error}");
    assert!(!error.contains("tr_dev_wrong"), "{error}");
    assert!(client.send("c", "hi").await.error().contains("is not open here"), "what failed is not kept");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_is_refused_once_is_posted_again_and_starts_no_run_c230_cr35() {
    let served = Served::start().await;
    let relay = Relay::to(&served.host, &served.base_url).await;
    let client = served.client_with(Settings::new(relay.base_url.parse().unwrap(), KEY)).await;
    client.start("echo", "c").await.ok();
    let (_, first_run) = client.send("c", "one").await.said();

    for status in [401, 403] {
        relay.refuse_append(status);
        assert_eq!(client.send("c", "again").await.said(), ("echo: again".to_owned(), first_run.clone()));
    }

    let part_ids: Vec<_> = relay.asked("/in/append").into_iter().filter_map(|request| part_id(&request)).collect();
    assert_eq!(part_ids.len(), 5);
    assert!(part_ids[1] == part_ids[2] && part_ids[3] == part_ids[4], "one message is one record: {part_ids:?}");
    assert_eq!(relay.asked("POST /api/v1/sessions ").len(), 2, "the start, and what the first message stores again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_the_server_does_not_know_is_created_again_with_one_run_c230_cr35() {
    let served = Served::start().await;
    let relay = Relay::to(&served.host, &served.base_url).await;
    let client = served.client_with(Settings::new(relay.base_url.parse().unwrap(), KEY)).await;
    client.start("echo", "c").await.ok();
    let (_, first_run) = client.send("c", "one").await.said();
    let other = Served::start().await;
    relay.lead_to(&other.base_url);

    let (said, run) = client.send("c", "two").await.said();

    assert_eq!(said, "echo: two", "no cursor of the old log keeps the answer away (CR-36)");
    assert_ne!(run, first_run);
    let (again, same_run) = client.send("c", "three").await.said();
    assert_eq!((again.as_str(), same_run), ("echo: three", run));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_a_tool_error_c230() {
    let served = Served::start().await;
    // Nobody listens on the port of discarded things.
    let client = served.client_with(Settings::new("http://127.0.0.1:9".parse().unwrap(), KEY)).await;

    let error = client.start("echo", "c").await.error();

    assert!(error.starts_with("chat c was not started by the server at 127.0.0.1:9: "), "{error}");
    assert!(error.ends_with("call again"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_is_closed_for_good_is_forgotten_and_says_why_c231() {
    let served = Served::start().await;
    let client = served.client().await;
    client.start("closer", "c").await.ok();

    let last = client.send("c", "goodbye").await;
    let error = client.send("c", "still there?").await.error();
    let again = client.start("closer", "c").await.error();

    assert!(last.text.contains("echo: goodbye") || last.is_error, "{}", last.text);
    assert_eq!(error, "chat c is closed for good (agent said so): start another chat");
    assert_eq!(again, error);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fails_is_a_tool_error_with_its_words_c228() {
    let served = Served::start().await;
    let client = served.client().await;
    client.start("validate", "v").await.ok();

    let error = client.send("v", "a blocked-word").await.error();

    assert!(error.starts_with("the agent of chat v could not finish its answer: "), "{error}");
    assert!(error.contains("content filter"), "{error}");
    assert_eq!(client.send("v", "fine").await.said().0, "echo: fine", "the chat goes on");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_keeps_so_many_chats_and_says_so_c232() {
    let served = Served::start().await;
    let client = served.client_with(served.settings().max_open_chats(1).max_reply_chars(6)).await;
    client.start("echo", "one").await.ok();

    let error = client.start("echo", "two").await.error();
    let (said, _) = client.send("one", "a long story").await.said();

    assert_eq!(error, "1 chats are open, and no more may be: end one with close_agent_chat");
    assert_eq!(said, "echo: \n\n[the answer is longer and was cut here: 6 characters]");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_messages_at_once_in_one_chat_are_one_and_an_error_c226() {
    let served = Served::start().await;
    let client = served.client().await;
    client.start("think", "c").await.ok();

    let (first, second) = tokio::join!(client.send("c", "one"), async { client.send("c", "two").await });

    let (answer, refused) = if first.is_error { (second, first) } else { (first, second) };
    assert!(answer.said().0.starts_with("echo: "));
    assert_eq!(refused.error(), "chat c is answering another message: wait for that answer, then send again");
}
