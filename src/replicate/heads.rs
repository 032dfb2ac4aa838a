//! How this site stands, as it tells another.

use crate::model::{Seq, SiteNumber};
use crate::peer::{Heads, PROTOCOL, SiteState};
use crate::site::{Result, Site};
use crate::status::Page;
use crate::status::tables::{Dirty, Pending};

/// What `site` says of itself to the neighbour `to`.
pub async fn heads_for(site: &Site, to: SiteNumber) -> Result<Heads> {
    let seq = *site.status().told().borrow();
    let received = site.neighbours().get(to).and_then(|neighbour| neighbour.seen().received);
    Ok(Heads {
        protocol: PROTOCOL,
        site: site.id().number,
        name: site.id().name.clone(),
        incarnation: site.status().facts().incarnation,
        state: SiteState::Active,
        settled: settled(site, seq).await?,
        seq,
        clock_ms: site.clock().wall_ms(),
        received,
    })
}

/// Everything told up to here has reached everybody it was told to (protocol §12).
async fn settled(site: &Site, seq: Seq) -> Result<Seq> {
    let mut settled = seq;
    for target in site.neighbours().numbers() {
        let pending: Page<Pending> = site.status().page(&target, None, 1).await?;
        let dirty: Page<Dirty> = site.status().page(&target, None, 1_000).await?;
        let owed = pending.rows.first().map(|((_, seq), _)| *seq);
        let lost = dirty.rows.iter().map(|(_, stored)| stored.row).min();
        for unsettled in [owed, lost].into_iter().flatten() {
            settled = settled.min(Seq(unsettled.0.saturating_sub(1)));
        }
    }
    Ok(settled)
}
