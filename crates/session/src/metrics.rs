//! What an operator may watch: counters, gauges and histograms in the Prometheus text format.
//!
//! Everything is counted where it happens; what is a state rather than an event (runs, the queue) is asked for when somebody looks.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use turnkeep_protocol::ChannelName;

use crate::{Change, RunStatus};

/// Which channel something concerns.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Channel {
    channel: &'static str,
}

/// How a run stands, or ended.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct State {
    state: &'static str,
}

/// One kind of request and its answer; a route is a pattern, so that there are only as many as there are routes.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

/// How the runs stand at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunCounts {
    /// Runs that wait for a worker.
    pub queued: usize,
    /// Runs that a worker holds.
    pub leased: usize,
    /// How long the oldest queued run has waited.
    pub queue_age: Duration,
    /// Sessions, whatever their state.
    pub sessions: usize,
}

/// All instruments of a server.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<Request, Counter>,
    records: Family<Channel, Counter>,
    readers: Family<Channel, Gauge>,
    reader_lag: Histogram,
    commit_time: Histogram,
    commit_size: Histogram,
    runs: Family<State, Gauge>,
    runs_ended: Family<State, Counter>,
    queue_age: Gauge<f64, AtomicU64>,
    sessions: Gauge,
}

impl Metrics {
    /// Makes the instruments, all at zero.
    pub(crate) fn new() -> Self {
        // 100 µs to 26 s, and 1 to 512.
        let seconds = || Histogram::new(exponential_buckets(0.0001, 4.0, 10));
        let mut this = Self {
            registry: Registry::with_prefix("turnkeep"),
            requests: Family::default(),
            records: Family::default(),
            readers: Family::default(),
            reader_lag: seconds(),
            commit_time: seconds(),
            commit_size: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            runs: Family::default(),
            runs_ended: Family::default(),
            queue_age: Gauge::default(),
            sessions: Gauge::default(),
        };
        this.register();
        this
    }

    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register("http_requests", "Answers by route and status", self.requests.clone());
        registry.register("records", "Records stored durably", self.records.clone());
        registry.register("live_readers", "Open event streams", self.readers.clone());
        let (unit, lag) = (Unit::Seconds, self.reader_lag.clone());
        registry.register_with_unit(
            "reader_lag",
            "From a record's time to its way to a reader at the live edge",
            unit,
            lag,
        );
        let (unit, time) = (Unit::Seconds, self.commit_time.clone());
        registry.register_with_unit("commit", "How long the store took to make a group durable", unit, time);
        registry.register("commit_changes", "How many changes shared a commit", self.commit_size.clone());
        registry.register("runs", "Live runs by state", self.runs.clone());
        registry.register("runs_ended", "Runs that ended, by how", self.runs_ended.clone());
        let (unit, age) = (Unit::Seconds, self.queue_age.clone());
        registry.register_with_unit("queue_age", "How long the oldest queued run has waited", unit, age);
        registry.register("sessions", "Sessions, whatever their state", self.sessions.clone());
    }

    /// Counts an answer.
    pub(crate) fn answered(&self, method: &http::Method, route: &str, status: http::StatusCode) {
        let request = Request { method: known(method), route: route.to_owned(), status: status.as_u16() };
        self.requests.get_or_create(&request).inc();
    }

    /// Counts what a commit will make durable.
    pub(crate) fn count(&self, changes: &[Change]) -> Counted<'_> {
        let n = |channel| {
            let is_it = |change: &&Change| matches!(change, Change::Record { channel: it, .. } if *it == channel);
            changes.iter().filter(is_it).count() as u64
        };
        let records = [ChannelName::In, ChannelName::Out].map(|channel| (channel, n(channel)));
        let ended = |change: &Change| if let Change::Run { row } = change { ended(&row.status) } else { None };
        let runs = changes.iter().filter_map(ended).collect();
        Counted { metrics: self, records, runs, n_changes: changes.len() }
    }

    /// Counts a reader for as long as the guard lives.
    pub(crate) fn reader(self: &Arc<Self>, channel: ChannelName) -> LiveReader {
        self.readers.get_or_create(&label(channel)).inc();
        LiveReader { metrics: self.clone(), channel }
    }

    /// Notes how long a record was on its way to a reader at the live edge.
    pub(crate) fn delivered(&self, lag: Duration) {
        self.reader_lag.observe(lag.as_secs_f64());
    }

    /// Writes everything as text, with the runs as they stand.
    pub(crate) fn text(&self, counts: RunCounts) -> String {
        let set = |gauge: &Gauge, n: usize| _ = gauge.set(i64::try_from(n).unwrap_or(i64::MAX));
        set(&self.runs.get_or_create(&State { state: "queued" }), counts.queued);
        set(&self.runs.get_or_create(&State { state: "leased" }), counts.leased);
        set(&self.sessions, counts.sessions);
        self.queue_age.set(counts.queue_age.as_secs_f64());
        let mut text = String::new();
        text::encode(&mut text, &self.registry).expect("a String takes everything");
        text
    }
}

/// What a commit holds, to be counted once it is durable.
#[derive(Debug)]
#[must_use = "nothing is counted before it is durable"]
pub(crate) struct Counted<'a> {
    metrics: &'a Metrics,
    records: [(ChannelName, u64); 2],
    runs: Vec<&'static str>,
    n_changes: usize,
}

impl Counted<'_> {
    /// Counts it; `took` is how long the store needed.
    pub(crate) fn became_durable(self, took: Duration) {
        self.metrics.commit_time.observe(took.as_secs_f64());
        self.metrics.commit_size.observe(f64::from(u32::try_from(self.n_changes).unwrap_or(u32::MAX)));
        for (channel, n) in self.records {
            self.metrics.records.get_or_create(&label(channel)).inc_by(n);
        }
        for state in self.runs {
            self.metrics.runs_ended.get_or_create(&State { state }).inc();
        }
    }
}

/// An open reader, counted.
#[derive(Debug)]
pub(crate) struct LiveReader {
    metrics: Arc<Metrics>,
    channel: ChannelName,
}

impl LiveReader {
    /// Notes how long a record was on its way.
    pub(crate) fn delivered(&self, lag: Duration) {
        self.metrics.delivered(lag);
    }
}

impl Drop for LiveReader {
    fn drop(&mut self) {
        self.metrics.readers.get_or_create(&label(self.channel)).dec();
    }
}

fn label(channel: ChannelName) -> Channel {
    Channel { channel: channel.as_str() }
}

/// Names a method; a made-up one gets no series of its own.
fn known(method: &http::Method) -> &'static str {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    METHODS.into_iter().find(|it| *it == method.as_str()).unwrap_or("other")
}

fn ended(status: &RunStatus) -> Option<&'static str> {
    match status {
        RunStatus::Queued | RunStatus::Leased { .. } => None,
        RunStatus::Completed => Some("completed"),
        RunStatus::Failed { .. } => Some("failed"),
        RunStatus::Crashed { .. } => Some("crashed"),
        RunStatus::Cancelled { .. } => Some("cancelled"),
    }
}

#[cfg(test)]
mod tests {
    use turnkeep_protocol::{NewRecord, SeqNum, SessionId};

    use super::*;
    use crate::channel::Channel as Log;

    fn line(text: &str, name: &str) -> Option<String> {
        text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
    }

    #[test]
    fn what_happened_is_counted_and_what_is_is_asked_for() {
        let metrics = Arc::new(Metrics::new());
        let record = Log::default().place(
            NewRecord { body: "{}".to_owned(), headers: Vec::new() },
            0,
            turnkeep_host::Timestamp::from_millis(1),
        );
        let (session, channel) = (SessionId::new("session_1"), ChannelName::Out);
        let stored = Change::Record { session: session.clone(), channel, record, part: None, writer: None };
        let changes = [stored, Change::Trim { session, first: SeqNum::new(0) }];

        metrics.count(&changes).became_durable(Duration::from_millis(3));
        let _dropped = metrics.count(&changes);
        metrics.answered(&http::Method::GET, "/api/v1/sessions", http::StatusCode::OK);
        metrics.answered(&http::Method::from_bytes(b"BREW").unwrap(), "", http::StatusCode::NOT_FOUND);
        let reader = metrics.reader(ChannelName::In);
        let counts = RunCounts { queued: 2, leased: 1, queue_age: Duration::from_millis(1500), sessions: 4 };
        let text = metrics.text(counts);

        for (name, want) in [
            (r#"turnkeep_records_total{channel="out"}"#, "1"),
            (r#"turnkeep_live_readers{channel="in"}"#, "1"),
            (r#"turnkeep_http_requests_total{method="GET",route="/api/v1/sessions",status="200"}"#, "1"),
            (r#"turnkeep_http_requests_total{method="other",route="",status="404"}"#, "1"),
            (r#"turnkeep_runs{state="queued"}"#, "2"),
            (r#"turnkeep_runs{state="leased"}"#, "1"),
            ("turnkeep_queue_age_seconds", "1.5"),
            ("turnkeep_sessions", "4"),
            ("turnkeep_commit_seconds_count", "1"),
            ("turnkeep_commit_changes_sum", "2.0"),
        ] {
            assert_eq!(line(&text, name).as_deref(), Some(want), "{name} in\n{text}");
        }
        drop(reader);
        let text = metrics.text(RunCounts::default());
        assert_eq!(line(&text, r#"turnkeep_live_readers{channel="in"}"#).as_deref(), Some("0"));
    }
}
