//! A page of a listing, complete before the walk has come by: it imports the files that it has to show.

use futures::StreamExt;

use crate::backend::{self, Found};
use crate::model::{BucketName, Key, ObjectId};
use crate::site::error::Result;
use crate::site::{Site, shared};
use crate::status::ListQuery;

/// Files imported at once: those of one page.
const STRETCH: usize = 1_001;
/// Files passed over under one common prefix before the listing begins anew behind it: opening it costs about as much.
const PASSED_MAX: usize = 64;

/// Up to where the rows are complete, as far as a page of a query needs them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::site) enum Covered {
    /// Up to a key, that one included.
    Upto(Option<Key>),
    All,
}

impl Covered {
    /// The key that what is not covered comes behind.
    fn behind(&self) -> Option<&Key> {
        match self {
            Self::Upto(key) => key.as_ref(),
            Self::All => None,
        }
    }

    /// Whether a page of rows is all there is to show. `last`: the text of its last entry, where it says that more follow.
    pub fn is_enough(&self, last: Option<&str>) -> bool {
        match (self, last) {
            (Self::All, _) => true,
            (Self::Upto(Some(key)), Some(last)) => key.as_str() >= last,
            (Self::Upto(_), _) => false,
        }
    }
}

/// A stretch of the store's listing.
struct Stretch {
    found: Vec<Found>,
    /// Common prefixes, of each of which the first file is among those found: it stands for all under it.
    prefixes: Vec<String>,
    covered: Covered,
}

impl Site {
    /// Up to where the rows are complete already: to where the query begins, or the walk came.
    pub(in crate::site) async fn covered(&self, query: &ListQuery) -> Result<Covered> {
        let walked = match self.inner.imports.walked(&query.bucket) {
            _ if query.entries_max == 0 => return Ok(Covered::All),
            _ if self.is_shared(&query.bucket) => None,
            Some(import) => import.progress().walked.and_then(|walked| Key::new(&walked).ok()),
            None => return Ok(Covered::All),
        };
        let after = query.after.as_deref().and_then(|after| Key::new(after).ok());
        let covered = walked.max(after);
        let is_behind_prefix = covered.as_ref().is_some_and(|covered| covered.as_str() >= query.prefix.as_str());
        if is_behind_prefix || query.prefix.is_empty() {
            return Ok(Covered::Upto(covered));
        }
        self.import_from(&query.bucket, Key::new(&query.prefix).ok()).await
    }

    /// A listing begins behind a key: that one is looked for by itself.
    async fn import_from(&self, bucket: &BucketName, from: Option<Key>) -> Result<Covered> {
        let Some(key) = from else { return Ok(Covered::All) };
        self.imported(&ObjectId { bucket: bucket.clone(), key: key.clone() }).await?;
        Ok(Covered::Upto(Some(key)))
    }

    /// Imports what comes behind what is covered, about a page of it.
    pub(in crate::site) async fn cover(&self, query: &ListQuery, from: Covered) -> Result<Covered> {
        let begins = from.behind().cloned();
        let mut stretch = Stretch { found: Vec::new(), prefixes: Vec::new(), covered: from };
        while stretch.found.len() < STRETCH
            && let Covered::Upto(after) = stretch.covered.clone()
        {
            self.read_stretch(query, after.as_ref(), &mut stretch).await?;
        }
        if self.is_shared(&query.bucket) {
            let after = begins.as_ref().map(|key| key.as_str().to_owned()).max(query.after.clone());
            let Stretch { found, prefixes, covered } = &stretch;
            let along = shared::Stretch { found, prefixes, upto: covered.behind() };
            self.look_along(ListQuery { after, ..query.clone() }, along).await?;
        } else {
            self.import_all(&query.bucket, &stretch.found, None).await?;
        }
        self.stand_for(query, &stretch).await?;
        Ok(stretch.covered)
    }

    /// Reads on until the stretch is full, the listing ends, or a common prefix has too much under it.
    async fn read_stretch(&self, query: &ListQuery, after: Option<&Key>, stretch: &mut Stretch) -> Result<()> {
        let mut listing = self.inner.backend.list(&query.bucket, after);
        let mut passed = 0;
        while stretch.found.len() < STRETCH {
            let found = match listing.next().await.transpose() {
                Ok(Some(found)) if found.key.as_str().starts_with(&query.prefix) => found,
                Ok(_) | Err(backend::Error::NoSuchBucket) => {
                    stretch.covered = Covered::All;
                    return Ok(());
                }
                Err(err) => return Err(err.into()),
            };
            let key = found.key.clone();
            match rolled_up(query, &key) {
                Some(prefix) if stretch.prefixes.last().is_some_and(|last| last == prefix) => passed += 1,
                Some(prefix) => {
                    stretch.prefixes.push(prefix.to_owned());
                    stretch.found.push(found);
                    passed = 0;
                }
                None => stretch.found.push(found),
            }
            stretch.covered = Covered::Upto(Some(key));
            if passed > PASSED_MAX
                && let Some(prefix) = stretch.prefixes.last()
            {
                let behind = Key::behind_all(prefix).filter(|behind| behind.as_str().starts_with(&query.prefix));
                stretch.covered = self.import_from(&query.bucket, behind).await?;
                return Ok(());
            }
        }
        Ok(())
    }

    /// A file that has its grave already stands for nothing: then all under its prefix are imported.
    async fn stand_for(&self, query: &ListQuery, stretch: &Stretch) -> Result<()> {
        let object = |key: &Key| ObjectId { bucket: query.bucket.clone(), key: key.clone() };
        let firsts: Vec<_> = stretch.found.iter().filter(|found| rolled_up(query, &found.key).is_some()).collect();
        let objects: Vec<_> = firsts.iter().map(|found| object(&found.key)).collect();
        let known = self.inner.status.objects(&objects).await?;
        for (first, _) in firsts.into_iter().zip(known).filter(|(_, known)| known.is_none()) {
            let prefix = rolled_up(query, &first.key).unwrap_or_default();
            let mut listing = self.inner.backend.list(&query.bucket, Some(&first.key));
            while let Some(found) = listing.next().await.transpose()?
                && found.key.as_str().starts_with(prefix)
            {
                self.imported(&object(&found.key)).await?;
                if self.inner.status.object(&object(&found.key)).await?.is_some() {
                    break;
                }
            }
        }
        Ok(())
    }
}

/// The common prefix that a key is rolled up to.
fn rolled_up<'k>(query: &ListQuery, key: &'k Key) -> Option<&'k str> {
    let delimiter = query.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty())?;
    let rest = key.as_str().strip_prefix(query.prefix.as_str())?;
    let end = rest.find(delimiter)? + delimiter.len();
    key.as_str().get(..query.prefix.len() + end)
}
