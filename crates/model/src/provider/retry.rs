//! When a call that did not begin is tried again: twice by default, as the AI SDK does.

use std::time::Duration;

use super::failure::Failure;

/// How often a call is tried again unless chosen otherwise.
pub(crate) const DEFAULT_MAX_RETRIES: u32 = 2;

/// The wait before the first retry; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_secs(2);

/// The longest wait between two tries. A provider that asks for more is left alone, and the caller told.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How much of a wait chance adds, so that many callers who failed together do not come back together.
const JITTER: f64 = 0.25;

/// Gives the wait before the next try, or none when there is none.
///
/// `n_retries` were made already; `chance` is drawn from `[0, 1)`.
pub(crate) fn next_wait(failure: &Failure, n_retries: u32, max_retries: u32, chance: f64) -> Option<Duration> {
    if !failure.may_retry || n_retries >= max_retries {
        return None;
    }
    let doubled = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(n_retries)).min(MAX_WAIT);
    let wait = failure.retry_after.unwrap_or(doubled);
    (wait <= MAX_WAIT).then(|| wait.mul_f64(1.0 + JITTER * chance))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ModelError;

    fn overloaded() -> Failure {
        ModelError::unavailable("overloaded").into()
    }

    fn limited(retry_after_ms: u64) -> Failure {
        ModelError::RateLimited { message: String::new(), retry_after_ms: Some(retry_after_ms) }.into()
    }

    #[test]
    fn waits_double_and_end() {
        let waits: Vec<_> = (0..3).map(|n_retries| next_wait(&overloaded(), n_retries, 2, 0.0)).collect();

        assert_eq!(waits, [Some(Duration::from_secs(2)), Some(Duration::from_secs(4)), None]);
        assert_eq!(next_wait(&overloaded(), 40, 50, 0.0), Some(MAX_WAIT));
        assert_eq!(next_wait(&overloaded(), 0, 0, 0.0), None);
    }

    #[test]
    fn the_providers_wait_is_kept_to_and_never_shortened() {
        assert_eq!(next_wait(&limited(7000), 0, 2, 0.0), Some(Duration::from_secs(7)));
        assert_eq!(next_wait(&limited(60_000), 0, 2, 0.0), Some(MAX_WAIT));
        assert_eq!(next_wait(&limited(60_001), 0, 2, 0.0), None);
    }

    #[test]
    fn chance_adds_up_to_a_quarter() {
        assert_eq!(next_wait(&limited(8000), 0, 2, 0.5), Some(Duration::from_secs(9)));
    }

    #[test]
    fn what_no_other_try_cures_is_not_tried_again() {
        assert_eq!(next_wait(&ModelError::refused("no").into(), 0, 2, 0.0), None);
    }
}
