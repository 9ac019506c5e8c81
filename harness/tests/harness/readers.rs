//! Readers beside the chat's own page.

use std::time::Duration;

use turnkeep_client::{ChatStream, Transport};
use turnkeep_harness::model::{MockLanguageModel, say, stall};
use turnkeep_harness::{At, MockChatAgent};
use turnkeep_protocol::SeqNum;

use crate::support::*;

/// The kinds of the next chunks of a page that joins the answer under way.
async fn joins(page: &Transport, n_chunks: usize) -> Vec<String> {
    let mut stream: ChatStream = page.reconnect_to_stream("test-chat").expect("the page asks the server");
    let mut kinds = Vec::new();
    while kinds.len() < n_chunks {
        let delivered = stream.next().await.expect("the answer goes on").unwrap();
        kinds.push(format!("{} {}", delivered.seq_num.unwrap(), delivered.chunk.kind()));
    }
    kinds
}

#[tokio::test(start_paused = true)]
async fn a_late_page_is_shown_the_answer_from_its_start_and_one_that_resumes_only_the_rest_a270() {
    let model = MockLanguageModel::new().step([say("a"), say("b"), stall()]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::after_record("text-delta").nth(1));
    let posted = chat.send("hi").begin().await;
    barrier.reached().await;
    barrier.release();

    let late = chat.another_page(None).await;
    let resumes = chat.another_page(Some(SeqNum::new(3))).await;

    assert_eq!(joins(&late, 5).await, ["0 start", "1 start-step", "2 text-start", "3 text-delta", "4 text-delta"]);
    assert_eq!(joins(&resumes, 1).await, ["4 text-delta"]);
    chat.send_stop().await;
    posted.turn().await;
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_channel_is_read_from_any_place_and_what_was_trimmed_is_gone_a270() {
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let mut boundaries = Vec::new();
    for text in ["one", "two", "three"] {
        boundaries.push(chat.send(text).await.last_event_id().unwrap());
    }

    // Readers that are a little late still find what a trim dooms; by a minute later it is gone (S-89).
    assert_eq!(chat.read_out(None).await[0].seq_num, SeqNum::ZERO);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let whole = chat.read_out(None).await;
    let rest = chat.read_out(Some(boundaries[1])).await;

    // The boundary before the last one is where the channel begins now.
    assert_eq!(whole[0].seq_num, boundaries[1]);
    assert!(rest[0].seq_num > boundaries[1]);
    assert_eq!(rest[rest.len() - 1].seq_num, boundaries[2]);
    assert!(chat.all_raw_chunks().len() > whole.len(), "what the test saw stays readable to it");
    chat.finish().await;
}
