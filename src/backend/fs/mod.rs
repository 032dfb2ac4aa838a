//! A directory: plain keys are plain files.
//!
//! ```text
//! PATH/<bucket>/<key as a path>        objects; `names` says how a key becomes a path
//! PATH/.anybucket/versions/<bucket>/…  objects under names of their own (`own`)
//! PATH/.anybucket/staging/<16 hex>     bytes that have no name yet, and spare files (`pool`)
//! PATH/.anybucket/journal/<name>       notes: what the status store is rebuilt from (`notes`)
//! PATH/.anybucket/owner                locked by the process that owns the directory
//! ```
//!
//! Redo, not undo (protocol §4): a put stages and syncs, nothing else. After the caller's commit, [`publish`] moves the
//! file to its name; whatever a crash forgets of such moves is done again, told by the binding, until [`harden`] made
//! it durable. A binding is (inode, size, mtime), the mtime set by us so that no two writes share one.
//!
//! Every call that may wait for a disk runs on a blocking thread. The one exception is a read of what is in memory
//! already, which is tried on the spot.

mod bucket;
mod copy;
mod delete;
mod disk;
mod error;
mod find;
mod get;
mod handles;
mod harden;
mod io;
mod lane;
mod list;
mod names;
mod notes;
mod own;
mod pool;
mod probe;
mod publish;
mod put;
mod room;
mod settings;
#[cfg(test)]
pub(crate) mod shim;
mod strangers;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use self::error::Doing;
use self::handles::Handles;
use self::io::{Access, Node, Stat};
use self::lane::Lane;
use self::notes::Notes;
use self::pool::{Limits, Pool};
use self::probe::Nature;
use self::room::Room;
use super::{
    Backend, Body, Capabilities, Error, Fetched, Found, FoundOwn, GetOptions, Kept, KeptPart, Place, Published, PutOptions,
    Result, StoreUpload,
};
#[cfg(test)]
use crate::model::StagingFile;
use crate::model::{Binding, BucketName, Key, ObjectId, WriteId};

pub use settings::{Durability, Settings};

/// A store in a directory, which one process owns.
#[derive(Debug)]
pub struct Fs {
    core: Arc<Core>,
    /// Tends the pool; on the shim nobody does, so that calls come in the same order every time.
    keeper: Option<std::thread::JoinHandle<()>>,
}

/// What all verbs share.
#[derive(Debug)]
struct Core {
    root: Node,
    staging: Arc<Node>,
    /// The directory of own names.
    versions: Arc<Node>,
    notes: Notes,
    /// Holds the lock on the directory while it is open.
    _owner: Node,
    pool: Arc<Pool>,
    room: Room,
    nature: Nature,
    durable: bool,
    /// Opened bucket directories, at most [`BUCKETS_OPEN_MAX`].
    buckets: RwLock<HashMap<BucketName, Arc<Node>>>,
    /// Held while a bucket is removed, and while bytes come to an own name in one.
    bucket_goes: Mutex<()>,
    /// Digits below the millisecond of the next mtime.
    tick: AtomicU64,
    buffers: get::Buffers,
    handles: Handles,
    /// Small puts: each waits for the disk.
    putting: Lane,
    /// Renames: they wait for each other's locks, so one thread does them all.
    moving: Lane,
    /// No thread tends the pool: whoever gives a file back does.
    inline: bool,
}

/// Threads that small puts may have, on a disk that is slow to sync.
const PUTS_MAX: usize = 64;

/// Descriptors kept open for buckets.
const BUCKETS_OPEN_MAX: usize = 256;

/// How often something is tried again that only other programs can disturb, before it is called unavailable.
const TRIES_MAX: usize = 100;

impl Fs {
    /// Opens or makes the store. Blocks: for start-up only.
    pub fn open(settings: Settings) -> Result<Self> {
        if let Some(refusal) = settings.refusal() {
            return Err(Error::Unavailable(refusal));
        }
        Self::start(Core::on_disk(&settings, Limits::SERVER)?)
    }

    fn start(core: Core) -> Result<Self> {
        let pool = core.pool.clone();
        let keeper = std::thread::Builder::new().name("fs-pool".to_owned()).spawn(move || pool.keep());
        Ok(Self { core: Arc::new(core), keeper: Some(keeper.doing("starting the thread of the staging pool")?) })
    }

    /// The whole store on a file system that forgets.
    #[cfg(test)]
    pub(crate) fn on_shim(shim: &shim::Shim) -> Result<Self> {
        let mut core = Core::open(shim.root(), &Settings::default(), Limits::TINY, shim.calls())?;
        core.inline = true;
        Ok(Self { core: Arc::new(core), keeper: None })
    }

    /// Staging files that somebody holds, and staging files that nobody knows of.
    #[cfg(test)]
    pub(crate) fn held(&self) -> (HashSet<StagingFile>, HashSet<StagingFile>) {
        self.core.pool.held()
    }
}

impl Drop for Fs {
    fn drop(&mut self) {
        self.core.pool.stop();
        if let Some(keeper) = self.keeper.take() {
            // It ends by itself; a panic in it was printed already.
            let _ = keeper.join();
        }
    }
}

impl Core {
    fn on_disk(settings: &Settings, limits: Limits) -> Result<Self> {
        let path = &settings.path;
        let (is_new, shown) = (!path.exists(), path.display());
        std::fs::create_dir_all(path).doing(&format!("making {shown}"))?;
        let root = disk::open_root(path).map(Node::Disk).doing(&format!("opening {shown}"))?;
        if is_new {
            let parent = disk::open_root(&path.join(".."));
            parent.and_then(|parent| parent.sync()).doing("syncing the directory's parent")?;
        }
        let first_tick = getrandom::u32().map_or(0, u64::from);
        Self::open(root, settings, limits, first_tick)
    }

    fn open(root: Node, settings: &Settings, limits: Limits, first_tick: u64) -> Result<Self> {
        let durable = settings.durability == Durability::Fsync;
        let reserved = sub_directory(&root, &settings.reserved, durable)?;
        let owner = claim(&reserved, settings)?;
        let staging = sub_directory(&reserved, "staging", durable)?;
        let versions = Arc::new(sub_directory(&reserved, own::DIRECTORY, durable)?);
        let notes = Notes::open(&reserved, durable)?;
        let nature = Nature::probe(&root, &staging)?;
        nature.warn(settings);
        let staging = Arc::new(staging);
        let pool = Pool::open(staging.clone(), limits, durable, &nature)?;
        Ok(Self {
            root,
            staging,
            versions,
            notes,
            _owner: owner,
            pool,
            room: Room::new(&nature.volume),
            nature,
            durable,
            buckets: RwLock::default(),
            bucket_goes: Mutex::default(),
            tick: AtomicU64::new(first_tick),
            buffers: get::Buffers::default(),
            handles: Handles::new(),
            putting: Lane::new("fs-put", PUTS_MAX),
            moving: Lane::new("fs-move", 1),
            inline: false,
        })
    }

    /// The mtime of a write: its millisecond, and below that a counter, so that two writes never share a binding.
    fn mtime_ns(&self, modified_ms: u64) -> i128 {
        let tick = self.tick.fetch_add(1, Ordering::Relaxed) % 1_000_000;
        i128::from(modified_ms) * 1_000_000 + i128::from(tick)
    }

    fn sync(&self, node: &Node) -> std::io::Result<()> {
        if self.durable { node.sync() } else { Ok(()) }
    }
}

/// Runs what may wait for a disk.
async fn blocking<T: Send + 'static>(core: &Arc<Core>, work: impl FnOnce(&Arc<Core>) -> T + Send + 'static) -> T {
    let core = core.clone();
    match tokio::task::spawn_blocking(move || work(&core)).await {
        Ok(done) => done,
        Err(err) if err.is_panic() => std::panic::resume_unwind(err.into_panic()),
        // Only a runtime that shuts down cancels work; nobody waits for an answer then.
        Err(_) => std::future::pending().await,
    }
}

/// Opens a directory of ours, which is made if need be.
fn sub_directory(parent: &Node, name: &str, durable: bool) -> Result<Node> {
    match parent.make_dir(name) {
        Err(err) if err.kind() == ErrorKind::AlreadyExists => {}
        made => {
            made.and_then(|()| if durable { parent.sync() } else { Ok(()) }).doing(&format!("making the directory {name}"))?;
        }
    }
    parent.open_dir(name).doing(&format!("opening the directory {name} (Linux 5.6 is needed)"))
}

/// Makes sure that no other process works on this directory.
fn claim(reserved: &Node, settings: &Settings) -> Result<Node> {
    let owner = match reserved.create("owner") {
        Err(err) if err.kind() == ErrorKind::AlreadyExists => reserved.open_file("owner", Access::Write),
        made => made,
    };
    let owner = owner.doing("opening the owner file")?;
    match owner.lock() {
        Err(err) if err.kind() == ErrorKind::WouldBlock => Err(Error::Unavailable(format!(
            "{} is in use by another process: one process owns a directory; stop that one, or give this one another `path`",
            settings.path.display()
        ))),
        locked => locked.doing("locking the owner file").map(|()| owner),
    }
}

/// How this store names the bytes of a file.
fn binding_of(stat: &Stat) -> Binding {
    Binding::File { inode: stat.inode, size: stat.size, mtime_ns: stat.mtime_ns }
}

fn found_of(key: &Key, stat: &Stat) -> Found {
    let modified_ms = u64::try_from(stat.mtime_ns.div_euclid(1_000_000)).unwrap_or(0);
    let changed_ms = Some(u64::try_from(stat.ctime_ns.div_euclid(1_000_000)).unwrap_or(0));
    Found {
        key: key.clone(),
        binding: binding_of(stat),
        size: stat.size,
        modified_ms,
        changed_ms,
        label: None,
        described: None,
        etag: None,
    }
}

#[async_trait]
impl Backend for Fs {
    fn capabilities(&self) -> Vec<Capabilities> {
        vec![self.core.capabilities()]
    }

    async fn put(&self, _to: &ObjectId, body: Body, put: PutOptions) -> Result<Kept> {
        put::put(&self.core, body, put).await
    }

    async fn get(&self, at: &Place, get: GetOptions) -> Result<Fetched> {
        get::get(&self.core, at, get).await
    }

    async fn head(&self, at: &Place) -> Result<Found> {
        let at = at.clone();
        blocking(&self.core, move |core| core.find_bytes(&at, None).map(|opened| found_of(&at.object.key, &opened.stat))).await
    }

    async fn copy(&self, from: &Place, get: GetOptions, _to: &ObjectId, put: PutOptions) -> Result<Kept> {
        copy::copy(&self.core, from, get, put).await
    }

    async fn publish(&self, from: &Place, binding: &Binding) -> Result<Published> {
        let (from, binding) = (from.clone(), binding.clone());
        let core = self.core.clone();
        self.core.moving.run(move || core.publish(&from, &binding)).await?
    }

    async fn delete(&self, at: &Place, only: &Binding) -> Result<()> {
        let (at, only) = (at.clone(), only.clone());
        blocking(&self.core, move |core| core.delete(&at, &only)).await
    }

    async fn harden(&self, moved: &[Place]) -> Result<()> {
        let moved = moved.to_vec();
        blocking(&self.core, move |core| core.harden(&moved)).await
    }

    /// To be called only once no row names `staged` any more: its file is then written again by another put.
    async fn release(&self, staged: &Place) {
        if let Some(file) = staged.location.staged() {
            self.core.pool.release(file);
            self.core.tend_inline().await;
        }
    }

    async fn recover(&self, keep: &[Place]) -> Result<()> {
        let keep: HashSet<_> = keep.iter().filter_map(|place| place.location.staged()).collect();
        // What the last process moved may not be durable yet, and its files are about to be used again.
        blocking(&self.core, |core| if core.durable { core.root.sync_volume() } else { Ok(()) })
            .await
            .doing("syncing what was moved before this start")?;
        self.core.pool.recover(&keep);
        self.core.tend_inline().await;
        Ok(())
    }

    async fn put_part(&self, _upload: &StoreUpload, _number: u16, body: Body, put: PutOptions) -> Result<Kept> {
        put::put(&self.core, body, put).await
    }

    async fn assemble(&self, upload: &StoreUpload, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
        copy::assemble(&self.core, &upload.object, parts, put).await
    }

    fn list<'a>(&'a self, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'a, Result<Found>> {
        list::list(&self.core, bucket, after)
    }

    fn list_own<'a>(&'a self, bucket: &BucketName, after: Option<(Key, WriteId)>) -> BoxStream<'a, Result<FoundOwn>> {
        list::list_own(&self.core, bucket, "", after)
    }

    fn list_own_below<'a>(
        &'a self,
        bucket: &BucketName,
        prefix: &str,
        after: Option<(Key, WriteId)>,
    ) -> BoxStream<'a, Result<FoundOwn>> {
        list::list_own(&self.core, bucket, prefix, after)
    }

    async fn create_bucket(&self, bucket: &BucketName) -> Result<()> {
        let bucket = bucket.clone();
        blocking(&self.core, move |core| core.create_bucket(&bucket)).await
    }

    async fn delete_bucket(&self, bucket: &BucketName) -> Result<()> {
        let bucket = bucket.clone();
        blocking(&self.core, move |core| core.delete_bucket(&bucket)).await
    }

    async fn list_buckets(&self) -> Result<Vec<BucketName>> {
        blocking(&self.core, |core| core.list_buckets()).await
    }

    async fn strangers(&self, bucket: &BucketName) -> Result<u64> {
        let bucket = bucket.clone();
        blocking(&self.core, move |core| core.strangers(&bucket)).await
    }

    async fn tell_strangers(&self) -> Result<()> {
        blocking(&self.core, |core| core.tell_strangers()).await
    }

    async fn write_note(&self, name: &str, bytes: Bytes) -> Result<()> {
        let name = name.to_owned();
        blocking(&self.core, move |core| core.write_note(&name, &bytes)).await
    }

    async fn read_note(&self, name: &str) -> Result<Bytes> {
        let name = name.to_owned();
        blocking(&self.core, move |core| core.read_note(&name)).await.map(Bytes::from)
    }

    async fn list_notes(&self) -> Result<Vec<String>> {
        blocking(&self.core, |core| core.list_notes()).await
    }

    async fn remove_note(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        blocking(&self.core, move |core| core.remove_note(&name)).await
    }

    async fn check(&self) -> Result<()> {
        blocking(&self.core, |core| core.check()).await
    }
}

impl Core {
    async fn tend_inline(self: &Arc<Self>) {
        if self.inline {
            blocking(self, |core| while core.pool.tend() {}).await;
        }
    }
}
