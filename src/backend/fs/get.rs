//! Reads that are bound: whatever is answered is of the file whose binding was answered with it.
//!
//! A small file is read whole and its binding compared again before anything is answered, since the pool may write it
//! again at any moment; its descriptor is kept a while for the next reader ([`super::handles`]). A larger one is never
//! written again by us: each chunk goes out only while the binding still holds, lest somebody else changed it in place.
//!
//! What is in memory is read on the spot: a hop to a blocking thread costs more than the read.

use std::ops::{ControlFlow, Range};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures::stream;

use super::error::{Doing, leads_nowhere};
use super::io::{Access, Kind, Node, Stat};
use super::pool::SMALL_BYTES_MAX;
use super::{Core, binding_of, blocking, found_of, names, own};
use crate::backend::{Body, BodyError, Error, Fetched, GetOptions, Place, Result};
use crate::model::{Binding, Location, StagingFile};

/// Bytes of one chunk of a larger body.
const CHUNK_BYTES: usize = 256 * 1024;

/// Buffers of chunks kept for the next reader: 16 MiB.
const BUFFERS_SPARE_MAX: usize = 64;

/// How often a small read that meets a file just being replaced looks for the key's file again.
const LOOKS_MAX: usize = 8;

/// An opened regular file as it was when it was found.
#[derive(Debug)]
pub(super) struct Opened {
    pub node: Node,
    pub stat: Stat,
}

impl Opened {
    fn new(node: Node) -> std::io::Result<Option<Self>> {
        let stat = node.stat()?;
        Ok((stat.kind == Kind::File).then_some(Self { node, stat }))
    }

    fn is(&self, expect: Option<&Binding>) -> bool {
        expect.is_none_or(|expect| binding_of(&self.stat) == *expect)
    }

    /// Whether nobody wrote the file since it was opened.
    pub fn still_holds(&self) -> std::io::Result<bool> {
        let now = self.node.stat()?;
        Ok((now.size, now.mtime_ns) == (self.stat.size, self.stat.mtime_ns))
    }

    /// Whether, beside that, nothing tells that it lost its name.
    fn is_untouched(&self) -> std::io::Result<bool> {
        let told = |stat: &Stat| (stat.size, stat.mtime_ns, stat.ctime_ns, stat.links);
        Ok(told(&self.node.stat()?) == told(&self.stat))
    }

    /// The part of `range` that the file has; all of it where none was asked for.
    pub fn clamp(&self, range: Option<&Range<u64>>) -> Range<u64> {
        let size = self.stat.size;
        range.map_or(0..size, |range| range.start.min(size)..range.end.min(size))
    }
}

/// What a look for bytes came to.
enum Look {
    Found(Opened),
    /// Something else has the name.
    Other,
    Nothing,
}

pub(super) async fn get(core: &Arc<Core>, at: &Place, get: GetOptions) -> Result<Fetched> {
    if let Some(fetched) = get_kept(core, at, &get).or_else(|| get_cached(core, at, &get)) {
        return Ok(fetched);
    }
    let at = at.clone();
    blocking(core, move |core| {
        for _ in 0..LOOKS_MAX {
            let opened = core.find_bytes(&at, get.expect.as_ref())?;
            if opened.stat.size > SMALL_BYTES_MAX {
                return Ok(fetched_large(core, &at, opened, &get));
            }
            let read = read_small(&opened, &get, Node::read_at, Opened::still_holds).doing("reading a file")?;
            if let Some(bytes) = read {
                return Ok(fetched_small(&at, &opened, bytes));
            }
        }
        Err(Error::Changed)
    })
    .await
}

/// The answer by a descriptor that is open, where no disk is needed for it. Who asks for no bytes asks what has the name.
fn get_kept(core: &Core, at: &Place, get: &GetOptions) -> Option<Fetched> {
    let expect = get.expect.as_ref()?;
    let opened = core.handles.get(expect)?;
    if opened.clamp(get.range.as_ref()).is_empty() {
        return None;
    }
    let Ok(Some(bytes)) = read_small(&opened, get, Node::read_cached, Opened::is_untouched) else {
        core.handles.forget(expect);
        return None;
    };
    Some(fetched_small(at, &opened, bytes))
}

/// The same by opening the file; any doubt is left to the long way.
fn get_cached(core: &Arc<Core>, at: &Place, get: &GetOptions) -> Option<Fetched> {
    let opened = core.find_cached(at, get.expect.as_ref())?;
    if opened.stat.size > SMALL_BYTES_MAX {
        return Some(fetched_large(core, at, opened, get));
    }
    let bytes = read_small(&opened, get, Node::read_cached, Opened::still_holds).ok()??;
    let fetched = fetched_small(at, &opened, bytes);
    // Its last name may have gone between the opening and the look at it; of an empty one there is nothing to read.
    if opened.stat.links > 0 && opened.stat.size > 0 {
        core.handles.keep(opened);
    }
    Some(fetched)
}

/// `None` if the file is not what it was any more, or was not read in full.
fn read_small(
    opened: &Opened,
    get: &GetOptions,
    read: impl Fn(&Node, &mut [u8], u64) -> std::io::Result<usize>,
    is_same: impl Fn(&Opened) -> std::io::Result<bool>,
) -> std::io::Result<Option<Bytes>> {
    let range = opened.clamp(get.range.as_ref());
    let mut buf = vec![0; range_len(&range)];
    if !buf.is_empty() && read(&opened.node, &mut buf, range.start)? != buf.len() {
        return Ok(None);
    }
    Ok(is_same(opened)?.then(|| buf.into()))
}

fn range_len(range: &Range<u64>) -> usize {
    usize::try_from(range.end - range.start).expect("a small file fits in memory")
}

fn fetched_small(at: &Place, opened: &Opened, bytes: Bytes) -> Fetched {
    Fetched { found: found_of(&at.object.key, &opened.stat), body: Body::from(bytes) }
}

fn fetched_large(core: &Arc<Core>, at: &Place, opened: Opened, get: &GetOptions) -> Fetched {
    let found = found_of(&at.object.key, &opened.stat);
    let range = opened.clamp(get.range.as_ref());
    let size = range.end - range.start;
    let reader = Reader { core: core.clone(), opened: Arc::new(opened), range };
    Fetched { found, body: Body::new(Some(size), stream::try_unfold(reader, Reader::next)) }
}

/// A larger body on its way out.
struct Reader {
    core: Arc<Core>,
    opened: Arc<Opened>,
    /// What is still to come.
    range: Range<u64>,
}

impl Reader {
    async fn next(mut self) -> std::result::Result<Option<(Bytes, Self)>, BodyError> {
        if self.range.is_empty() {
            return Ok(None);
        }
        let mut buffer = self.core.buffers.take();
        let wanted = usize::try_from(self.range.end - self.range.start).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
        let on_the_spot = self.core.nature.cached_opens;
        let cached = on_the_spot.then(|| self.opened.node.read_cached(&mut buffer.bytes[..wanted], self.range.start));
        let read = match cached {
            Some(Ok(read)) if read > 0 => read,
            _ => {
                let (opened, start) = (self.opened.clone(), self.range.start);
                let (back, read) = blocking(&self.core, move |_| {
                    let read = opened.node.read_at(&mut buffer.bytes[..wanted], start);
                    (buffer, read)
                })
                .await;
                buffer = back;
                read.map_err(|err| BodyError::Read(err.to_string()))?
            }
        };
        if read == 0 || !self.opened.still_holds().map_err(|err| BodyError::Read(err.to_string()))? {
            return Err(BodyError::Read("the file was changed while it was read".to_owned()));
        }
        self.range.start += read as u64;
        Ok(Some((Bytes::from_owner(buffer).slice(..read), self)))
    }
}

/// Chunks' memory, used again: fresh memory of this size would be zeroed and mapped anew for every chunk.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    spare: Arc<Mutex<Vec<Box<[u8]>>>>,
}

/// A chunk's memory, which goes back when the chunk was sent.
struct Buffer {
    bytes: Box<[u8]>,
    spare: Arc<Mutex<Vec<Box<[u8]>>>>,
}

impl Buffers {
    fn take(&self) -> Buffer {
        let spare = self.spare.lock().expect("no code panics while it holds the buffers").pop();
        let bytes = spare.unwrap_or_else(|| vec![0; CHUNK_BYTES].into_boxed_slice());
        Buffer { bytes, spare: self.spare.clone() }
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut spare = self.spare.lock().expect("no code panics while it holds the buffers");
        if spare.len() < BUFFERS_SPARE_MAX {
            spare.push(std::mem::take(&mut self.bytes));
        }
    }
}

/// Finding bytes.
impl Core {
    /// Opens the bytes at `at`, waiting for the disk.
    ///
    /// Staged ones may be published at any moment, and a rename moves one way only, so with a binding in hand the staging
    /// file is tried and then the name it goes to.
    pub fn find_bytes(&self, at: &Place, expect: Option<&Binding>) -> Result<Opened> {
        let look = match (at.location.staged(), expect) {
            (None, _) => self.look_settled(at, expect)?,
            (Some(file), None) => self.look_staged(file, expect)?,
            (Some(file), Some(_)) => match self.look_staged(file, expect)? {
                Look::Found(opened) => Look::Found(opened),
                _ => self.look_settled(&at.settled(), expect)?,
            },
        };
        match look {
            Look::Found(opened) => Ok(opened),
            Look::Other => Err(Error::Changed),
            Look::Nothing => Err(Error::NotFound),
        }
    }

    fn look_staged(&self, file: StagingFile, expect: Option<&Binding>) -> Result<Look> {
        look_at(&self.staging, &file.to_string(), expect).doing("opening a staging file")
    }

    fn look_settled(&self, at: &Place, expect: Option<&Binding>) -> Result<Look> {
        let first = match at.location {
            Location::Plain => look_at(&*self.bucket(&at.object.bucket)?, &names::path(at.object.key.as_str()), expect),
            Location::Own(write) => look_at(&self.versions, &names::path(&own::text(at, write)), expect),
            _ => Ok(Look::Nothing),
        };
        let first = first.doing("opening a file")?;
        if matches!(first, Look::Found(_)) {
            return Ok(first);
        }
        let look = self.look_long(at, expect, first)?;
        if matches!((&look, &at.location), (Look::Nothing, Location::Own(_))) {
            self.check_bucket(&at.object.bucket)?;
        }
        Ok(look)
    }

    /// Looks under all names that the bytes may have; `look` is what the first one gave.
    fn look_long(&self, at: &Place, expect: Option<&Binding>, mut look: Look) -> Result<Look> {
        let Some(home) = self.home(at)? else { return Ok(look) };
        let mut failed = None;
        self.each_name(&home.dir, &home.text, &mut |spot| {
            match look_at(&spot.dir, &spot.name, expect) {
                Ok(Look::Found(opened)) => {
                    look = Look::Found(opened);
                    return ControlFlow::Break(());
                }
                Ok(Look::Other) => look = Look::Other,
                Ok(Look::Nothing) => {}
                Err(err) => failed = Some(err),
            }
            ControlFlow::Continue(())
        })?;
        failed.map_or(Ok(look), Err).doing("opening a file")
    }

    /// Opens the bytes at `at` if that takes no disk.
    fn find_cached(&self, at: &Place, expect: Option<&Binding>) -> Option<Opened> {
        if !self.nature.cached_opens {
            return None;
        }
        let Some(file) = at.location.staged() else {
            return self.find_settled_cached(at, expect);
        };
        let published = expect.and_then(|_| self.find_settled_cached(&at.settled(), expect));
        published.or_else(|| open_cached(&self.staging, &file.to_string(), expect))
    }

    fn find_settled_cached(&self, at: &Place, expect: Option<&Binding>) -> Option<Opened> {
        match at.location {
            Location::Plain => {
                let buckets = self.buckets.read().expect("no code panics while it holds the buckets");
                let bucket = buckets.get(&at.object.bucket)?.clone();
                drop(buckets);
                open_cached(&bucket, &names::path(at.object.key.as_str()), expect)
            }
            Location::Own(write) => open_cached(&self.versions, &names::path(&own::text(at, write)), expect),
            _ => None,
        }
    }
}

fn open_cached(dir: &Node, path: &str, expect: Option<&Binding>) -> Option<Opened> {
    let node = dir.open_file(path, Access::ReadCached).ok()?;
    Opened::new(node).ok()?.filter(|opened| opened.is(expect))
}

fn look_at(dir: &Node, path: &str, expect: Option<&Binding>) -> std::io::Result<Look> {
    let node = match dir.open_file(path, Access::Read) {
        Err(err) if leads_nowhere(&err) => return Ok(Look::Nothing),
        opened => opened?,
    };
    Ok(match Opened::new(node)? {
        Some(opened) if opened.is(expect) => Look::Found(opened),
        Some(_) => Look::Other,
        None => Look::Nothing,
    })
}
