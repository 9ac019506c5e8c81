//! [`simulate_stream`]: a hand-made stream, spread in time.

use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};

/// How a simulated stream is spread in time; all of it virtual under a paused clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SimulateStream {
    initial_delay: Duration,
    chunk_delay: Duration,
}

impl SimulateStream {
    /// Makes a stream that gives everything at once.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits so long before the first item.
    #[must_use]
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// Waits so long before each further item.
    #[must_use]
    pub fn chunk_delay(mut self, delay: Duration) -> Self {
        self.chunk_delay = delay;
        self
    }
}

/// Gives `items` one by one: chunks, stream parts, bytes, whatever the code under test reads.
///
/// Dropping the stream between two items loses the rest and nothing else.
///
/// ```
/// # async fn example() {
/// use std::time::Duration;
/// use futures::StreamExt;
/// use turnkeep_harness::{SimulateStream, simulate_stream};
///
/// let words = ["Rain", ", ", "again"];
/// let pace = SimulateStream::new().initial_delay(Duration::from_secs(1)).chunk_delay(Duration::from_millis(20));
/// let said: Vec<&str> = simulate_stream(words, pace).collect().await;
/// assert_eq!(said, words);
/// # }
/// ```
pub fn simulate_stream<T, I>(items: I, options: SimulateStream) -> BoxStream<'static, T>
where
    T: Send + 'static,
    I: IntoIterator<Item = T>,
    I::IntoIter: Send + 'static,
{
    let items = items.into_iter().enumerate();
    stream::iter(items)
        .then(move |(at, item)| async move {
            let delay = if at == 0 { options.initial_delay } else { options.chunk_delay };
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            item
        })
        .boxed()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_item_waits_its_own_time_and_each_further_one_the_other() {
        let options =
            SimulateStream::new().initial_delay(Duration::from_secs(1)).chunk_delay(Duration::from_millis(20));
        let started = Instant::now();

        let items = simulate_stream(["a", "b", "c"], options).map(|item| (item, started.elapsed().as_millis()));

        assert_eq!(items.collect::<Vec<_>>().await, [("a", 1000), ("b", 1020), ("c", 1040)]);
    }

    #[tokio::test(start_paused = true)]
    async fn without_delays_everything_comes_at_once() {
        let started = Instant::now();

        let items: Vec<i32> = simulate_stream(0..3, SimulateStream::new()).collect().await;

        assert_eq!((items, started.elapsed()), (vec![0, 1, 2], Duration::ZERO));
    }
}
