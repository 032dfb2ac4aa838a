//! Files that people change while the process runs: read again when they changed, and found at fault aloud.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::sleep;

use crate::tasks::{Step, Worker};

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Between two tries of a file with a fault, each of which is logged.
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Looks at files and has them read again when one of them changed.
pub struct Watch {
    name: &'static str,
    files: Vec<PathBuf>,
    /// What was read last, or may have been.
    read: Vec<Option<Print>>,
    reload: Box<dyn Fn() -> Result<(), String> + Send + Sync>,
}

/// What tells one content of a file from another without reading it.
#[derive(Debug, PartialEq, Eq)]
struct Print {
    inode: u64,
    bytes: u64,
    changed: (i64, i64),
}

impl Watch {
    /// For files that were just read. A failing `reload` keeps what was read before.
    pub fn new(name: &'static str, files: Vec<PathBuf>, reload: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Self {
        // A change between the reading and this look would go unseen, so the first look calls everything changed.
        Self { name, files, read: Vec::new(), reload: Box::new(reload) }
    }

    fn prints(&self) -> Vec<Option<Print>> {
        let print =
            |found: fs::Metadata| Print { inode: found.ino(), bytes: found.len(), changed: (found.ctime(), found.ctime_nsec()) };
        self.files.iter().map(|file| fs::metadata(file).ok().map(print)).collect()
    }
}

#[async_trait]
impl Worker for Watch {
    fn name(&self) -> &str {
        self.name
    }

    async fn step(&mut self) -> Result<Step, String> {
        // Taken before the files are read: what changes meanwhile is read once more.
        let found = self.prints();
        if found == self.read {
            return Ok(Step::Idle);
        }
        (self.reload)()?;
        self.read = found;
        Ok(Step::Worked)
    }

    async fn wait(&mut self) {
        sleep(EVERY).await;
    }

    fn pause_max(&self) -> Duration {
        PAUSE_MAX
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[tokio::test]
    async fn a_file_is_read_when_it_changed_and_one_with_a_fault_until_it_is_mended() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "one").unwrap();
        let read: Arc<Mutex<Vec<String>>> = Arc::default();
        let (kept, file) = (read.clone(), path.clone());
        let mut watch = Watch::new("file", vec![path.clone()], move || {
            let text = fs::read_to_string(&file).map_err(|err| err.to_string())?;
            if text == "bad" {
                return Err("bad".into());
            }
            kept.lock().unwrap().push(text);
            Ok(())
        });
        assert_eq!(watch.step().await, Ok(Step::Worked));
        assert_eq!(watch.step().await, Ok(Step::Idle));
        fs::write(&path, "bad").unwrap();
        assert!(watch.step().await.is_err() && watch.step().await.is_err());
        fs::remove_file(&path).unwrap();
        assert!(watch.step().await.is_err());
        fs::write(&path, "two").unwrap();
        assert_eq!(watch.step().await, Ok(Step::Worked));
        // Renamed over, as editors and commands do.
        let aside = dir.path().join("aside");
        fs::write(&aside, "six").unwrap();
        fs::rename(&aside, &path).unwrap();
        assert_eq!(watch.step().await, Ok(Step::Worked));
        assert_eq!(*read.lock().unwrap(), ["one", "two", "six"]);
    }
}
