//! What a path says, with a refusal of ours when it cannot be read (S-191).

use axum::extract::{FromRequestParts, Path};
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::reply::Fail;

/// The parameters of a path.
pub(super) struct Params<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Params<T> {
    type Rejection = Fail;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Fail> {
        let read = Path::from_request_parts(parts, state).await;
        read.map(|Path(params)| Self(params)).map_err(|rejection| Fail::params(&[], &rejection.body_text()))
    }
}
