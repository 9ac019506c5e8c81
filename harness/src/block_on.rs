//! [`block_on`]: an offline test in a crate that has no async runtime of its own.

/// Runs an offline test to its end, in virtual time: what `#[tokio::test(start_paused = true)]` does, without a dependency on tokio.
///
/// ```
/// use std::time::Duration;
/// use turnkeep_harness::{block_on, offline_host, since_epoch};
///
/// let passed = block_on(async {
///     let host = offline_host(1);
///     tokio::time::sleep(Duration::from_secs(3600)).await;
///     since_epoch(&host)
/// });
/// assert_eq!(passed, Duration::from_secs(3600)); // Of virtual time; none of it was waited for.
/// ```
///
/// # Panics
///
/// When it is called from inside an async runtime, and when the test panics.
pub fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime without sockets always builds").block_on(test)
}
