//! [`TaskDrivers::serve`]: an agent as the task, served by the real worker to the end of one run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::oneshot;
use turnkeep_agent::{Agent, Checkpoint, Checkpoints, Place, Worker, WorkerOptions};
use turnkeep_model::LanguageModel;
use turnkeep_protocol::run_api::RunOutcome;

use super::TaskDrivers;
use super::session::{SECRET_KEY, base};

/// How long, in virtual time, a run may take.
const RUN_LIMIT: Duration = Duration::from_secs(24 * 3600);

impl TaskDrivers {
    /// Serves the session's next run with an agent, of turns or custom, until that run ends; tells how.
    ///
    /// The agent is told what the server knows of its run; choices of [`super::MockTask`] for ids and attempts are for other code.
    ///
    /// # Panics
    ///
    /// When the agent is not the context's task, or the run does not end within a virtual day.
    pub async fn serve(&self, agent: impl Into<Agent>, model: impl LanguageModel + 'static) -> RunOutcome {
        let agent = agent.into();
        let task_id = &self.shared.ctx.task_id;
        assert!(agent.id() == task_id, "the context is one of task `{task_id}`, not of `{}`", agent.id());
        let (tell, exited) = oneshot::channel();
        let worker = &self.shared.worker;
        let mut options = WorkerOptions::new(base().to_string(), SECRET_KEY, worker.id.clone())
            .checkpoints(Arc::new(Exit(Mutex::new(Some(tell)))));
        options.version.clone_from(&worker.version);
        let worker = Worker::new(self.shared.host.clone(), options).model(Arc::new(model)).agent(agent);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = worker.run_until(async move {
            // A test that is over stops it too.
            let _ = stopped.await;
        });
        let ending = async {
            let outcome = exited.await.expect("the worker outlives its run");
            // The worker may have ended by itself.
            let _ = stop.send(());
            outcome
        };
        let both = async { futures::join!(serving, ending) };
        let Ok((served, outcome)) = tokio::time::timeout(RUN_LIMIT, both).await else {
            panic!("the run did not end within {RUN_LIMIT:?}");
        };
        served.unwrap_or_else(|error| panic!("the worker failed: {error}"));
        outcome
    }
}

/// Hears of the first end of a run.
#[derive(Debug)]
struct Exit(Mutex<Option<oneshot::Sender<RunOutcome>>>);

impl Checkpoints for Exit {
    fn reach(&self, checkpoint: &Checkpoint) -> BoxFuture<'static, ()> {
        if let Place::BeforeExit(outcome) = &checkpoint.place
            && let Some(tell) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
        {
            // Nobody waits any more when the test is over.
            let _ = tell.send(outcome.clone());
        }
        Box::pin(std::future::ready(()))
    }
}
