//! `chat` beside `serve`, both as people start them: killed, stopped, refused.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

const KEY: &str = "tr_dev_chatTest1";

/// Presses of Ctrl-C after which a program that does not end is given up.
const MAX_PRESSES: usize = 400;

/// A served system, which ends with the test.
struct Served {
    process: Child,
    url: String,
    chats: TempDir,
}

impl Served {
    fn start() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        let chats = tempfile::tempdir().unwrap();
        command.args(["serve", "--port", "0", "--format", "json", "--secret-key", KEY]).stdout(Stdio::piped());
        command.current_dir(chats.path());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { process, url: ready["url"].as_str().unwrap().to_owned(), chats }
    }

    fn command(&self, key: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("chat").args(args).env("TURNKEEP_BASE_URL", &self.url).env("TURNKEEP_SECRET_KEY", key);
        command.env("TURNKEEP_CHATS", self.chats.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end; gives its exit code, stdout and stderr.
    fn chat(&self, args: &[&str]) -> (Option<i32>, String, String) {
        told(self.command(KEY, args).output().unwrap())
    }

    /// Posts JSON with the secret key; the server must take it.
    fn post(&self, path: &str, json: &str) {
        let authority = self.url.strip_prefix("http://").unwrap();
        let mut asked = TcpStream::connect(authority).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            json.len()
        );
        asked.write_all(head.as_bytes()).unwrap();
        asked.write_all(json.as_bytes()).unwrap();
        let mut answer = String::new();
        asked.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    /// Starts a long answer and waits until some of it is written.
    fn in_an_answer(&self, chat: &str) -> Child {
        let mut talking = self.command(KEY, &["--agent", "slow", "--chat", chat, "words=40"]).spawn().unwrap();
        let (mut seen, mut byte) = (Vec::new(), [0]);
        let out = talking.stdout.as_mut().unwrap();
        while !seen.ends_with(b" w5 ") {
            assert_eq!(out.read(&mut byte).unwrap(), 1, "it ended after {}", String::from_utf8_lossy(&seen));
            seen.push(byte[0]);
        }
        talking
    }

    /// Gives what the chat's file has: who said it, and what.
    fn saved(&self, chat: &str) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.chats.path().join(Path::new(&format!("{chat}.json")))).unwrap();
        let saved: Value = serde_json::from_str(&text).unwrap();
        let text = |message: &Value| {
            let parts = message["parts"].as_array().unwrap().iter();
            parts.filter_map(|part| part["text"].as_str()).collect::<String>()
        };
        let messages = saved["messages"].as_array().unwrap().iter();
        messages.map(|message| (message["role"].as_str().unwrap().to_owned(), text(message))).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn told(output: Output) -> (Option<i32>, String, String) {
    let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    (output.status.code(), out, err)
}

fn signal(name: &str, process: u32) {
    assert!(Command::new("kill").args([name, &process.to_string()]).status().unwrap().success());
}

fn words(count: usize) -> String {
    (0..count).map(|n| format!("w{n}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_server_keeps_its_sessions_on_disk_when_nothing_else_is_said_d12() {
    let served = Served::start();

    let kept = served.chats.path().join(turnkeep_session::cli::DATA).join("turnkeep.redb");

    assert!(kept.is_file(), "{} is not there", kept.display());
}

#[test]
fn a_chat_that_was_killed_in_an_answer_goes_on_with_it_and_says_it_once_c236_cr38() {
    let served = Served::start();
    let mut talking = served.in_an_answer("holiday");
    talking.kill().unwrap();
    talking.wait().unwrap();
    let before = served.saved("holiday");

    let (code, out, err) = served.chat(&["--agent", "slow", "--chat", "holiday"]);
    let (_, again, _) = served.chat(&["--agent", "slow", "--chat", "holiday", "words=2"]);

    let asked = ("user".to_owned(), "words=40".to_owned());
    assert_eq!(before, std::slice::from_ref(&asked), "nothing of an answer that is not whole");
    assert_eq!((code, out), (Some(0), format!("> words=40\n{}\n", words(40))), "{err}");
    assert_eq!(again, format!("> words=40\n{}\nw0 w1\n", words(40)));
    let both = [asked, ("assistant".to_owned(), words(40)), ("user".to_owned(), "words=2".to_owned())];
    assert_eq!(served.saved("holiday")[..3], both);
    assert_eq!(served.saved("holiday")[3].1, "w0 w1");
}

#[test]
fn ctrl_c_stops_the_answer_and_the_chat_goes_on() {
    let served = Served::start();
    let mut talking = served.in_an_answer("one");

    signal("-INT", talking.id());
    let mut rest = String::new();
    talking.stdout.take().unwrap().read_to_string(&mut rest).unwrap();
    let status = talking.wait().unwrap();
    let (_, again, _) = served.chat(&["--agent", "slow", "--chat", "one", "words=3"]);

    assert!(status.success());
    assert!(rest.ends_with("\n[stopped]\n") && !rest.contains("w39"), "{rest}");
    assert!(again.ends_with("\nw0 w1 w2\n"), "{again}");
    let roles: Vec<String> = served.saved("one").into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
}

#[test]
fn a_second_ctrl_c_leaves_while_the_stop_is_on_its_way_to_a_server_that_hangs() {
    let served = Served::start();
    let mut talking = served.in_an_answer("one");
    signal("-STOP", served.process.id());

    // Presses follow each other as a person's do: the first asks for the stop, a later one leaves.
    for _ in 0..MAX_PRESSES {
        if talking.try_wait().unwrap().is_some() {
            break;
        }
        signal("-INT", talking.id());
        std::thread::sleep(Duration::from_millis(50));
    }
    signal("-CONT", served.process.id());
    let (code, _, err) = told(talking.wait_with_output().unwrap());
    let (_, again, _) = served.chat(&["--agent", "slow", "--chat", "one", "words=3"]);

    assert!(code == Some(1) && err.contains("left before the stop arrived; go on with --chat one"), "{err}");
    assert!(again.ends_with("\nw0 w1 w2\n"), "{again}");
}

#[test]
fn a_chat_whose_session_was_closed_says_so_and_what_to_do() {
    let served = Served::start();
    served.chat(&["--chat", "done", "hi"]);

    served.post("/api/v1/sessions/done/close", r#"{ "reason": "over and out" }"#);
    let (code, _, err) = served.chat(&["--chat", "done", "still there?"]);

    assert!(code == Some(1) && err.contains("over and out") && err.contains("another --chat"), "{err}");
}

#[test]
fn ctrl_c_leaves_while_a_message_is_on_its_way_to_a_server_that_never_answers() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let chats = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.args(["chat", "--secret-key", KEY, "--chat", "a", "hi", "--base-url"]);
    command.arg(format!("http://{}", mute.local_addr().unwrap())).arg("--state").arg(chats.path());
    let talking = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (mut asked, _) = mute.accept().unwrap();
    asked.read_exact(&mut [0]).unwrap();

    signal("-INT", talking.id());
    let (code, _, err) = told(talking.wait_with_output().unwrap());

    assert!(code == Some(1) && err.contains("left while the message was on its way"), "{err}");
}

#[test]
fn lines_of_stdin_are_turns_of_one_chat_and_a_tool_is_shown() {
    let served = Served::start();
    let mut talking = served.command(KEY, &["--agent", "history"]).stdin(Stdio::piped()).spawn().unwrap();

    talking.stdin.take().unwrap().write_all(b"one\n\ntwo\n").unwrap();
    let (code, out, err) = told(talking.wait_with_output().unwrap());
    let (_, tool, _) = served.chat(&["--agent", "tool", "How warm is it in Oslo?"]);

    assert_eq!((code, out.as_str()), (Some(0), "seen u:one assistants:0\nseen u:one,two assistants:1\n"), "{err}");
    let want = "[getWeather] {\"city\":\"Oslo\"}\n  = {\"city\":\"Oslo\",\"celsius\":21}\nIt is 21C in Oslo\n";
    assert_eq!(tool, want);
}

#[test]
fn what_cannot_be_is_refused_with_what_to_do_and_nothing_is_kept_of_it() {
    let served = Served::start();
    served.chat(&["--chat", "a", "hi"]);

    let (key, _, key_err) = told(served.command("tr_dev_other1", &["--chat", "b", "hi"]).output().unwrap());
    let (agent, _, agent_err) = served.chat(&["--agent", "slow", "--chat", "a", "hi"]);
    let (url, _, url_err) = served.chat(&["--base-url", "nowhere", "hi"]);

    assert!(
        key == Some(1) && key_err.contains("401") && key_err.contains("is --secret-key the server's?"),
        "{key_err}"
    );
    assert_eq!(served.saved("b"), []);
    assert!(
        agent == Some(2) && agent_err.contains("the chat `a` is with the agent `echo`: say --agent echo"),
        "{agent_err}"
    );
    assert!(url == Some(2) && url_err.contains("--base-url nowhere: "), "{url_err}");
}
