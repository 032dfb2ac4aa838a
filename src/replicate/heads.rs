//! How this site stands, as it tells another.

use crate::model::SiteNumber;
use crate::peer::{Heads, PROTOCOL};
use crate::site::{Result, Site};

/// What `site` says of itself to the neighbour `to`.
pub async fn heads_for(site: &Site, to: SiteNumber) -> Result<Heads> {
    let seq = *site.status().told().borrow();
    let received = site.neighbours().get(to).and_then(|neighbour| neighbour.seen().received);
    Ok(Heads {
        protocol: PROTOCOL,
        site: site.id().number,
        name: site.id().name.clone(),
        incarnation: site.status().facts().incarnation,
        state: site.state(),
        settled: site.settled_mark(seq).await?,
        seq,
        clock_ms: site.clock().wall_ms(),
        stamped: site.clock().last(),
        received,
        tells: site.neighbours().in_scope().contains(&to),
        dirty: site.is_dirty(to).await?,
    })
}
