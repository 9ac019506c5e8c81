//! Writing one record to `in`: one logical send, one part id, however many attempts (C-18…C-21).

use http::HeaderName;
use turnkeep_protocol::session_api::Appended;
use turnkeep_protocol::{ChannelName, PartId, SeqNum};

use crate::Error;
use crate::api::{Api, Call, Secret, channel_path};
use crate::route::{Endpoint, FetchContext, HeadersFor};

/// One record to append: everything that stays the same over its attempts.
#[derive(Clone)]
pub(crate) struct Append {
    pub(crate) session: String,
    pub(crate) part_id: PartId,
    /// The record itself, not wrapped (C-11).
    pub(crate) body: Vec<u8>,
    /// The caller's own headers.
    pub(crate) headers: HeadersFor,
}

impl Append {
    /// Posts the record; gives its place, which older servers leave out for duplicates (C-19).
    ///
    /// Network failures and failing servers are tried again under the same part id; refusals surface at once.
    pub(crate) async fn post(&self, api: &Api, token: &Secret) -> Result<Option<SeqNum>, Error> {
        let path = format!("{}/append", channel_path(&self.session, ChannelName::In));
        let context = FetchContext { endpoint: Endpoint::In, chat_id: self.session.clone() };
        let extra = (self.headers)(&context);
        let call = Call::post(context, path, self.body.clone())
            .bearer(token)
            .header(HeaderName::from_static("x-trigger-source"), "sdk")
            .header(HeaderName::from_static("x-part-id"), self.part_id.as_str())
            .under(&extra);
        let response = api.send(&call).await?;
        // A success whose body cannot be read is still a success: the record is stored.
        Ok(serde_json::from_slice::<Appended>(response.body()).ok().and_then(|appended| appended.seq))
    }
}
