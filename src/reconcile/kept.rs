//! What is remembered of comparisons between starts.

use serde::{Deserialize, Serialize};

use super::Result;
use super::run::{Party, Place};
use crate::site::{self, Site};
use crate::status::{Checkpoint, Commit, ReadError};

/// What is remembered of a party.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// In which lives it was last compared wholly; none yet is zero.
    pub lives: Lives,
    /// When that was, milliseconds since 1970.
    pub finished_ms: u64,
    pub unfinished: Option<Unfinished>,
}

/// Which data is compared: data that began anew knows nothing of what the one before was equal to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lives {
    /// This site's incarnation.
    pub here: u32,
    /// The epoch of the other site: how often it was met in another life.
    pub there: u64,
}

/// A run that did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Unfinished {
    lives: Lives,
    place: Place,
}

impl Kept {
    pub async fn load(site: &Site, party: Party) -> Result<Self> {
        match checkpoint(party).read(site.status()).await {
            Ok(known) => Ok(known.unwrap_or_default()),
            // One that cannot be read costs a comparison.
            Err(ReadError::Row { .. }) => Ok(Self::default()),
            Err(err) => Err(site::Error::from(err).into()),
        }
    }

    pub async fn save(&self, site: &Site, party: Party) -> Result<()> {
        let commit = checkpoint(party).noted(Commit::new(), self);
        site.status().commit(commit).await.map_err(site::Error::from)?;
        Ok(())
    }

    /// Where a run goes on that compares the data of these lives.
    pub fn place_in(&self, lives: Lives) -> Option<Place> {
        self.unfinished.as_ref().filter(|unfinished| unfinished.lives == lives).map(|unfinished| unfinished.place.clone())
    }

    pub fn unfinished(self, lives: Lives, place: Place) -> Self {
        Self { unfinished: Some(Unfinished { lives, place }), ..self }
    }
}

/// Where [`Kept`] is.
fn checkpoint(party: Party) -> Checkpoint {
    let name = match party {
        Party::Store => "reconcile/store".into(),
        Party::Site(number) => format!("reconcile/{}", number.0),
    };
    Checkpoint { name, version: 3 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::BucketName;

    #[test]
    fn an_unfinished_run_of_other_data_is_not_gone_on_with() {
        let place = Place { bucket: BucketName::new("bucket").unwrap(), key: None };
        let lives = Lives { here: 3, there: 1 };
        let kept = Kept::default().unfinished(lives, place.clone());
        assert_eq!(kept.place_in(lives), Some(place));
        for other in [Lives { here: 4, ..lives }, Lives { there: 2, ..lives }] {
            assert_eq!(kept.place_in(other), None);
        }
    }
}
