//! Which answers are asked for again, how soon and for how long.

use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use tokio::time::Instant;
use turnkeep_host::{Draws, Entropy};

use super::refusal;
use crate::error::Error;

/// How long one request is repeated before the run gives up; far beyond a server's restart, and a lost lease ends the run before.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first pause between two tries; it doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// The longest pause between two tries, jitter apart.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// The retry policy of one run's requests.
pub(crate) struct Retries {
    jitter: Draws,
}

impl Retries {
    pub(crate) fn new(entropy: &Entropy) -> Self {
        Self { jitter: entropy.draws() }
    }

    /// Repeats `attempt` while the network fails or the server answers 5xx, 408 or 429.
    pub(crate) async fn run<F, A>(&self, what: &'static str, attempt: A) -> Result<Response<Bytes>, Error>
    where
        A: Fn() -> F,
        F: Future<Output = Result<Response<Bytes>, turnkeep_host::http::Error>>,
    {
        let give_up = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let failure = match attempt().await {
                Ok(response) => match judge(what, response) {
                    Ok(response) => return Ok(response),
                    Err(error) if error.is_retryable() => error,
                    Err(error) => return Err(error),
                },
                Err(error) => Error::Unreachable { what, detail: error.to_string() },
            };
            let wait = pause.mul_f64(0.5 + self.jitter.unit() / 2.0);
            if Instant::now() + wait > give_up {
                return Err(failure);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Tells success, failure for now and refusal apart.
pub(super) fn judge(what: &'static str, response: Response<Bytes>) -> Result<Response<Bytes>, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let passing =
        status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS;
    // 501 is a server that will never know the route.
    if passing && status != StatusCode::NOT_IMPLEMENTED {
        return Err(Error::Unreachable { what, detail: format!("status {status}") });
    }
    Err(refusal(what, &response))
}
