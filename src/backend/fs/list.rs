//! A walk over a bucket in the byte order of keys, which is the order of no directory: names are escaped, `foo-` comes
//! before `foo/a`, and a prefix may be spread over several directories (second names, cut segments).
//!
//! A walk over own names is the same: a file stands where its key stands, and beside others of that key by its write.
//!
//! A level of the walk is all directories that stand for one prefix. Its names are read a batch of the smallest at a
//! time, so that memory stays flat in a directory of millions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures::future::ready;
use futures::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use tracing::{debug, warn};

use super::error::{Doing, is_denied, leads_nowhere};
use super::io::{Kind, Node};
use super::names::{self, Component};
use super::{Core, blocking, found_of, own};
use crate::backend::{Error, Found, FoundOwn, Result};
use crate::model::{BucketName, Key, WriteId};

/// Names of one level kept in memory. Few in tests, so that every listing there takes several batches.
const NAMES_MAX: usize = if cfg!(test) { 7 } else { 16_384 };

/// Objects handed over at a time.
const PAGE_MAX: usize = if cfg!(test) { 5 } else { 512 };

pub(super) fn list(core: &Arc<Core>, bucket: &BucketName, after: Option<&Key>) -> BoxStream<'static, Result<Found>> {
    let after = Sort { text: after.map_or_else(String::new, Key::to_string), write: None };
    walk(core, Stage::Start { bucket: bucket.clone(), names: Names::Plain, after }).map_ok(|seen| seen.found).boxed()
}

/// Of the keys that begin with `prefix`: they stand together.
pub(super) fn list_own(
    core: &Arc<Core>,
    bucket: &BucketName,
    prefix: &str,
    after: Option<(Key, WriteId)>,
) -> BoxStream<'static, Result<FoundOwn>> {
    let before = Sort { text: prefix.to_owned(), write: None };
    let after = after.map_or(before, |(key, write)| Sort { text: key.to_string(), write: Some(write) });
    let seen = walk(core, Stage::Start { bucket: bucket.clone(), names: Names::Own, after });
    let prefix = prefix.to_owned();
    let is_below = move |seen: &Seen| seen.found.key.as_str().starts_with(&prefix);
    let own = |Seen { found, write }| write.map(|write| FoundOwn { found, write });
    seen.try_take_while(move |seen| ready(Ok(is_below(seen)))).try_filter_map(move |seen| ready(Ok(own(seen)))).boxed()
}

fn walk(core: &Arc<Core>, start: Stage) -> impl Stream<Item = Result<Seen>> + Send + use<> {
    let core = core.clone();
    let pages = stream::try_unfold(start, move |stage| {
        let core = core.clone();
        async move { blocking(&core, move |core| stage.next_page(core)).await }
    });
    pages.map_ok(|page| stream::iter(page).map(Ok)).try_flatten()
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Names {
    Plain,
    Own,
}

/// A file that the walk came to.
struct Seen {
    found: Found,
    /// Whose bytes they are, if at an own name.
    write: Option<WriteId>,
}

/// Where something stands in the order of a walk.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Sort {
    /// A key, or a segment of keys; a slash follows for directories, so that they stand where their keys do.
    text: String,
    /// Set for files at own names.
    write: Option<WriteId>,
}

impl Sort {
    fn is_directory(&self) -> bool {
        self.text.ends_with('/')
    }
}

/// A walk that waits to be gone on with.
enum Stage {
    Start { bucket: BucketName, names: Names, after: Sort },
    Walking(Walk),
}

impl Stage {
    fn next_page(self, core: &Core) -> Result<Option<(Vec<Seen>, Self)>> {
        let mut walk = match self {
            Self::Start { bucket, names, after } => Walk::start(core, &bucket, names, after)?,
            Self::Walking(walk) => walk,
        };
        let page = walk.page()?;
        Ok((!page.is_empty()).then_some((page, Self::Walking(walk))))
    }
}

/// Where a walk stands.
struct Walk {
    /// From the bucket's own directory down to the one being read.
    levels: Vec<Level>,
    names: Names,
    /// Only what is greater is of interest; then, what was found last.
    after: Sort,
}

/// All directories that stand for one prefix.
struct Level {
    /// Empty, or ends in a slash.
    prefix: String,
    names: Names,
    homes: Vec<Home>,
    /// The smallest names that were not walked yet, in order.
    batch: VecDeque<Name>,
    /// The last name read, if there are more than fit.
    more_after: Option<Sort>,
}

/// A directory, and what of a segment was read on the way to it: more than nothing where a long one was cut.
#[derive(Clone)]
struct Home {
    dir: Arc<Node>,
    text: String,
    /// The components read, joined by slashes.
    written: String,
}

/// A segment of keys in a level, and where its files or directories are.
struct Name {
    sort: Sort,
    homes: Vec<(Arc<Node>, String)>,
}

impl Walk {
    fn start(core: &Core, bucket: &BucketName, names: Names, after: Sort) -> Result<Self> {
        let opened = core.bucket_now(bucket)?;
        let directories = match names {
            Names::Plain => vec![opened],
            Names::Own => core.own_directories(bucket)?,
        };
        let level = Level::open(String::new(), names, directories, &after)?;
        Ok(Self { levels: vec![level], names, after })
    }

    /// The next objects; none at the end.
    fn page(&mut self) -> Result<Vec<Seen>> {
        let mut page = Vec::new();
        while page.len() < PAGE_MAX
            && let Some(level) = self.levels.last_mut()
        {
            let Some(name) = level.next(&self.after)? else {
                self.levels.pop();
                continue;
            };
            let text = format!("{}{}", level.prefix, name.sort.text);
            if name.sort.is_directory() {
                let directories = name.directories(self.names)?;
                self.levels.push(Level::open(text, self.names, directories, &self.after)?);
            } else if let Some(found) = name.found(&text)? {
                let at = Sort { text, write: name.sort.write };
                if at <= self.after {
                    return Err(Error::Unavailable(format!("the walk lost its order at {at:?}")));
                }
                page.push(Seen { found, write: at.write });
                self.after = at;
            }
        }
        Ok(page)
    }
}

impl Level {
    fn open(prefix: String, names: Names, directories: Vec<Arc<Node>>, after: &Sort) -> Result<Self> {
        let home = |dir| Home { dir, text: String::new(), written: String::new() };
        let homes = directories.into_iter().map(home).collect();
        let mut level = Self { prefix, names, homes, batch: VecDeque::new(), more_after: None };
        level.read(None, after)?;
        Ok(level)
    }

    fn next(&mut self, after: &Sort) -> Result<Option<Name>> {
        if self.batch.is_empty()
            && let Some(last) = self.more_after.take()
        {
            self.read(Some(&last), after)?;
        }
        Ok(self.batch.pop_front())
    }

    /// Reads the smallest names greater than `last` that may hold keys greater than `after`.
    fn read(&mut self, last: Option<&Sort>, after: &Sort) -> Result<()> {
        let mut batch = Batch { names: BTreeMap::new(), cut: false };
        let mut homes = self.homes.clone();
        while let Some(home) = homes.pop() {
            let mut inner = Vec::new();
            let read = home.dir.entries(&mut |raw, kind| {
                let Some((component, raw)) = read_name(raw, kind) else { return Ok(()) };
                let text = format!("{}{}", home.text, component.text);
                let written = home.written.clone() + &component.name;
                if component.goes_on {
                    inner.push((raw, text, written + "/"));
                } else if let Some(sort) = self.names.sort(text, &written, kind) {
                    if last.is_none_or(|last| sort > *last) && is_ahead(&self.prefix, &sort, after) {
                        batch.add(sort, &home.dir, raw, component.second);
                    }
                } else {
                    debug!(name = raw, "a name in a bucket is not one of ours: skipped");
                }
                Ok(())
            });
            read.doing("reading a directory")?;
            for (raw, text, written) in inner {
                if let Some(dir) = self.names.open(&home.dir, raw.as_str())? {
                    homes.push(Home { dir, text, written });
                }
            }
        }
        self.more_after = batch.names.last_key_value().filter(|_| batch.cut).map(|(sort, _)| sort.clone());
        self.batch = batch.names.into_iter().map(|(sort, homes)| Name { sort, homes }).collect();
        Ok(())
    }
}

impl Names {
    /// Where a segment, written so, stands in its level; `None` if its name is not one of ours.
    fn sort(self, text: String, written: &str, kind: Kind) -> Option<Sort> {
        if !names::is_canonical(&text, written) {
            return None;
        }
        match (kind, self) {
            (Kind::Directory, _) => Some(Sort { text: text + "/", write: None }),
            (_, Self::Plain) => Some(Sort { text, write: None }),
            (_, Self::Own) => {
                let (segment, write) = own::read_segment(&text)?;
                Some(Sort { text: segment.to_owned(), write: Some(write) })
            }
        }
    }

    /// Opens a directory, if it is still one. One that others keep closed holds nothing that could be served, and hides
    /// nothing beside it; own names are the store's, so that there it is a fault.
    fn open(self, dir: &Node, name: &str) -> Result<Option<Arc<Node>>> {
        match dir.open_dir(name) {
            Ok(dir) => Ok(Some(Arc::new(dir))),
            Err(err) if leads_nowhere(&err) => Ok(None),
            Err(err) if self == Self::Plain && is_denied(&err) => {
                warn!(name, error = %err, "a folder may not be read: nothing in it is listed");
                Ok(None)
            }
            Err(err) => Err(err).doing("opening a directory"),
        }
    }
}

/// Whether a name greater than `after` may be at, or under, this one.
fn is_ahead(prefix: &str, sort: &Sort, after: &Sort) -> bool {
    let at = Sort { text: format!("{prefix}{}", sort.text), write: sort.write };
    at > *after || (sort.is_directory() && after.text.starts_with(&at.text))
}

/// Reads the name of a file or directory; says so if it is not one of ours.
fn read_name(raw: &[u8], kind: Kind) -> Option<(Component, String)> {
    let text = std::str::from_utf8(raw).ok();
    let component = text.and_then(|text| match kind {
        Kind::File => names::read_file(text),
        Kind::Directory => names::read_directory(text),
        Kind::Other => None,
    });
    if component.is_none() {
        debug!(name = %String::from_utf8_lossy(raw), ?kind, "a name in a bucket is not one of ours: skipped");
    }
    component.zip(text.map(str::to_owned))
}

/// The smallest names seen.
struct Batch {
    names: BTreeMap<Sort, Vec<(Arc<Node>, String)>>,
    /// Set once a name did not fit.
    cut: bool,
}

impl Batch {
    fn add(&mut self, sort: Sort, dir: &Arc<Node>, raw: String, second: bool) {
        let homes = self.names.entry(sort).or_default();
        // First names before second ones: that is where a reader looks first.
        let at = if second { homes.len() } else { 0 };
        homes.insert(at, (dir.clone(), raw));
        if self.names.len() > NAMES_MAX {
            self.names.pop_last();
            self.cut = true;
        }
    }
}

impl Name {
    fn directories(&self, names: Names) -> Result<Vec<Arc<Node>>> {
        self.homes.iter().filter_map(|(dir, raw)| names.open(dir, raw).transpose()).collect()
    }

    /// The file, if it is still there.
    fn found(&self, key: &str) -> Result<Option<Found>> {
        let Ok(key) = Key::new(key) else {
            debug!(key, "a path in a bucket is too long for a key: skipped");
            return Ok(None);
        };
        if self.homes.len() > 1 {
            warn!(%key, "two files bear the names of one key: the first is listed");
        }
        for (dir, raw) in &self.homes {
            match dir.stat_at(raw) {
                Ok(stat) if stat.kind == Kind::File => return Ok(Some(found_of(&key, &stat))),
                Ok(_) => {}
                Err(err) if leads_nowhere(&err) => {}
                // A folder that may be read but not entered.
                Err(err) if is_denied(&err) => warn!(%key, error = %err, "a file may not be looked at: it is not listed"),
                Err(err) => return Err(err).doing("looking at a file"),
            }
        }
        Ok(None)
    }
}
