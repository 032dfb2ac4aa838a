//! A site that was wholly compared while this one gets its data back: what it had and this one has not stands in `work`, and
//! a list is complete once all of it is here.

use std::sync::Arc;

use super::Result;
use super::kept::Lives;
use crate::model::{SiteNumber, Unit};
use crate::replicate::is_given_up;
use crate::site::{self, Neighbour, Site};
use crate::status::Page;
use crate::status::tables::{Buckets, Hint, Work};

/// Rows read at once.
const PAGE_ROWS: usize = 1_000;

/// What is awaited of a site.
#[derive(Debug)]
pub(super) struct Arriving {
    pub with: Arc<Neighbour>,
    pub lives: Lives,
    /// Up to here everything has arrived: what comes later into the work before it came by way of the log.
    arrived: Option<Unit>,
}

impl Arriving {
    pub fn new(with: Arc<Neighbour>, lives: Lives) -> Self {
        Self { with, lives, arrived: None }
    }

    /// Whether something that the site told of is not here in any state, and may still come.
    pub async fn lacks_something(&mut self, site: &Site) -> Result<bool> {
        loop {
            let page: Page<Work> = site.status().page(&(), self.arrived.as_ref(), PAGE_ROWS).await.map_err(site::Error::from)?;
            for (unit, stored) in page.rows {
                if is_missing(site, &unit, &stored.row, self.with.id.number).await? {
                    return Ok(true);
                }
                self.arrived = Some(unit);
            }
            if !page.more {
                return Ok(false);
            }
        }
    }
}

async fn is_missing(site: &Site, unit: &Unit, hint: &Hint, from: SiteNumber) -> Result<bool> {
    if !hint.sources.contains(&from) || is_given_up(hint, site.clock().wall_ms()) {
        return Ok(false);
    }
    let status = site.status();
    let is_here = match unit {
        Unit::Object { object, slot } => status.unit(object, *slot).await.map_err(site::Error::from)?.is_some(),
        Unit::Bucket(bucket) => status.get::<Buckets>(bucket).await.map_err(site::Error::from)?.is_some(),
    };
    Ok(!is_here)
}
