//! Reading on behind the seam: the agent's chunks, for the same response (C §5.2, step 8).
//!
//! The client's own transport reads, so a window that ends early is resumed within its budget (C-197), and a boundary ends the read at
//! once although it is no chunk (CR-30).

use std::sync::Arc;

use turnkeep_client::{ChatSessionState, Outcome, Transport};
use turnkeep_protocol::SeqNum;

use crate::body::Events;
use crate::head_start::Setup;

/// Where the stitched part begins, and what ends it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stitch {
    pub(crate) after: Option<SeqNum>,
    /// The input that the turn answers; boundaries below it are earlier turns' (C-82). None for a handover: there is none before it.
    pub(crate) input: Option<SeqNum>,
}

/// Sends the agent's chunks to the browser until the turn's end; gives how it ended and the cursor there, and none when the browser
/// is gone.
pub(crate) async fn stitch(
    setup: &Arc<Setup>,
    chat_id: &str,
    stitch: Stitch,
    events: &Events,
) -> Option<(Option<Outcome>, Option<SeqNum>)> {
    let transport = transport(setup, chat_id, stitch);
    let Some(mut chunks) = transport.reconnect_to_stream(chat_id) else {
        return Some((None, stitch.after));
    };
    loop {
        let next = tokio::select! {
            biased;
            () = events.gone() => return None,
            next = chunks.next() => next,
        };
        match next {
            Some(Ok(delivered)) => events.chunk(&delivered.chunk).await,
            Some(Err(error)) => {
                setup.tell(chat_id, &error.into());
                break;
            }
            None => break,
        }
    }
    let cursor = transport.session(chat_id).and_then(|state| state.last_event_id);
    Some((chunks.outcome(), cursor))
}

fn transport(setup: &Setup, chat_id: &str, stitch: Stitch) -> Transport {
    let key = setup.secret_key.clone();
    let state = ChatSessionState {
        last_event_id: stitch.after,
        is_streaming: Some(true),
        active_input_seq: stitch.input,
        ..ChatSessionState::new(&*key)
    };
    // The secret key reads every session and does not expire.
    let access_token = Arc::new(move |_| {
        let key = key.clone();
        Box::pin(async move { Ok(key) }) as _
    });
    let mut builder = Transport::builder(setup.host.clone(), setup.base.clone(), setup.agent.clone(), access_token)
        .name(format!("head-start/{chat_id}"))
        .headers(setup.headers.clone())
        .sessions([(chat_id.to_owned(), state)]);
    if let Some(fetch) = &setup.fetch {
        builder = builder.fetch(fetch.clone());
    }
    builder.build()
}
