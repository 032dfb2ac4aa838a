//! The suite every backend passes: plain functions, each of them one promise of [`Backend`], and a macro that makes a
//! test of each.
//!
//! It stands on nothing but the trait. A backend's own tests call [`passes_conformance`] with an expression that gives
//! a fresh store and whatever must outlive it.
#![cfg(test)]

pub(crate) mod bodies;
pub(crate) mod moves;
pub(crate) mod names;
pub(crate) mod notes;
pub(crate) mod own;
pub(crate) mod races;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, TryStreamExt};
use tokio::time::sleep;

use super::{Backend, Body, Error, Found, GetOptions, Kept, Place, Published, PutOptions, Result};
use crate::model::{Binding, BucketName, Key, Location, ObjectId};

pub(crate) type Store = Arc<dyn Backend>;

/// Between two questions about what waits before its store, and how many there are: a minute of a machine that does much else.
const LATER: Duration = Duration::from_millis(20);
const LATER_MAX: u32 = 3_000;

/// Makes one test of every promise: `passes_conformance!(expression)`, where the expression gives `(Arc<impl Backend>, guard)`.
macro_rules! passes_conformance {
    ($make:expr) => {
        crate::backend::conformance::passes_naming_conformance!($make);
        crate::backend::conformance::each! { [] $make;
            own::an_own_name_is_never_written_over,
            own::what_was_given_up_does_not_come_to_an_own_name,
            own::own_names_need_a_bucket,
            own::a_bucket_never_goes_under_own_names,
            own::recovery_keeps_what_is_on_its_way_to_an_own_name,
            names::a_missing_bucket_is_told,
        }
    };
}
pub(crate) use passes_conformance;

/// The same of a store without staging files, which gives bytes a name of their own at once.
macro_rules! passes_naming_conformance {
    ($make:expr) => {
        crate::backend::conformance::passes_service_conformance!([] $make);
    };
}
pub(crate) use passes_naming_conformance;

/// The same, where each test has attributes of its own.
macro_rules! passes_service_conformance {
    ($attributes:tt $make:expr) => {
        crate::backend::conformance::passes_gateway_conformance!($attributes $make);
        crate::backend::conformance::each! { $attributes $make;
            names::any_legal_key_round_trips,
            names::a_listing_is_in_byte_order_of_keys,
            names::a_listing_goes_on_after_any_key,
            own::own_names_do_not_disturb_each_other,
            races::neighbours_do_not_disturb_each_other,
        }
    };
}
pub(crate) use passes_service_conformance;

/// What of it a gateway over directories keeps too, which has no `a` beside `a/b` and refuses odd keys.
macro_rules! passes_gateway_conformance {
    ($attributes:tt $make:expr) => {
        crate::backend::conformance::passes_short_conformance!($attributes $make);
        crate::backend::conformance::each! { $attributes $make;
            own::any_legal_key_has_own_names,
            own::a_listing_of_own_names_goes_on_after_any_of_them,
        }
    };
}
pub(crate) use passes_gateway_conformance;

/// What of it a store that stages keeps with several buckets in one of its own, where the longest keys have no room.
macro_rules! passes_parted_conformance {
    ($make:expr) => {
        crate::backend::conformance::passes_short_conformance!([] $make);
        crate::backend::conformance::each! { [] $make;
            names::a_listing_is_in_byte_order_of_keys,
            own::an_own_name_is_never_written_over,
            own::what_was_given_up_does_not_come_to_an_own_name,
            own::a_bucket_never_goes_under_own_names,
            own::recovery_keeps_what_is_on_its_way_to_an_own_name,
            own::own_names_do_not_disturb_each_other,
            races::neighbours_do_not_disturb_each_other,
        }
    };
}
pub(crate) use passes_parted_conformance;

/// What of it asks for neither the longest nor odd keys.
macro_rules! passes_short_conformance {
    ($attributes:tt $make:expr) => {
        crate::backend::conformance::each! { $attributes $make;
            bodies::a_body_comes_back_as_it_was,
            bodies::a_body_that_fails_stores_nothing,
            bodies::a_body_of_another_length_than_announced_stores_nothing,
            bodies::a_range_is_exactly_what_was_asked_for,
            bodies::other_bytes_than_expected_are_refused,
            bodies::the_modification_time_is_the_writers,
            bodies::attributes_go_with_the_bytes,
            moves::staged_bytes_are_invisible_until_published,
            moves::staged_bytes_are_read_wherever_they_are,
            moves::publishing_again_changes_nothing,
            moves::publishing_replaces,
            moves::publishing_what_was_given_up_says_gone,
            bodies::two_writes_of_the_same_bytes_are_told_apart,
            moves::a_delete_removes_only_what_it_names,
            bodies::a_copy_is_bound_to_its_source,
            bodies::parts_become_one_body,
            bodies::a_part_that_changed_stops_the_assembly,
            names::a_name_is_never_taken_for_another,
            names::what_comes_to_its_name_is_listed,
            names::buckets_come_and_go,
            names::a_bucket_with_something_in_it_stays,
            notes::a_note_comes_back_as_it_was_last_written,
            notes::notes_are_no_objects_and_no_buckets,
            notes::a_note_that_not_every_store_could_hold_is_refused,
            notes::a_note_is_whole_whoever_writes_at_the_same_time,
            own::versions_of_a_key_lie_side_by_side,
            own::own_names_are_no_objects_and_no_buckets,
            own::publishing_to_an_own_name_again_changes_nothing,
            own::bytes_on_their_way_to_an_own_name_are_read_wherever_they_are,
            own::a_delete_at_an_own_name_removes_only_what_it_names,
            own::a_copy_of_an_own_name_is_bound_to_it,
            own::many_versions_of_one_key_are_listed_once_each,
            own::a_bucket_with_own_names_left_stays,
            races::concurrent_publishers_leave_one_whole_body,
            races::headers_always_belong_to_the_body,
            moves::what_is_released_can_be_written_again,
            moves::recovery_keeps_what_it_is_told_to_keep,
            moves::a_store_that_works_says_so,
        }
    };
}
pub(crate) use passes_short_conformance;

/// `each! { [attributes] expression; promises }`
macro_rules! each {
    ($attributes:tt $make:expr; $($group:ident::$promise:ident,)*) => {
        $(crate::backend::conformance::one! { $attributes $make; $group::$promise })*
    };
}
pub(crate) use each;

macro_rules! one {
    ([$(#[$attribute:meta])*] $make:expr; $group:ident::$promise:ident) => {
        $(#[$attribute])*
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            let (store, _guard) = $make;
            crate::backend::conformance::$group::$promise(store).await;
        }
    };
}
pub(crate) use one;

fn bucket() -> BucketName {
    BucketName::new("bucket").unwrap()
}

fn object(key: &str) -> ObjectId {
    ObjectId { bucket: bucket(), key: Key::new(key).unwrap() }
}

fn at(key: &str, location: Location) -> Place {
    Place { object: object(key), location }
}

fn plain(key: &str) -> Place {
    at(key, Location::Plain)
}

/// Bytes that tell from where they come: no two seeds share a stretch.
fn pattern(seed: u64, size: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(size).collect::<Vec<_>>().into()
}

fn in_chunks(bytes: &Bytes, size: usize) -> Body {
    let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Body::new(None, stream::iter(chunks))
}

async fn stage(store: &Store, key: &str, bytes: &Bytes) -> Kept {
    store.put(&object(key), Body::from(bytes.clone()), PutOptions::any()).await.unwrap()
}

/// Where bytes are once they are published: a store may have keys whose bytes stay at names of their own.
fn settled(key: &str, kept: &Kept) -> Place {
    at(key, kept.location.settled())
}

/// Whether a listing tells of the bytes.
fn is_plain(kept: &Kept) -> bool {
    kept.location.settled() == Location::Plain
}

/// A listing may leave out what only a look at the bytes tells.
fn agrees(listed: &Found, looked: &Found) -> bool {
    let is_bare = listed.binding == Binding::None;
    if is_bare { (&listed.key, listed.size) == (&looked.key, looked.size) } else { listed == looked }
}

/// As the site does: what waits before its store is asked for again.
async fn publish(store: &Store, key: &str, kept: &Kept) -> Result<Published> {
    let from = at(key, kept.location.clone());
    for _ in 0..LATER_MAX {
        match store.publish(&from, &kept.binding).await {
            Ok(Published::Waits) => sleep(LATER).await,
            said => return said,
        }
    }
    panic!("{key:?} never comes to its store");
}

/// As the site does: what is on its way to its store is removed when it has come.
async fn delete(store: &Store, place: &Place, binding: &Binding) {
    for _ in 0..LATER_MAX {
        match store.delete(place, binding).await {
            Err(Error::Unavailable(_)) => sleep(LATER).await,
            said => return said.unwrap(),
        }
    }
    panic!("{place:?} is not removed");
}

/// Stages and publishes. No second name is left.
async fn write(store: &Store, key: &str, bytes: &Bytes) -> Kept {
    let kept = stage(store, key, bytes).await;
    assert_eq!(publish(store, key, &kept).await.unwrap(), Published::Done, "{key:?}");
    if matches!(kept.location, Location::Moving(_)) {
        store.release(&at(key, kept.location.clone())).await;
    }
    kept
}

async fn read(store: &Store, place: &Place, get: GetOptions) -> Result<Bytes> {
    let fetched = store.get(place, get).await?;
    Ok(fetched.body.collect(64 << 20).await?)
}

fn expecting(binding: &Binding) -> GetOptions {
    GetOptions { range: None, expect: Some(binding.clone()) }
}

async fn keys(store: &Store) -> Vec<String> {
    let found: Vec<Found> = store.list(&bucket(), None).try_collect().await.unwrap();
    found.into_iter().map(|found| found.key.to_string()).collect()
}

async fn with_bucket(store: Store) -> Store {
    store.create_bucket(&bucket()).await.unwrap();
    store
}
