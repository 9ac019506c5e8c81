//! Whether a person must agree before a call runs.

use std::sync::Arc;

use futures::future::BoxFuture;
use serde_json::Value;

use super::ToolContext;
use crate::error::HookError;

type Judge = Arc<dyn Fn(Value, ToolContext) -> BoxFuture<'static, Result<bool, HookError>> + Send + Sync>;

/// When a person is asked.
#[derive(Clone)]
pub(super) enum Approval {
    Never,
    Always,
    When(Judge),
}

impl Approval {
    pub(super) async fn asks(&self, input: Value, ctx: ToolContext) -> Result<bool, HookError> {
        match self {
            Self::Never => Ok(false),
            Self::Always => Ok(true),
            Self::When(judge) => judge(input, ctx).await,
        }
    }
}
