//! The response of a head start: step 1 to the browser and to `out`, the handover, the agent's chunks, the end (C §5.2).

use std::sync::Arc;

use futures::StreamExt;
use turnkeep_model::{StreamPart, StreamParts};
use turnkeep_protocol::UiMessageChunk;

use crate::body::Events;
use crate::error::Error;
use crate::handover::StepResult;
use crate::seam::{Seam, closing};
use crate::session::{HeadStartSession, Shared};
use crate::step::{Step, StepEnd};
use crate::stitch::{Stitch, stitch};
use crate::stream_text::StreamText;

/// Makes the step and everything after it. Whatever goes wrong, the response ends as any other does.
pub(crate) async fn answer(session: HeadStartSession, call: StreamText, events: Events) {
    let shared = session.shared;
    let made = make(&shared, call, Some(&events)).await;
    let seam = match made {
        Ok(result) => shared.hand_over(result.into_handover()).await,
        Err(error) => {
            // A browser that left is no failure of anybody's.
            if !matches!(error, Error::Cut) {
                shared.setup.tell(&shared.chat_id, &error);
            }
            let seam = shared.give_up().await;
            finish(&shared, seam, &events).await;
            return;
        }
    };
    match seam {
        Ok(Seam::After(after)) => {
            let at = Stitch { after, input: None };
            if let Some((outcome, cursor)) = stitch(&shared.setup, &shared.chat_id, at, &events).await {
                end(&events, &closing(outcome, cursor)).await;
            }
        }
        seam => finish(&shared, seam, &events).await,
    }
}

/// Ends a response behind its first step.
async fn finish(shared: &Shared, seam: Result<Seam, Error>, events: &Events) {
    match seam {
        Ok(seam) => end(events, &closing(None, seam.cursor())).await,
        Err(error) => shared.setup.tell(&shared.chat_id, &error),
    }
}

async fn end(events: &Events, frames: &[serde_json::Value]) {
    for frame in frames {
        events.value(frame).await;
    }
}

/// Makes the first step; its chunks go to `out` and, where there is one, to the browser.
pub(crate) async fn make(shared: &Arc<Shared>, call: StreamText, events: Option<&Events>) -> Result<StepResult, Error> {
    let mut step = Step::new(&shared.message_id, call.ui_options);
    tell(shared, events, step.begin()).await;
    let mut parts = Parts::Asked(call.model.stream(call.prompt));
    let end = loop {
        let next = tokio::select! {
            biased;
            () = shared.signal.cancelled() => break StepEnd::Cut,
            () = left(shared, events) => break StepEnd::Cut,
            next = parts.next() => next,
        };
        let (chunks, end) = step.on_part(next);
        let is_cut = tokio::select! {
            biased;
            () = shared.signal.cancelled() => true,
            () = tell(shared, events, chunks) => false,
        };
        match end {
            _ if is_cut => break StepEnd::Cut,
            Some(end) => break end,
            None => {}
        }
    };
    // The connection to the provider is done with before anything else takes its time.
    drop(parts);
    if end == StepEnd::Cut {
        shared.signal.cancel();
        for chunk in step.cut() {
            shared.out.chunk(&chunk).await;
        }
    }
    step.into_result(end)
}

/// The model's answer, from the moment it is asked for.
enum Parts {
    Asked(futures::future::BoxFuture<'static, Result<StreamParts, turnkeep_model::ModelError>>),
    Coming(StreamParts),
    Over,
}

impl Parts {
    async fn next(&mut self) -> Option<StreamPart> {
        loop {
            match self {
                Self::Asked(asked) => match asked.await {
                    Ok(parts) => *self = Self::Coming(parts),
                    Err(error) => {
                        *self = Self::Over;
                        return Some(StreamPart::Error(error));
                    }
                },
                Self::Coming(parts) => return parts.next().await,
                Self::Over => return None,
            }
        }
    }
}

/// Waits until the browser is gone, where that ends the step (C-195, C-196).
async fn left(shared: &Shared, events: Option<&Events>) {
    match events.filter(|_| !shared.setup.outlives_browser) {
        Some(events) => events.gone().await,
        None => std::future::pending().await,
    }
}

async fn tell(shared: &Shared, events: Option<&Events>, chunks: Vec<UiMessageChunk>) {
    for chunk in chunks {
        shared.out.chunk(&chunk).await;
        if let Some(events) = events {
            events.chunk(&chunk).await;
        }
    }
}
