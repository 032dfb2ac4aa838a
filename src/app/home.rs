//! Which of several stores has the site's notes: the one that has them, whatever routes say by now.
//!
//! They say in which life the site is and what it came to, so nothing is served before they were read. Only a site that has
//! none anywhere begins them, which nobody knows while a store is away.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::sleep;
use tracing::warn;

use super::waiting::WaitingRoom;
use crate::backend::Backend;
use crate::backend::awaited::Awaited;
use crate::journal::{Age, Refused, age_of_notes};
use crate::model::SiteId;

/// Between two looks for notes.
const LOOK: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 2_000 });

/// A store at a start.
#[derive(Debug)]
pub struct Opened {
    pub name: String,
    /// Of this machine: what ails it is for whoever starts the site.
    pub is_directory: bool,
    pub store: Store,
}

#[derive(Debug)]
pub enum Store {
    There(Arc<dyn Backend>),
    Away(Arc<Awaited>),
}

impl Opened {
    /// The store, or what stands for it until it is there.
    pub fn backend(&self) -> Arc<dyn Backend> {
        match &self.store {
            Store::There(store) => store.clone(),
            Store::Away(awaited) => awaited.there().unwrap_or_else(|| awaited.clone()),
        }
    }

    fn fault(&self) -> Option<String> {
        match &self.store {
            Store::There(_) => None,
            Store::Away(awaited) => awaited.fault(),
        }
    }
}

/// What was found in stores, which go by their place in the list of them.
#[derive(Debug, Default)]
struct Look {
    notes: Vec<(usize, Age)>,
    /// Who may have some, and why that is not known.
    away: Vec<(usize, String)>,
}

/// Finds the store of the notes, in which `id` is the site. Waits as long as it may be one that is away. `ranked`: the stores in
/// the order in which routes lead to them.
pub async fn find(stores: &[Opened], ranked: &[usize], id: &SiteId, room: &mut WaitingRoom<'_>) -> Result<usize> {
    loop {
        let look = look(stores, id).await?;
        if let Some(home) = look.home(stores, ranked) {
            return Ok(home);
        }
        let reason =
            |(at, fault): &(usize, String)| format!("the store {}, which may have this site's notes: {fault}", stores[*at].name);
        if let Some(away) = look.away.iter().find(|(at, _)| stores[*at].is_directory) {
            bail!("cannot start without {}", reason(away));
        }
        room.wait_for(look.away.iter().map(reason).collect())?;
        sleep(LOOK).await;
    }
}

async fn look(stores: &[Opened], id: &SiteId) -> Result<Look> {
    let mut look = Look::default();
    for (at, opened) in stores.iter().enumerate() {
        if let Some(fault) = opened.fault() {
            look.away.push((at, fault));
            continue;
        }
        match age_of_notes(&*opened.backend(), id).await {
            Ok(age) => look.notes.extend(age.map(|age| (at, age))),
            Err(Refused::Store(err)) => look.away.push((at, err.to_string())),
            Err(err) => return Err(err).with_context(|| format!("the store {} cannot be used", opened.name)),
        }
    }
    Ok(look)
}

impl Look {
    /// `None` while nobody knows.
    fn home(&self, stores: &[Opened], ranked: &[usize]) -> Option<usize> {
        let rank = |at: usize| ranked.iter().position(|other| *other == at);
        let newest = self.notes.iter().max_by_key(|(at, age)| (*age, std::cmp::Reverse(rank(*at))));
        let Some((home, _)) = newest else {
            return if self.away.is_empty() { ranked.first().copied() } else { None };
        };
        if self.notes.len() > 1 {
            let names: Vec<_> = self.notes.iter().map(|(at, _)| stores[*at].name.as_str()).collect();
            let (store, all) = (&stores[*home].name, names.join(", "));
            warn!(store, all, "several stores have notes of this site: the newest are taken, and kept where they are");
        }
        Some(*home)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::alias::{Aliases, Rule};
    use crate::backend::memory::Memory;
    use crate::model::{BucketName, SiteNumber};

    fn paris() -> SiteId {
        SiteId { name: "paris".into(), number: SiteNumber(1) }
    }

    fn there(name: &str, store: &Arc<Memory>) -> Opened {
        Opened { name: name.to_owned(), is_directory: false, store: Store::There(store.clone()) }
    }

    fn away(name: &str) -> Opened {
        let open = Arc::new(|| Box::pin(std::future::pending()) as _);
        let awaited = Awaited::new(name.to_owned(), "nobody answers".to_owned(), open, 7);
        Opened { name: name.to_owned(), is_directory: false, store: Store::Away(Arc::new(awaited)) }
    }

    /// As a site leaves it that came to this commit.
    async fn noted(revision: u64) -> Arc<Memory> {
        let (store, archived) = (Memory::new(), r#"{"incarnation":1,"revision":0,"named":0,"ms":0}"#);
        let owner = format!(
            r#"{{"version":1,"site":1,"name":"paris","incarnation":1,"seq":0,"clock_ms":0,"revision":{revision},"archived":{archived}}}"#
        );
        store.write_note("owner", owner.into()).await.unwrap();
        Arc::new(store)
    }

    async fn home(stores: &[Opened], ranked: &[usize]) -> Option<usize> {
        look(stores, &paris()).await.unwrap().home(stores, ranked)
    }

    #[tokio::test]
    async fn notes_stay_where_they_are_whatever_routes_say() {
        let stores = [there("disk", &noted(5).await), there("cloud", &Arc::default())];
        for ranked in [[0, 1], [1, 0]] {
            assert_eq!(home(&stores, &ranked).await, Some(0));
        }
    }

    #[tokio::test]
    async fn a_site_without_notes_begins_them_where_routes_first_lead() {
        let stores = [there("disk", &Arc::default()), there("cloud", &Arc::default())];
        assert_eq!(home(&stores, &[1, 0]).await, Some(1));
    }

    #[tokio::test]
    async fn of_several_stores_with_notes_the_newest_are_taken() {
        let stores = [there("disk", &noted(5).await), there("cloud", &noted(6).await)];
        for ranked in [[0, 1], [1, 0]] {
            assert_eq!(home(&stores, &ranked).await, Some(1));
        }
        let stores = [there("disk", &noted(5).await), there("cloud", &noted(5).await)];
        assert_eq!(home(&stores, &[1, 0]).await, Some(1));
    }

    #[tokio::test]
    async fn no_second_notes_are_begun_while_a_store_is_away() {
        assert_eq!(home(&[there("disk", &Arc::default()), away("cloud")], &[0, 1]).await, None);
        assert_eq!(home(&[there("disk", &noted(5).await), away("cloud")], &[1, 0]).await, Some(0));
    }

    #[tokio::test]
    async fn what_is_noted_of_buckets_in_others_makes_no_home() {
        let cloud = Arc::new(Memory::new());
        let (buckets, bucket) = ("*".to_owned(), BucketName::new("corp").unwrap());
        let rules = vec![Rule { buckets, bucket, prefix: "{bucket}/".to_owned() }];
        let aliases = Aliases::new(cloud.clone(), rules).unwrap();
        aliases.create_bucket(&BucketName::new("one").unwrap()).await.unwrap();
        assert_eq!(cloud.list_notes().await.unwrap().len(), 1);
        assert_eq!(home(&[away("disk"), there("cloud", &cloud)], &[0, 1]).await, None);
    }

    #[tokio::test]
    async fn a_store_of_another_site_is_refused_wherever_it_stands() {
        let stores = [there("disk", &Arc::default()), there("cloud", &noted(5).await)];
        let berlin = SiteId { name: "berlin".into(), number: SiteNumber(2) };
        let refused = format!("{:#}", look(&stores, &berlin).await.unwrap_err());
        assert!(refused.contains("cloud") && refused.contains("belongs to site 1"), "{refused}");
    }
}
