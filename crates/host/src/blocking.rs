//! Work that blocks its thread: compression, a synchronous store, a file.

use futures::future::BoxFuture;

/// Runs work that blocks its thread where that holds up nobody else (D-50).
pub trait Blocking: Send + Sync {
    /// Runs `work`; the future resolves when it has ended. Dropping the future does not end the work.
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()>;
}

/// Runs the work on the caller's own thread, as hosts without a real machine do: a second thread would leave virtual time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Inline;

impl Blocking for Inline {
    fn run(&self, work: Box<dyn FnOnce() + Send>) -> BoxFuture<'static, ()> {
        Box::pin(async move { work() })
    }
}
