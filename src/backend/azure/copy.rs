//! Copies within the account, which the service makes by itself.
//!
//! Within one account a copy is done when it is answered, in practice; the service may as well do it later. Until then, and
//! where it failed, an empty blob with the new metadata is at the name: whoever reads it there meanwhile sees it.

use std::time::Duration;

use azure_storage_blob::models::{
    BlobClientGetPropertiesResultHeaders, BlobClientSetPropertiesOptions, BlobClientStartCopyFromUrlOptions,
    BlobClientStartCopyFromUrlResultHeaders, CopyStatus,
};
use tokio::time::{Instant, sleep, timeout};

use super::Azure;
use super::attributes::{spelled, with_headers};
use super::error::fault;
use super::told::{Condition, etag_of, told};
use crate::backend::service::{Answer, CONTENT_TYPE, Fault, Only, Spot, Target, Told};
use crate::model::ContentHeaders;

const DOING: &str = "copying a blob";
/// Between two looks at a copy.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For one look.
const LOOK_PATIENCE: Duration = Duration::from_secs(10);
/// For the service to copy within itself, before it answers and once more behind that.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

impl Azure {
    pub(super) async fn copy_blob(&self, from: &Spot, seen: &Told, to: &Target, only: Only<'_>) -> Answer<()> {
        let Condition { if_match, if_none_match } = Condition::of(DOING, only)?;
        let options = BlobClientStartCopyFromUrlOptions {
            if_match,
            if_none_match,
            source_if_match: Some(etag_of(DOING, seen)?),
            metadata: Some(spelled(&to.metadata)),
            ..BlobClientStartCopyFromUrlOptions::default()
        };
        let source = self.client.blob(from)?.url().to_string();
        let blob = self.client.blob(&to.spot)?;
        let started = timeout(PATIENCE, blob.start_copy_from_url(source, Some(options))).await;
        let answer = started.map_err(|_| Fault::late(DOING))?.map_err(fault(DOING))?;
        match (answer.copy_status().map_err(fault(DOING))?, answer.copy_id().map_err(fault(DOING))?) {
            (Some(CopyStatus::Pending), Some(id)) => self.await_copy(&to.spot, &id).await?,
            (Some(CopyStatus::Success), _) => {}
            (status, _) => return Err(Fault::nonsense(DOING, format!("a new copy is {status:?}"))),
        }
        // What others said may be nothing that we would say.
        let said = seen.attributes();
        let there = if seen.is_foreign() { said.headers } else { said.plain_headers() };
        if typed(&to.headers) == typed(&there) { Ok(()) } else { self.set_headers(to).await }
    }

    /// A copy has the headers of its source. Others are asked for at a write's own name alone, to which nobody else comes.
    async fn set_headers(&self, of: &Target) -> Answer<()> {
        let options = with_headers!(BlobClientSetPropertiesOptions, typed(&of.headers));
        let set = self.client.blob(&of.spot)?.set_properties(Some(options)).await;
        set.map(drop).map_err(fault("setting headers of a blob"))
    }

    /// Looks at a copy until it is done, and gives it up when it takes too long.
    async fn await_copy(&self, at: &Spot, id: &str) -> Answer<()> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            sleep(LOOK_EVERY).await;
            let looked = timeout(LOOK_PATIENCE, self.look_at_copy(at, id)).await;
            match looked.unwrap_or_else(|_| Err(Fault::late(DOING))) {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(fault) if fault.is_silence() || fault.is(&["ServerBusy", "InternalError", "OperationTimedOut"]) => {}
                Err(fault) => return Err(fault),
            }
        }
        // Whether that comes in time or not: the copy's end is unknown.
        let _ = timeout(LOOK_PATIENCE, self.abort_copy(at, id)).await;
        Err(Fault::late(DOING))
    }

    /// What was aborted is as empty as what failed, and goes like it.
    pub(super) async fn abort_copy(&self, at: &Spot, id: &str) -> Answer<bool> {
        self.client.blob(at)?.abort_copy(id, None).await.map_err(fault(DOING))?;
        self.look_at_copy(at, id).await
    }

    /// Whether a copy is done.
    async fn look_at_copy(&self, at: &Spot, id: &str) -> Answer<bool> {
        let answer = self.client.blob(at)?.get_properties(None).await.map_err(fault(DOING))?;
        if answer.copy_id().map_err(fault(DOING))?.as_deref() != Some(id) {
            return Err(Fault::nonsense(DOING, "something else came to the name while it was copied"));
        }
        match answer.copy_status().map_err(fault(DOING))? {
            Some(CopyStatus::Success) => Ok(true),
            Some(CopyStatus::Pending) => Ok(false),
            status => {
                let reason = answer.copy_status_description().map_err(fault(DOING))?.unwrap_or_default();
                let empty = told(DOING, answer.headers())?;
                self.remove_blob(at, Only::Seen(&empty)).await?;
                let detail = format!("the copy ended as {status:?}: {reason}");
                Err(Fault { doing: DOING, status: Some(503), code: String::new(), detail })
            }
        }
    }
}

/// Headers as they are when nobody said the type.
fn typed(headers: &ContentHeaders) -> ContentHeaders {
    let content_type = headers.content_type.clone().or_else(|| Some(CONTENT_TYPE.to_owned()));
    ContentHeaders { content_type, ..headers.clone() }
}
