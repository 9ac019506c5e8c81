//! Chats that go well: one run a chat, the own answer and nothing else, the same chat again.

use std::time::Duration;

use serde_json::json;

use turnkeep_mcp::Settings;

use crate::relay::Relay;
use crate::rig::{KEY, Served, listed};

/// Finds `NAME: value` in a text of lines.
#[track_caller]
fn field(text: &str, name: &str) -> String {
    let start = format!("{name}: ");
    text.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_else(|| panic!("no {name} in {text}")).to_owned()
}

/// Gives the cursor that a read was asked to begin behind.
#[track_caller]
fn cursor(request: &[String]) -> u64 {
    let cursor = request.iter().find_map(|line| line.strip_prefix("last-event-id: "));
    cursor.unwrap_or_else(|| panic!("no cursor in {request:?}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_two_messages_and_a_close_are_one_run_c224_c226_c227_c231_ca93_cr35() {
    let served = Served::start().await;
    let client = served.client().await;

    let started = client.start("echo", "chat-1").await.ok();
    let (first, first_run) = client.send("chat-1", "hello there").await.said();
    let again = client.start("echo", "chat-1").await.ok();
    let (second, second_run) = client.send("chat-1", "and again").await.said();
    let closed = client.close("chat-1").await.ok();

    assert!(started.starts_with("The chat is open and its agent is booting."), "{started}");
    assert_eq!((field(&started, "Chat"), field(&started, "Agent")), ("chat-1".to_owned(), "echo".to_owned()));
    assert!(field(&started, "Session").starts_with("session_"), "{started}");
    assert_eq!((first.as_str(), second.as_str()), ("echo: hello there", "echo: and again"));
    assert_eq!((&first_run, &second_run), (&field(&started, "Run"), &first_run), "no second run came in");
    assert_eq!(again, "Chat chat-1 is open already. Go on with send_agent_message.");
    assert!(closed.contains("its agent was told to end its run"), "{closed}");
    assert!(client.send("chat-1", "too late").await.error().contains("open it with start_agent_chat"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chat_without_an_id_gets_one_of_its_own_c224() {
    let served = Served::start().await;
    let client = served.client().await;

    let one = client.call("start_agent_chat", json!({ "agentId": "echo", "preload": false })).await.ok();
    let other = client.call("start_agent_chat", json!({ "agentId": "echo" })).await.ok();

    assert!(one.starts_with("The chat is open; its agent answers the first message."), "{one}");
    assert_ne!(field(&one, "Chat"), field(&other, "Chat"));
    assert_eq!(client.send(&field(&one, "Chat"), "hi").await.said().0, "echo: hi");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_data_reaches_the_agent_c224_c225() {
    let served = Served::start().await;
    let client = served.client().await;
    let input = json!({ "agentId": "meta", "chatId": "m", "clientData": { "user": "ada" } });

    client.call("start_agent_chat", input).await.ok();

    assert_eq!(client.send("m", "who am I?").await.said().0, r#"meta: {"user":"ada"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn tools_are_shown_between_the_texts_c227() {
    let served = Served::start().await;
    let client = served.client().await;
    client.start("tool", "t").await.ok();

    let (said, _) = client.send("t", "weather in Oslo?").await.said();

    let want = "[Tool: getWeather]\nInput: {\"city\":\"Oslo\"}\nOutput: {\"city\":\"Oslo\",\"celsius\":21}\n\nIt is 21C in Oslo";
    assert_eq!(said, want);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_in_the_middle_brings_no_competing_run_c229_c230_cr35() {
    let served = Served::start().await;
    let client = served.client().await;
    let started = client.start("upgrade", "u").await.ok();

    let (first, first_run) = client.send("u", "one").await.said();
    let (second, second_run) = client.send("u", "two").await.said();

    // Had a second run answered as well, there would be more than one assistant message.
    assert_eq!(first, "seen u:one assistants:0");
    assert_eq!(second, "seen u:one,two assistants:1");
    assert_ne!(first_run, field(&started, "Run"), "the server put another run in its place");
    assert_eq!(second_run, first_run);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_dies_in_the_turn_is_the_servers_affair_c229_c230_cr35() {
    let served = Served::start().await;
    let client = served.client().await;
    let started = client.start("crashonce", "c").await.ok();

    let (said, run) = client.send("c", "boom").await.said();

    assert_eq!((said.as_str(), run), ("seen u:boom assistants:0", field(&started, "Run")));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_process_finds_the_chat_and_gives_the_new_answer_alone_c232_cr36() {
    let served = Served::start().await;
    let before = served.client().await;
    before.start("history", "h").await.ok();
    before.send("h", "one").await.ok();
    drop(before);
    let relay = Relay::to(&served.host, &served.base_url).await;
    let client = served.client_with(Settings::new(relay.base_url.parse().unwrap(), KEY)).await;

    let started = client.start("history", "h").await.ok();
    let (said, _) = client.send("h", "two").await.said();

    assert!(started.starts_with("The chat was there already and is open again"), "{started}");
    assert_eq!(said, "seen u:one,two assistants:1");
    // Read from its beginning, the channel would bring the old answer first.
    let (told, _) = client.progress();
    assert!(!told.contains("u:one assistants:0"), "{told}");
    // It would also be held back as the backlog of another turn, so what was asked for is looked at itself.
    let cursors: Vec<u64> = relay.asked("text/event-stream").iter().map(|request| cursor(request)).collect();
    assert!(!cursors.is_empty() && cursors.iter().all(|cursor| *cursor >= 1), "{cursors:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_unfinished_turn_still_says_is_no_part_of_the_next_answer_c228_c232_cr36() {
    let served = Served::start().await;
    let before = served.client_with(served.settings().reply_limit(Duration::from_millis(500))).await;
    before.start("slow", "s").await.ok();
    before.send("s", "words=40").await.ok();
    drop(before);
    let client = served.client().await;
    client.start("slow", "s").await.ok();

    assert_eq!(client.send("s", "words=2").await.said().0, "w0 w1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_answer_is_given_as_far_as_it_came_and_the_next_one_is_whole_c228() {
    let served = Served::start().await;
    let client = served.client_with(served.settings().reply_limit(Duration::from_secs(2))).await;
    client.start("slow", "s").await.ok();

    let (late, _) = client.send("s", "words=60").await.said();
    let next = loop {
        // What is left of the first turn takes as long again, and its own deadline may pass meanwhile.
        let (said, _) = client.send("s", "words=2").await.said();
        if !said.contains("is not finished") {
            break said;
        }
    };

    assert!(late.starts_with("w0 w1 ") && late.contains("[The answer is not finished"), "{late}");
    assert!(!late.contains("w59"), "{late}");
    assert_eq!(next, "w0 w1");
}

#[tokio::test(flavor = "multi_thread")]
async fn progress_is_told_while_the_agent_speaks_c226() {
    let served = Served::start().await;
    let client = served.client().await;
    client.start("slow", "s").await.ok();

    let (said, _) = client.send("s", "words=20").await.said();

    let (told, marks) = client.progress();
    assert!(said.starts_with(&told) && told.starts_with("w0"), "{told}");
    assert!(marks.len() >= 2 && marks.windows(2).all(|pair| pair[0] < pair[1]), "{marks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_call_stops_the_agent_and_the_next_answer_is_its_own_c226_c228() {
    let served = Served::start().await;
    let client = served.client().await;
    client.start("slow", "s").await.ok();

    // Unstopped it would speak for more than eight minutes. Dropping a call cancels it on the wire.
    tokio::select! {
        biased;
        answered = client.send("s", "words=10000") => panic!("{answered:?}"),
        () = client.progressed() => {}
    }
    let next = loop {
        // The chat is free again as soon as the notification is there.
        let answered = client.send("s", "words=2").await;
        if !answered.text.contains("is answering another message") {
            break answered.said().0;
        }
        tokio::task::yield_now().await;
    };

    assert_eq!(next, "w0 w1");
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_those_that_were_listed_c223() {
    let served = Served::start().await;
    let settings = served.settings().agent(listed("echo")).agent(listed("tool"));
    let client = served.client_with(settings).await;

    let agents = client.call("list_agents", json!({})).await.ok();
    let unknown = client.start("weather", "w").await.error();

    assert_eq!(agents, "Agents:\n- echo\n- tool\n\nOpen a chat with one by start_agent_chat.");
    assert_eq!(unknown, "agent weather is not listed: use one of echo, tool");
}
