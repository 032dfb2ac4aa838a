//! The conformance suite on several kinds of ground; what only a directory can do wrong is in the files beside.

mod cached;
mod crash;
mod failing;
mod notes;
mod outsiders;
mod own;
mod second_names;
mod speed;
mod staging;

use std::sync::Arc;

use bytes::Bytes;

use super::pool::Limits;
use super::{Core, Fs, Settings};
use crate::backend::{Backend, Body, GetOptions, Kept, Place, Published, PutOptions, Result};
use crate::model::{Binding, Location, ObjectId};

mod on_disk {
    crate::backend::conformance::passes_conformance!(super::fresh());
}

/// Displaced files are written again at once, as fast as the pool can turn them round.
mod on_disk_recycling_at_once {
    crate::backend::conformance::passes_conformance!(super::altered(super::Limits::TINY, |_| ()));
}

/// A file system without the newer calls, whose renames may be torn: NFS, say.
mod on_poor_disk {
    crate::backend::conformance::passes_conformance!(super::altered(super::Limits::SERVER, |core| {
        core.nature.exchange = false;
        core.nature.no_replace = false;
        core.nature.volume.renames_whole = false;
        core.nature.cached_opens = false;
    }));
}

mod on_shim {
    use crate::backend::fs::{Fs, shim::Shim};

    crate::backend::conformance::passes_conformance!((std::sync::Arc::new(Fs::on_shim(&Shim::new()).unwrap()), ()));
}

fn fresh() -> (Arc<Fs>, tempfile::TempDir) {
    altered(Limits::SERVER, |_| ())
}

fn altered(limits: Limits, alter: impl FnOnce(&mut Core)) -> (Arc<Fs>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut core = Core::on_disk(&Settings::at(dir.path()), limits).unwrap();
    alter(&mut core);
    core.pool.recover(&std::collections::HashSet::new());
    (Arc::new(Fs::start(core).unwrap()), dir)
}

fn object(key: &str) -> ObjectId {
    ObjectId::parse("bucket", key).unwrap()
}

fn plain(key: &str) -> Place {
    Place { object: object(key), location: Location::Plain }
}

fn staged(kept: &Kept) -> Place {
    Place { object: object("a"), location: kept.location.clone() }
}

async fn stage(fs: &Fs, key: &str, bytes: &[u8]) -> Result<Kept> {
    fs.put(&object(key), Body::from(Bytes::copy_from_slice(bytes)), PutOptions::any()).await
}

async fn publish(fs: &Fs, key: &str, kept: &Kept) -> Result<Published> {
    fs.publish(&Place { object: object(key), location: kept.location.clone() }, &kept.binding).await
}

async fn write(fs: &Fs, key: &str, bytes: &[u8]) -> Kept {
    let kept = stage(fs, key, bytes).await.unwrap();
    assert_eq!(publish(fs, key, &kept).await.unwrap(), Published::Done);
    kept
}

async fn read(fs: &Fs, place: &Place, expect: Option<&Binding>) -> Result<Vec<u8>> {
    let fetched = fs.get(place, GetOptions { range: None, expect: expect.cloned() }).await?;
    Ok(fetched.body.collect(16 << 20).await?.to_vec())
}
