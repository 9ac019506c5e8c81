//! A program of the author's that talks to the agent as a person's page does, without a page: [`AgentChat`], on a host of its own.
//!
//! What it is told is noted as if it were shown, on a screen that is never loaded again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::Value;
use turnkeep_client::{AgentChat, SendMessages};
use turnkeep_host::{Host, Tasks};
use turnkeep_protocol::{TaskId, UiMessage};

use super::person::{Command, Person};
use super::screen::Screen;
use super::stage::{SECRET_KEY, SESSION_URL};
use crate::trace::Event;

/// Runs a program on its host, from the host's boot on.
pub(super) async fn run(person: Arc<Person>, host: Host) {
    let screen = Arc::new(Screen::new(person.next_page(), person.clone(), Vec::new(), None));
    screen.log(|page, chat| Event::PageOpened { page, chat, messages: Vec::new(), cursor: None });
    person.put_on_screen(screen.clone());
    let chat = Arc::new(connect(&person, &host, &screen));
    let tasks = Tasks::new();
    loop {
        match person.next_command().await {
            Command::Send { text } => {
                let (chat, screen) = (chat.clone(), screen.clone());
                tasks.add(host.spawn(async move { ask(&chat, &screen, text).await }));
            }
            _ => person.refuse(format!("{} is a program: it sends, and nothing else", person.name)),
        }
    }
}

fn connect(person: &Arc<Person>, host: &Host, screen: &Arc<Screen>) -> AgentChat {
    let base = SESSION_URL.parse().expect("a fixed address parses");
    let noticed = screen.clone();
    AgentChat::builder(host.clone(), base, SECRET_KEY, TaskId::new(&person.agent), person.chat.clone())
        .stream_timeout_seconds(person.window_s)
        .on_event(Arc::new(move |event| {
            let notice = Value::String(format!("{:?}", event.kind));
            noticed.log(|page, _| Event::Notice { page, notice });
        }))
        .build()
}

/// Asks the agent, and takes in the whole answer.
async fn ask(chat: &AgentChat, screen: &Screen, text: String) {
    let person = &screen.person;
    let _busy = person.occupy();
    let message = UiMessage::user(person.next_message_id(), text);
    screen.ask(message.clone());
    match chat.send_raw(SendMessages::submit([message.clone()])).await {
        Ok(stream) => {
            let seq_num = stream.input_seq();
            screen.log(|page, chat| Event::Sent { page, chat, message, seq_num });
            person.accepted_sends.fetch_add(1, Ordering::Relaxed);
            screen.follow(stream, true).await;
        }
        Err(error) => {
            let (message_id, error) = (message.id, error.to_string());
            screen.log(|page, chat| Event::SendFailed { page, chat, message_id, error });
        }
    }
}
