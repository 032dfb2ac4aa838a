//! What lies in the store and is nothing of it: names that no key has, folders that no bucket has. Counted and told of, so
//! that nobody believes they are served.

use std::sync::Arc;

use tracing::warn;

use super::error::{Doing, is_denied, leads_nowhere};
use super::io::{Kind, Node};
use super::{Core, names};
use crate::backend::Result;
use crate::model::{BucketName, Key};

/// A directory that is still to be looked into. Opened only then: a folder may have more of them than may be open at once.
struct Folder {
    parent: Arc<Node>,
    name: String,
    /// What every key in it begins with.
    prefix: String,
    /// What of a segment was read on the way to it, and how that is written: more than nothing where a long one was cut.
    text: String,
    written: String,
}

/// What a name in a folder is.
enum Meaning {
    /// That of a key.
    File,
    Folder {
        prefix: String,
        text: String,
        written: String,
    },
    Nothing,
}

impl Folder {
    fn meaning(&self, raw: &[u8], kind: Kind) -> Meaning {
        let read = std::str::from_utf8(raw).ok().and_then(|name| match kind {
            Kind::File => names::read_file(name),
            Kind::Directory => names::read_directory(name),
            Kind::Other => None,
        });
        let Some(component) = read else { return Meaning::Nothing };
        let (text, written) = (format!("{}{}", self.text, component.text), format!("{}{}", self.written, component.name));
        if component.goes_on {
            return Meaning::Folder { prefix: self.prefix.clone(), text, written: written + "/" };
        }
        let key = format!("{}{text}", self.prefix);
        match kind {
            _ if !names::is_canonical(&text, &written) => Meaning::Nothing,
            Kind::Directory => Meaning::Folder { prefix: key + "/", text: String::new(), written: String::new() },
            _ if Key::new(&key).is_ok() => Meaning::File,
            _ => Meaning::Nothing,
        }
    }
}

impl Core {
    /// Counts what a listing of the bucket leaves out. What is in a folder that no key can name counts with it, as one.
    pub fn strangers(&self, bucket: &BucketName) -> Result<u64> {
        let (parent, name) = (self.bucket_now(bucket)?, ".".to_owned());
        let mut folders = vec![Folder { parent, name, prefix: String::new(), text: String::new(), written: String::new() }];
        let mut strangers = 0;
        while let Some(folder) = folders.pop() {
            let dir = match folder.parent.open_dir(&folder.name) {
                Ok(dir) => Arc::new(dir),
                Err(err) if leads_nowhere(&err) => continue,
                Err(err) if is_denied(&err) => {
                    warn!(%bucket, prefix = folder.prefix, error = %err, "a folder may not be read: nothing in it is served");
                    strangers += 1;
                    continue;
                }
                Err(err) => return Err(err).doing("looking for strangers"),
            };
            let read = dir.entries(&mut |raw, kind| {
                match folder.meaning(raw, kind) {
                    Meaning::File => {}
                    Meaning::Nothing => strangers += 1,
                    Meaning::Folder { prefix, text, written } => {
                        let (parent, name) = (dir.clone(), String::from_utf8_lossy(raw).into_owned());
                        folders.push(Folder { parent, name, prefix, text, written });
                    }
                }
                Ok(())
            });
            read.doing("looking for strangers")?;
        }
        Ok(strangers)
    }

    /// Logs what lies beside the buckets; what is hidden is nobody's business.
    pub fn tell_strangers(&self) -> Result<()> {
        let mut files = 0;
        let listed = self.root.entries(&mut |raw, kind| {
            let name = String::from_utf8_lossy(raw);
            match kind {
                _ if name.starts_with('.') => {}
                Kind::Directory if BucketName::new(&name).is_ok() => {}
                Kind::Directory => warn!(%name, "a folder whose name no bucket can have: it is not served"),
                _ => files += 1,
            }
            Ok(())
        });
        if files > 0 {
            warn!(files, "files that lie beside the folders are in no bucket: they are not served");
        }
        listed.doing("listing buckets")
    }
}
