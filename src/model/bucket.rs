//! A bucket: when it was made, by whom, and one register for each subresource.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::acl::Acl;
use super::documents::{Cors, Ownership, PublicAccess};
use super::identity::Tags;
use super::lifecycle::Lifecycle;
use super::lock::ObjectLock;
use super::stamp::Stamp;

/// The register that holds [`Versioning`].
const VERSIONING: &str = "versioning";
/// The register that holds [`Lifecycle`].
const LIFECYCLE: &str = "lifecycle";
/// The register that holds [`ObjectLock`].
const OBJECT_LOCK: &str = "object-lock";
/// The register that holds the bucket's own [`Acl`].
const ACL: &str = "acl";
const CORS: &str = "cors";
const OWNERSHIP: &str = "ownership";
const PUBLIC_ACCESS: &str = "public-access";
const TAGS: &str = "tags";

/// Whether writes make versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// They never did.
    #[default]
    Off,
    /// Each write is a version of its own.
    Enabled,
    /// Writes replace the null version; the others stay.
    Suspended,
}

impl Versioning {
    fn name(self) -> &'static str {
        match self {
            Self::Off => "",
            Self::Enabled => "Enabled",
            Self::Suspended => "Suspended",
        }
    }
}

/// What a site knows of a bucket. The grave of a bucket is its row with `deleted` set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    pub created: Stamp,
    pub deleted: Option<Stamp>,
    pub owner: String,
    pub region: String,
    /// Subresource name → its document and stamp, by name.
    pub registers: Vec<(String, Stamp, Vec<u8>)>,
}

impl Bucket {
    /// Whether the bucket exists.
    pub fn is_live(&self) -> bool {
        self.deleted.is_none()
    }

    /// Whether writes make versions.
    pub fn versioning(&self) -> Versioning {
        // Two sites may have switched it off and locked it: what is locked stays.
        if self.object_lock().is_some() {
            return Versioning::Enabled;
        }
        let all = [Versioning::Enabled, Versioning::Suspended];
        let document = self.register(VERSIONING).unwrap_or_default();
        all.into_iter().find(|state| state.name().as_bytes() == document).unwrap_or_default()
    }

    /// The bucket with this written as its versioning.
    pub fn with_versioning(self, versioning: Versioning, stamp: Stamp) -> Self {
        self.with_register(VERSIONING, stamp, versioning.name().into())
    }

    /// Whether versions can be locked, and how they are without being told.
    pub fn object_lock(&self) -> Option<ObjectLock> {
        self.register(OBJECT_LOCK).and_then(ObjectLock::parse)
    }

    /// The bucket with this lock, which it keeps: with it come versions.
    pub fn with_object_lock(self, lock: ObjectLock, stamp: Stamp) -> Self {
        self.with_versioning(Versioning::Enabled, stamp).with_register(OBJECT_LOCK, stamp, lock.document().into())
    }

    /// What goes by itself, and when. Rules that are not understood expire nothing.
    pub fn lifecycle(&self) -> Lifecycle {
        let document = self.register(LIFECYCLE).unwrap_or_default();
        serde_json::from_slice(document).unwrap_or_default()
    }

    /// The bucket with these rules; none removes them.
    pub fn with_lifecycle(self, lifecycle: &Lifecycle, stamp: Stamp) -> Self {
        let document = match lifecycle.rules.is_empty() {
            true => Vec::new(),
            false => serde_json::to_vec(lifecycle).expect("rules are plain values"),
        };
        self.with_register(LIFECYCLE, stamp, document)
    }

    /// Who may do what with the bucket itself.
    pub fn acl(&self) -> Acl {
        // Of two sites that made the bucket at once one was overruled, with what its owner said.
        let own = self.document(ACL).filter(|acl: &Acl| acl.owner == self.owner);
        own.unwrap_or_else(|| Acl::private(&self.owner))
    }

    pub fn with_acl(self, acl: &Acl, stamp: Stamp) -> Self {
        let is_default = *acl == Acl::private(&self.owner);
        self.with_document(ACL, stamp, Some(acl).filter(|_| !is_default))
    }

    /// `None` is a bucket without CORS.
    pub fn cors(&self) -> Option<Cors> {
        self.document(CORS)
    }

    pub fn with_cors(self, cors: Option<&Cors>, stamp: Stamp) -> Self {
        self.with_document(CORS, stamp, cors)
    }

    /// `None` where nothing was said; what counts then is the default.
    pub fn ownership(&self) -> Option<Ownership> {
        self.document_or(OWNERSHIP, Ownership::BucketOwnerEnforced)
    }

    pub fn with_ownership(self, ownership: Option<Ownership>, stamp: Stamp) -> Self {
        self.with_document(OWNERSHIP, stamp, ownership.as_ref())
    }

    /// Whether access control lists count.
    pub fn has_acls(&self) -> bool {
        self.ownership() != Some(Ownership::BucketOwnerEnforced)
    }

    /// `None` where nothing was said: nothing is kept from strangers.
    pub fn public_access(&self) -> Option<PublicAccess> {
        let closed = PublicAccess { block_acls: true, ignore_acls: true, block_policy: true, restrict: true };
        self.document_or(PUBLIC_ACCESS, closed)
    }

    pub fn with_public_access(self, access: Option<&PublicAccess>, stamp: Stamp) -> Self {
        self.with_document(PUBLIC_ACCESS, stamp, access)
    }

    /// The bucket's own tags; `None` where it has none.
    pub fn tags(&self) -> Option<Tags> {
        self.document(TAGS)
    }

    pub fn with_tags(self, tags: Option<&Tags>, stamp: Stamp) -> Self {
        self.with_document(TAGS, stamp, tags)
    }

    /// A register that holds JSON.
    fn document<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        serde_json::from_slice(self.register(name)?).ok()
    }

    /// The same of a register that shuts something: one that a newer site wrote and is not understood shuts all of it.
    fn document_or<T: DeserializeOwned>(&self, name: &str, shut: T) -> Option<T> {
        self.register(name).map(|json| serde_json::from_slice(json).unwrap_or(shut))
    }

    fn with_document<T: Serialize>(self, name: &str, stamp: Stamp, document: Option<&T>) -> Self {
        let json = document.map(|document| serde_json::to_vec(document).expect("it has no maps and no floats"));
        self.with_register(name, stamp, json.unwrap_or_default())
    }

    /// The document of a subresource; `None` where there is none, or no longer: an empty one was removed.
    pub fn register(&self, name: &str) -> Option<&[u8]> {
        let register = self.registers.iter().find(|(known, ..)| known == name);
        register.map(|(_, _, document)| document.as_slice()).filter(|document| !document.is_empty())
    }

    /// The bucket with this written as a subresource's document; an empty one removes it everywhere.
    pub fn with_register(mut self, name: &str, stamp: Stamp, document: Vec<u8>) -> Self {
        self.registers.retain(|(known, ..)| known != name);
        self.registers.push((name.to_owned(), stamp, document));
        self.registers.sort();
        self
    }

    /// The greatest stamp in it: the next one drawn for this bucket must be greater.
    pub fn greatest(&self) -> Stamp {
        let registers = self.registers.iter().map(|(_, stamp, _)| *stamp);
        registers.chain(self.deleted).fold(self.created, Stamp::max)
    }

    /// What both sides together know: the later of making and deleting decides, then each register for itself.
    /// Registers belong to the bucket they were written on: one made anew begins without any. One that was deleted keeps its
    /// own, which nobody reads, so that states merge to the same in whatever order they come, and nothing told is forgotten.
    pub fn merge(&self, other: &Self) -> Self {
        let made = if self.created >= other.created { self } else { other };
        let deleted = self.deleted.max(other.deleted).filter(|deleted| *deleted > made.created);
        let mut registers: Vec<(String, Stamp, Vec<u8>)> = Vec::new();
        let both = self.registers.iter().chain(&other.registers);
        for register in both.filter(|(_, stamp, _)| *stamp > made.created) {
            match registers.iter_mut().find(|known| known.0 == register.0) {
                Some(known) if known.1 < register.1 => known.clone_from(register),
                Some(_) => {}
                None => registers.push(register.clone()),
            }
        }
        registers.sort();
        Self { created: made.created, deleted, owner: made.owner.clone(), region: made.region.clone(), registers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Incarnation, SiteNumber, StampParts};

    fn stamp(ms: u64) -> Stamp {
        Stamp::new(StampParts { ms, tick: 0, site: SiteNumber(1), incarnation: Incarnation(1), rank: 0 })
    }

    fn made(ms: u64) -> Bucket {
        let (owner, region) = (format!("owner-{ms}"), "us-east-1".to_owned());
        Bucket { created: stamp(ms), deleted: None, owner, region, registers: Vec::new() }
    }

    fn with(bucket: Bucket, name: &str, ms: u64) -> Bucket {
        Bucket { registers: vec![(name.into(), stamp(ms), vec![u8::try_from(ms).unwrap()])], ..bucket }
    }

    #[test]
    fn the_later_of_making_and_deleting_decides() {
        let deleted = Bucket { deleted: Some(stamp(5)), ..made(1) };
        assert!(!made(1).merge(&deleted).is_live());
        assert!(deleted.merge(&made(6)).is_live());
        assert!(!made(3).merge(&deleted).is_live());
        assert_eq!(deleted.merge(&made(6)), made(6).merge(&deleted));
    }

    #[test]
    fn registers_written_at_two_sites_are_both_kept() {
        let (cors, policy) = (with(made(1), "cors", 5), with(made(1), "policy", 6));
        let both = cors.merge(&policy);
        assert_eq!(both, policy.merge(&cors));
        assert_eq!(both.registers.len(), 2);
        assert_eq!(both.greatest(), stamp(6));
        assert_eq!(with(made(1), "cors", 7).merge(&cors).registers[0].1, stamp(7));
    }

    #[test]
    fn versioning_is_a_register_like_any_other() {
        let enabled = made(1).with_versioning(Versioning::Enabled, stamp(2));
        assert_eq!((made(1).versioning(), enabled.versioning()), (Versioning::Off, Versioning::Enabled));
        let suspended = enabled.clone().with_versioning(Versioning::Suspended, stamp(3));
        assert_eq!(enabled.merge(&suspended).versioning(), Versioning::Suspended);
        assert_eq!(suspended.register("cors"), None);
        assert_eq!(with(made(1), "cors", 5).with_register("cors", stamp(6), Vec::new()).register("cors"), None);
    }

    #[test]
    fn documents_are_kept_and_removed_as_registers() {
        let bucket = made(1);
        assert_eq!(bucket.acl(), Acl::private("owner-1"));
        assert!(bucket.has_acls() && bucket.cors().is_none() && bucket.public_access().is_none() && bucket.tags().is_none());
        let shut = Acl { grants: Vec::new(), ..bucket.acl() };
        let tags = vec![("a".to_owned(), "1".to_owned())];
        let kept = bucket
            .with_acl(&shut, stamp(2))
            .with_cors(Some(&Cors::default()), stamp(3))
            .with_ownership(Some(Ownership::BucketOwnerEnforced), stamp(4))
            .with_public_access(Some(&PublicAccess::default()), stamp(5))
            .with_tags(Some(&tags), stamp(6));
        assert_eq!((kept.acl(), kept.cors(), kept.tags()), (shut, Some(Cors::default()), Some(tags)));
        assert!(!kept.has_acls() && kept.public_access() == Some(PublicAccess::default()));
        let removed = kept.clone().with_ownership(None, stamp(7)).with_cors(None, stamp(8));
        let both = kept.merge(&removed);
        assert!(both.has_acls() && both.cors().is_none() && both.tags().is_some());
    }

    #[test]
    fn a_list_of_another_owner_opens_nothing_and_what_is_not_understood_shuts() {
        let other = Acl::private("somebody-else");
        assert_eq!(made(1).with_acl(&other, stamp(2)).acl(), Acl::private("owner-1"));
        let newer = made(1).with_register(PUBLIC_ACCESS, stamp(2), b"{\"more\": 1".to_vec()).with_register(
            OWNERSHIP,
            stamp(2),
            b"\"Unheard\"".to_vec(),
        );
        assert!(!newer.has_acls() && newer.public_access().is_some_and(|access| access.ignore_acls && access.restrict));
    }

    #[test]
    fn states_of_a_bucket_merge_alike_in_whatever_order_they_come() {
        let live = with(made(1), "cors", 7);
        let dead = Bucket { deleted: Some(stamp(5)), ..made(1) };
        let anew = made(6);
        let one = live.merge(&dead).merge(&anew);
        assert_eq!(one, anew.merge(&live).merge(&dead));
        assert!(live.merge(&dead).greatest() >= live.greatest(), "what was told is reached");
    }

    #[test]
    fn a_bucket_made_anew_begins_without_registers() {
        assert_eq!(with(made(1), "cors", 5).merge(&made(6)).registers, []);
    }
}
