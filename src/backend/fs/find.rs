//! Where a key's file is: its plain path, or a second name where something of the other kind was in the way.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::error::{Doing, is_missing, leads_nowhere};
use super::io::{Kind, Node, Stat};
use super::{BUCKETS_OPEN_MAX, Core, binding_of, names};
use crate::backend::{Error, Place, Result};
use crate::model::{Binding, BucketName};

/// A name in a directory, and the file that has it.
#[derive(Debug)]
pub(super) struct Spot {
    pub dir: Arc<Node>,
    /// Path of the directory from the one that the look began in; empty for that one.
    pub route: String,
    pub name: String,
    pub there: Option<Stat>,
}

/// A directory on the way to a key, and how many components of the path lead to it.
struct Step {
    dir: Arc<Node>,
    route: String,
    depth: usize,
}

impl Core {
    /// The bucket's directory, opened earlier or now. It may have been removed since: then nothing is found in it.
    pub fn bucket(&self, bucket: &BucketName) -> Result<Arc<Node>> {
        let buckets = self.buckets.read().expect("no code panics while it holds the buckets");
        if let Some(open) = buckets.get(bucket) {
            return Ok(open.clone());
        }
        drop(buckets);
        self.bucket_now(bucket)
    }

    /// The directory that bears the bucket's name now.
    pub fn bucket_now(&self, bucket: &BucketName) -> Result<Arc<Node>> {
        let opened = self.root.open_dir(bucket.as_str());
        let mut buckets = self.buckets.write().expect("no code panics while it holds the buckets");
        match opened {
            Ok(node) => {
                if buckets.len() >= BUCKETS_OPEN_MAX {
                    buckets.clear();
                }
                let node = Arc::new(node);
                buckets.insert(bucket.clone(), node.clone());
                Ok(node)
            }
            Err(err) => {
                buckets.remove(bucket);
                if leads_nowhere(&err) { Err(Error::NoSuchBucket) } else { Err(err).doing("opening the bucket") }
            }
        }
    }

    /// Shows every regular file that has one of the key's names, the plain one first, until `see` breaks off.
    pub fn each_name(&self, bucket: &Arc<Node>, key: &str, see: &mut dyn FnMut(Spot) -> ControlFlow<()>) -> Result<()> {
        let path = names::path(key);
        let (_, last) = split(&path);
        let mut shown = |step: &Step, ends: bool| -> std::io::Result<ControlFlow<()>> {
            if !ends {
                return Ok(ControlFlow::Continue(()));
            }
            for name in [last.to_owned(), names::beside_directory(last)] {
                let there = file_at(&step.dir, &name)?;
                let spot = Spot { dir: step.dir.clone(), route: step.route.clone(), name, there };
                if there.is_some() && see(spot).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        };
        self.walk(bucket, &path, &mut shown).doing("looking for a key's file")
    }

    /// Shows every directory on a way to the key, the bucket's first; with it whether the key's file would be in it.
    pub fn each_directory(&self, bucket: &Arc<Node>, key: &str, see: &mut dyn FnMut(&Node) -> std::io::Result<()>) -> Result<()> {
        let mut shown = |step: &Step, _ends: bool| see(&step.dir).map(ControlFlow::Continue);
        self.walk(bucket, &names::path(key), &mut shown).doing("syncing directories")
    }

    fn walk(
        &self,
        bucket: &Arc<Node>,
        path: &str,
        see: &mut dyn FnMut(&Step, bool) -> std::io::Result<ControlFlow<()>>,
    ) -> std::io::Result<()> {
        let components: Vec<_> = path.split('/').collect();
        let mut steps = vec![Step { dir: bucket.clone(), route: String::new(), depth: 0 }];
        // Depth first; what is kept open is one descriptor for each directory that has two names.
        while let Some(step) = steps.pop() {
            let ends = step.depth + 1 == components.len();
            if see(&step, ends)?.is_break() {
                break;
            }
            if ends {
                continue;
            }
            let name = components[step.depth];
            for name in [names::beside_file(name), name.to_owned()] {
                match step.dir.open_dir(&name) {
                    Ok(dir) => steps.push(Step { dir: Arc::new(dir), route: join(&step.route, &name), depth: step.depth + 1 }),
                    Err(err) if leads_nowhere(&err) => {}
                    Err(err) => return Err(err),
                }
            }
        }
        Ok(())
    }

    /// The name at `at`, where bytes are settled, under which the file is `binding`.
    pub fn find_bound(&self, at: &Place, binding: &Binding) -> Result<Option<Spot>> {
        let Some(home) = self.home(at)? else { return Ok(None) };
        let mut found = None;
        self.each_name(&home.dir, &home.text, &mut |spot| {
            if spot.there.is_some_and(|stat| binding_of(&stat) == *binding) {
                found = Some(spot);
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        })?;
        Ok(found)
    }

    /// Where a file of this key belongs: the name that the key has, or a free one. Its directories are made; `None` if
    /// they were removed meanwhile, as a neighbour's delete does with empty ones.
    pub fn landing(&self, bucket: &Arc<Node>, key: &str) -> Result<Option<Spot>> {
        let path = names::path(key);
        if let Some(spot) = self.plain_spot(bucket, &path)? {
            return Ok(Some(spot));
        }
        let mut known = None;
        self.each_name(bucket, key, &mut |spot| {
            known = Some(spot);
            ControlFlow::Break(())
        })?;
        match known {
            Some(spot) => Ok(Some(spot)),
            None => self.new_spot(bucket, &path),
        }
    }

    /// The plain path, if a file is there.
    fn plain_spot(&self, bucket: &Arc<Node>, path: &str) -> Result<Option<Spot>> {
        let (route, name) = split(path);
        let Some(dir) = open_route(bucket, route).doing("opening a directory")? else {
            return Ok(None);
        };
        let there = file_at(&dir, name).doing("looking at a file")?;
        Ok(there.map(|_| Spot { dir, route: route.to_owned(), name: name.to_owned(), there }))
    }

    /// A free name, the plain one if nothing else has it.
    fn new_spot(&self, bucket: &Arc<Node>, path: &str) -> Result<Option<Spot>> {
        let (route, name) = split(path);
        let (dir, route) = match open_route(bucket, route).doing("opening a directory")? {
            Some(dir) => (dir, route.to_owned()),
            None => match make_route(bucket, route) {
                Err(err) if is_missing(&err) => return Ok(None),
                made => made.doing("making directories")?,
            },
        };
        for name in [name.to_owned(), names::beside_directory(name)] {
            match dir.stat_at(&name) {
                Err(err) if is_missing(&err) => return Ok(Some(Spot { dir, route, name, there: None })),
                Ok(stat) if stat.kind == Kind::File => {
                    return Ok(Some(Spot { dir, route, name, there: Some(stat) }));
                }
                Ok(_) => {}
                Err(err) => return Err(err).doing("looking for a free name"),
            }
        }
        Err(Error::Name(format!("both names for {path} are taken by what is no file")))
    }
}

/// The path of the directory, and the name in it.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

fn join(route: &str, name: &str) -> String {
    if route.is_empty() { name.to_owned() } else { format!("{route}/{name}") }
}

/// The regular file of that name, if there is one.
fn file_at(dir: &Node, name: &str) -> std::io::Result<Option<Stat>> {
    match dir.stat_at(name) {
        Ok(stat) => Ok((stat.kind == Kind::File).then_some(stat)),
        Err(err) if leads_nowhere(&err) => Ok(None),
        Err(err) => Err(err),
    }
}

/// The directory at `route`, if that is one all the way.
pub(super) fn open_route(bucket: &Arc<Node>, route: &str) -> std::io::Result<Option<Arc<Node>>> {
    if route.is_empty() {
        return Ok(Some(bucket.clone()));
    }
    match bucket.open_dir(route) {
        Ok(dir) => Ok(Some(Arc::new(dir))),
        Err(err) if leads_nowhere(&err) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Makes the directories of `route` that are not there, beside files where those have the names; answers the way taken.
fn make_route(bucket: &Arc<Node>, route: &str) -> std::io::Result<(Arc<Node>, String)> {
    let (mut dir, mut way) = (bucket.clone(), String::new());
    for name in route.split('/') {
        let (child, name) = make_child(&dir, name)?;
        dir = Arc::new(child);
        way = join(&way, &name);
    }
    Ok((dir, way))
}

/// Opens or makes one directory, by its first or second name.
fn make_child(dir: &Node, name: &str) -> std::io::Result<(Node, String)> {
    let second = names::beside_file(name);
    match open_or_make(dir, name)? {
        Some(child) => Ok((child, name.to_owned())),
        None => match open_or_make(dir, &second)? {
            Some(child) => Ok((child, second)),
            None => Err(rustix::io::Errno::NOTDIR.into()),
        },
    }
}

/// `None` where something else than a directory has the name.
fn open_or_make(dir: &Node, name: &str) -> std::io::Result<Option<Node>> {
    match dir.open_dir(name) {
        Err(err) if is_missing(&err) => {}
        Err(err) if leads_nowhere(&err) => return Ok(None),
        opened => return opened.map(Some),
    }
    match dir.make_dir(name) {
        Err(err) if err.kind() == std::io::ErrorKind::AlreadyExists => {}
        made => made?,
    }
    match dir.open_dir(name) {
        Err(err) if leads_nowhere(&err) && !is_missing(&err) => Ok(None),
        opened => opened.map(Some),
    }
}
