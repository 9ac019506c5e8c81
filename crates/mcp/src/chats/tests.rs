//! What a call may do with a chat, row by row.

use super::*;

const NAMES: [&str; 3] = ["c1", "c2", "c3"];

fn agent(id: &str) -> TaskId {
    TaskId::new(id)
}

/// Opens a chat the whole way.
fn open(chats: &mut Chats<&'static str>, chat_id: &'static str) -> Ticket {
    let Ok(Start::Create(ticket)) = chats.start(chat_id, &agent("echo")) else { panic!("{chat_id} is not new") };
    chats.started(chat_id, ticket, chat_id);
    ticket
}

#[track_caller]
fn says<T: std::fmt::Debug>(result: Result<T, ToolError>, want: &str) {
    let said = result.expect_err("it is refused").to_string();
    assert!(said.contains(want), "{said}");
}

#[test]
fn a_second_start_of_an_open_chat_only_informs_c225_ca93() {
    let mut chats = Chats::new(8);
    open(&mut chats, "c1");

    assert_eq!(chats.start("c1", &agent("echo")).unwrap(), Start::IsOpen);
    chats.send("c1").unwrap();
    assert_eq!(chats.start("c1", &agent("echo")).unwrap(), Start::IsOpen, "while it answers, too");
}

#[test]
fn an_open_chat_has_one_agent_c225() {
    let mut chats = Chats::new(8);
    open(&mut chats, "c1");

    says(chats.start("c1", &agent("weather")), "is open with agent echo, not weather");
}

#[test]
fn two_starts_at_once_create_one_session_c224_c225_cr35() {
    let mut chats: Chats<&str> = Chats::new(8);

    assert_eq!(chats.start("c1", &agent("echo")).unwrap(), Start::Create(Ticket(1)));

    says(chats.start("c1", &agent("echo")), "is being started by another call");
    says(chats.send("c1"), "is being started by another call");
    says(chats.close("c1"), "is being started by another call");
}

#[test]
fn a_chat_that_nobody_opened_is_an_error_that_names_the_tool_c226_c231_ca93() {
    let mut chats: Chats<&str> = Chats::new(8);

    says(chats.send("c1"), "chat c1 is not open here: open it with start_agent_chat");
    says(chats.close("c1"), "chat c1 is not open here: open it with start_agent_chat");
}

#[test]
fn a_chat_takes_one_message_at_a_time_c226() {
    let mut chats = Chats::new(8);
    open(&mut chats, "c1");
    let (ticket, _) = chats.send("c1").unwrap();

    says(chats.send("c1"), "is answering another message");
    chats.answered("c1", ticket);

    assert!(chats.send("c1").is_ok());
}

#[test]
fn a_start_that_failed_leaves_nothing_and_may_be_made_again_c232() {
    let mut chats: Chats<&str> = Chats::new(8);
    let Ok(Start::Create(ticket)) = chats.start("c1", &agent("echo")) else { panic!("it is new") };

    chats.forget("c1", ticket);

    assert_eq!(chats.start("c1", &agent("weather")).unwrap(), Start::Create(Ticket(2)));
}

#[test]
fn a_closed_chat_is_forgotten_and_its_late_answer_touches_no_later_opening_c231() {
    let mut chats = Chats::new(8);
    open(&mut chats, "c1");
    let (first, _) = chats.send("c1").unwrap();

    assert_eq!(chats.close("c1").unwrap(), "c1", "closing while it answers is allowed");
    let second = open(&mut chats, "c1");
    let (answering, _) = chats.send("c1").unwrap();
    chats.answered("c1", first);
    chats.forget("c1", first);

    assert_ne!(first, second, "each opening draws its own part ids");
    assert_eq!(answering, second);
    says(chats.send("c1"), "is answering another message");
}

#[test]
fn so_many_chats_are_open_and_no_more_c232() {
    let mut chats = Chats::new(NAMES.len() - 1);
    for name in &NAMES[..2] {
        open(&mut chats, name);
    }

    says(chats.start("c3", &agent("echo")), "2 chats are open, and no more may be: end one with close_agent_chat");
    assert_eq!(chats.start("c1", &agent("echo")).unwrap(), Start::IsOpen, "what is open stays open");
    chats.close("c1").unwrap();
    assert!(chats.start("c3", &agent("echo")).is_ok());
}
