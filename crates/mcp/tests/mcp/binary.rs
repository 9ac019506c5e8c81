//! The binary as an MCP client starts it: tools over its stdin and stdout.

use std::process::Stdio;

use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::rig::{Client, KEY, Served};

/// Starts the binary and a client of it; the key is in its environment.
async fn start(base_url: &str, flags: &[&str]) -> (Client, Child) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_turnkeep-mcp"))
        .args(["--base-url", base_url, "--log", "debug"])
        .args(flags)
        .env("TURNKEEP_SECRET_KEY", KEY)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    (Client::over((stdout, stdin), None).await, child)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_chats_over_stdio_logs_to_stderr_and_ends_with_its_stdin_c224_c226_c231_ca93() {
    let served = Served::start().await;
    let (client, mut child) = start(&served.base_url, &["--agent", "echo=Says it again"]).await;

    let tools = client.tools().await;
    client.start("echo", "b").await.ok();
    let (said, _) = client.send("b", "hello").await.said();
    client.close("b").await.ok();
    client.service.cancel().await.unwrap();
    let status = child.wait().await.unwrap();

    assert_eq!(tools, ["list_agents", "start_agent_chat", "send_agent_message", "close_agent_chat"]);
    assert_eq!((said.as_str(), status.code()), ("echo: hello", Some(0)));
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).await.unwrap();
    assert!(!log.is_empty() && !log.contains(KEY), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_binary_only_lists_c233() {
    let (client, _child) = start("http://127.0.0.1:9", &["--read-only", "--agent", "echo=Says it again"]).await;

    assert_eq!(client.tools().await, ["list_agents"]);
    let agents = client.call("list_agents", serde_json::json!({})).await.ok();
    assert_eq!(agents, "Agents:\n- echo: Says it again\n\nOpen a chat with one by start_agent_chat.");
    assert_eq!(client.start("echo", "c").await.error(), "there is no tool start_agent_chat: use one of list_agents");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_help_has_examples_and_a_wrong_command_line_is_exit_2() {
    let run = |args: &'static [&'static str]| async move {
        let mut command = Command::new(env!("CARGO_BIN_EXE_turnkeep-mcp"));
        let output = command.args(args).env("TURNKEEP_SECRET_KEY", KEY).output().await.unwrap();
        (String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap(), output.status.code())
    };

    let (help, ok) = run(&["--help"]).await;
    let (wrong, code) = run(&["--base-url", "nowhere"]).await;

    assert!(help.contains("Examples:") && help.contains("TURNKEEP_SECRET_KEY") && !help.contains(KEY), "{help}");
    assert!(wrong.contains("--base-url") && !wrong.contains(KEY), "{wrong}");
    assert_eq!((ok, code), (Some(0), Some(2)));
}
