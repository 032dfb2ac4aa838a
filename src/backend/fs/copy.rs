//! Copies inside the store: by the kernel, sharing blocks where the file system can.

use std::ops::Range;
use std::sync::Arc;

use super::error::{Doing, is_unknown_call};
use super::get::Opened;
use super::io::Node;
use super::pool::Taken;
use super::{Core, blocking};
use crate::backend::{Error, GetOptions, Kept, KeptPart, Place, PutOptions, Result};
use crate::model::ObjectId;

/// Bytes copied before it is looked whether anybody still waits.
const STRIDE_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of one read and write where the kernel cannot copy.
const BUFFER_BYTES: usize = 256 * 1024;

pub(super) async fn copy(core: &Arc<Core>, from: &Place, get: GetOptions, put: PutOptions) -> Result<Kept> {
    let target = blocking(core, |core| core.pool.take()).await?;
    let (target, size) = append(core, target, 0, from.clone(), get).await?;
    Ok(blocking(core, move |core| core.seal(target, size, &put)).await?.keep())
}

pub(super) async fn assemble(core: &Arc<Core>, to: &ObjectId, parts: &[KeptPart], put: PutOptions) -> Result<Kept> {
    let mut target = blocking(core, |core| core.pool.take()).await?;
    let mut size = 0;
    for part in parts {
        let from = Place { object: to.clone(), location: part.kept.location.clone() };
        let get = GetOptions { range: None, expect: Some(part.kept.binding.clone()) };
        (target, size) = append(core, target, size, from, get).await?;
    }
    Ok(blocking(core, move |core| core.seal(target, size, &put)).await?.keep())
}

/// Copies the bytes meant by `get` behind the first `size` of `target`; answers the new size.
async fn append(core: &Arc<Core>, target: Taken, size: u64, from: Place, get: GetOptions) -> Result<(Taken, u64)> {
    let source = blocking(core, move |core| {
        let opened = core.find_bytes(&from, get.expect.as_ref())?;
        let range = opened.clamp(get.range.as_ref());
        Ok::<_, Error>((opened, range))
    });
    let (mut source, range) = source.await?;
    let (mut target, mut at, mut size) = (target, range.start, size);
    while at < range.end {
        let stride = at..range.end.min(at + STRIDE_BYTES);
        let done = stride.end;
        (source, target) = blocking(core, move |core| {
            core.room.take(&core.root, stride.end - stride.start)?;
            copy_stride(&source.node, stride, &target.node, size)?;
            Ok::<_, Error>((source, target))
        })
        .await?;
        size += done - at;
        at = done;
    }
    let unchanged = blocking(core, move |_| unchanged(&source)).await?;
    if unchanged { Ok((target, size)) } else { Err(Error::Changed) }
}

fn unchanged(source: &Opened) -> Result<bool> {
    source.still_holds().doing("looking at the source again")
}

fn copy_stride(source: &Node, mut range: Range<u64>, target: &Node, mut to: u64) -> Result<()> {
    while !range.is_empty() {
        let copied = match source.copy_to(range.start, range.end - range.start, target, to) {
            Err(err) if is_unknown_call(&err) || err.kind() == std::io::ErrorKind::CrossesDevices => {
                copy_by_hand(source, &range, target, to)
            }
            other => other,
        };
        match copied.doing("copying bytes")? {
            // The source is shorter than when it was opened.
            0 => return Err(Error::Changed),
            copied => {
                range.start += copied;
                to += copied;
            }
        }
    }
    Ok(())
}

fn copy_by_hand(source: &Node, range: &Range<u64>, target: &Node, to: u64) -> std::io::Result<u64> {
    let wanted = usize::try_from(range.end - range.start).unwrap_or(BUFFER_BYTES).min(BUFFER_BYTES);
    let mut buf = vec![0; wanted];
    let read = source.read_at(&mut buf, range.start)?;
    target.write_at(&buf[..read], to)?;
    Ok(read as u64)
}
