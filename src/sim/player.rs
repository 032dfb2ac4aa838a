//! Plays operations on a running site, and keeps beside it what they must have come to.

use std::collections::BTreeMap;

use super::machine::{Machine, Process};
use super::world::{Op, World, bytes, tags};
use crate::model::{ETag, Stamp};
use crate::site::testing::{object, upload};
use crate::site::*;

/// A site that runs, what it acknowledged, and what is in doubt.
pub struct Player {
    pub process: Process,
    pub known: Known,
}

/// What outlives the process.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Everything acknowledged.
    pub world: World,
    /// Operations that were begun and not acknowledged, with their numbers.
    pub doubtful: Vec<(usize, Op)>,
    /// Unfinished uploads as they were answered, by the script's numbers.
    pub uploads: BTreeMap<usize, Named>,
    /// Operations so far.
    pub count: usize,
}

/// An upload's id and key.
#[derive(Clone, Debug)]
pub struct Named {
    pub id: String,
    pub key: &'static str,
}

/// What an operation answered.
#[derive(Debug)]
pub enum Answer {
    Stamp(Stamp),
    Upload(String),
    Done,
}

impl Player {
    pub async fn start(machine: &Machine, known: Known) -> Result<Self, String> {
        Ok(Self { process: machine.start().await?, known })
    }

    /// Plays steps until one fails. Answers what failed.
    pub async fn play(&mut self, steps: &[Vec<Op>]) -> Result<(), (Op, Error)> {
        for step in steps {
            let numbered: Vec<_> = step.iter().map(|op| (self.number(), *op)).collect();
            let (site, known) = (&self.process.site, &self.known);
            let calls = numbered
                .iter()
                .filter(|(_, op)| *op != Op::Settle)
                .map(|(n, op)| async move { (*n, *op, perform(site, known, *op, *n).await) });
            let settles = step.contains(&Op::Settle);
            let settling = async { if settles { self.process.settler.step().await.map(drop) } else { Ok(()) } };
            let (answers, settled) = futures::join!(futures::future::join_all(calls), settling);
            let mut failed = settled.err().map(|reason| (Op::Settle, Error::Internal(reason)));
            for (n, op, answer) in answers {
                match answer {
                    Ok(answer) => self.known.note(n, op, answer),
                    Err(err) => {
                        // Of every other error the site says that nothing was changed.
                        if matches!(err, Error::Internal(_)) {
                            self.known.doubtful.push((n, op));
                        }
                        failed = Some((op, err));
                    }
                }
            }
            if let Some(failed) = failed {
                return Err(failed);
            }
        }
        Ok(())
    }

    fn number(&mut self) -> usize {
        self.known.count += 1;
        self.known.count
    }

    /// Settles until nothing is left to be settled.
    pub async fn settle(&mut self) {
        for _ in 0..20 {
            let stepped = self.process.settler.step().await;
            if self.process.site.unsettled() == 0 {
                return;
            }
            stepped.expect("what was left can be settled");
        }
        panic!("{} writes do not settle", self.process.site.unsettled());
    }
}

impl Known {
    /// An operation was acknowledged.
    pub fn note(&mut self, n: usize, op: Op, answer: Answer) {
        self.world.apply(op, n);
        match (op, answer) {
            (Op::Put(key, _) | Op::Copy(_, key), Answer::Stamp(stamp)) => self.stamped(key, stamp),
            (Op::Complete(upload), Answer::Stamp(stamp)) => {
                let named = self.uploads.remove(&upload).expect("it was started");
                self.stamped(named.key, stamp);
            }
            (Op::Start(upload, key), Answer::Upload(id)) => drop(self.uploads.insert(upload, Named { id, key })),
            _ => {}
        }
    }

    /// What was in doubt was looked at: this is how it is.
    pub fn settle_doubts(&mut self, world: World) {
        self.world = world;
        self.doubtful.clear();
    }

    fn stamped(&mut self, key: &str, stamp: Stamp) {
        self.world.objects.get_mut(key).expect("it was just written").stamp = Some(stamp);
    }
}

/// Does the nth operation.
pub async fn perform(site: &Site, known: &Known, op: Op, n: usize) -> Result<Answer> {
    let stamp = |written: Written| Answer::Stamp(written.stamp);
    let (bucket, none) = (object("-").bucket, WriteConditions::default());
    match op {
        Op::CreateBucket => site.create_bucket(&bucket, "owner", "us-east-1").await.map(|_| Answer::Done),
        Op::DeleteBucket => site.delete_bucket(&bucket).await.map(|()| Answer::Done),
        Op::Put(key, size) => site.put(&object(key), upload(bytes(n, size)), Description::default(), none).await.map(stamp),
        Op::Copy(from, to) => site.copy(&object(from), &object(to), CopyRequest::default()).await.map(stamp),
        Op::Delete(key) => site.delete(&object(key), none).await.map(|_| Answer::Done),
        Op::Tag(key) => site.set_register(&object(key), None, crate::site::Register::Tags(tags(n))).await.map(|_| Answer::Done),
        Op::Start(_, key) => {
            site.start_upload(&object(key), StartUpload::default()).await.map(|info| Answer::Upload(info.upload_id))
        }
        Op::Part(number, part, size) => {
            let Named { id, key } = known.uploads.get(&number).ok_or(Error::NoSuchUpload)?;
            site.put_part(&object(key), id, part, upload(bytes(n, size))).await.map(|_| Answer::Done)
        }
        Op::Complete(number) => {
            let Named { id, key } = known.uploads.get(&number).ok_or(Error::NoSuchUpload)?;
            let parts = known.world.uploads.get(&number).ok_or(Error::NoSuchUpload)?.parts.iter().map(|(number, part)| {
                NamedPart { number: *number, etag: Some(ETag::of_md5(super::world::md5(part))), checksums: Vec::new() }
            });
            let complete = CompleteUpload { parts: parts.collect(), ..Default::default() };
            site.complete_upload(&object(key), id, complete).await.map(stamp)
        }
        Op::Abort(number) => {
            let Named { id, key } = known.uploads.get(&number).ok_or(Error::NoSuchUpload)?;
            site.abort_upload(&object(key), id).await.map(|()| Answer::Done)
        }
        Op::Settle => Ok(Answer::Done),
    }
}
