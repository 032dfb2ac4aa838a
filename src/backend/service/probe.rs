//! What a service does by itself, tried out once at start in the home bucket.

use std::cmp::Ordering;

use bytes::Bytes;

use super::below::{BELOW, Below};
use super::buffer::{Settings, When};
use super::mark::{Mark, binding_of};
use super::names::is_misplaced;
use super::store::Core;
use super::{Answer, Cursor, Only, Service, Spot, Target, Told};
use crate::backend::{Capabilities, Capability, Error, Result, Support};
use crate::clock::{SystemClock, WallClock};
use crate::model::{Incarnation, WriteId};

/// In byte order, where some services list `/` first.
const IN_ORDER: [&str; 3] = ["a-b", "a/b", "a0"];
/// In byte order, of which that of UTF-16 is the reverse.
const WIDE: [&str; 2] = ["\u{FF5E}", "\u{1F600}"];
/// Pages of a listing of them that are read. A service may put as few on one as it likes.
const PROBE_PAGES_MAX: u32 = 16;

const LATER_STAYS: &str = "of \"a\" and \"a/b\" the later one stays under a name of ours";
/// How far two clocks may seem apart that are set right.
const CLOCKS_APART_MS_MAX: u64 = 2_000;

/// What was found.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nature {
    /// A removal with a condition spares other bytes.
    pub conditional_removal: bool,
    /// A copy with a condition spares other bytes.
    pub conditional_copy: bool,
    /// Names are in the order of UTF-16.
    pub is_utf16: bool,
    /// What becomes of names below others.
    pub below: Below,
    /// A name may lead to what has another: where names are files, and MinIO takes `/a` for `a`.
    pub confuses_names: bool,
    /// How far the service's clock is ahead of this machine's, at the least.
    pub clock_ahead_ms: i64,
}

impl Nature {
    /// Whether names like this one would spoil the order of a listing.
    pub fn misplaces(&self, name: &str) -> bool {
        self.is_utf16 && is_misplaced(name)
    }

    /// The service's order of names.
    pub fn order(&self, a: &str, b: &str) -> Ordering {
        if self.is_utf16 { a.encode_utf16().cmp(b.encode_utf16()) } else { a.cmp(b) }
    }
}

impl<S: Service> Core<S> {
    /// Stores, copies, lists and removes objects. A service that does not keep what is needed is refused.
    pub(super) async fn probe(&self) -> Result<Nature> {
        let before_ms = SystemClock.millis();
        let old = self.put_probe("a-b", 1, "probe").await?;
        let clock_ahead_ms = ahead_ms(before_ms, &old, SystemClock.millis());
        let new = self.put_probe("a-b", 2, "other").await?;
        if new.binding != binding_of(probe_write(2)) || new.modified_ms != 1 || new.size != 5 {
            return Err(refused("it does not keep the metadata of objects: nothing could be told apart there"));
        }
        self.put_probe("a0", 3, "probe").await?;
        let below = self.probe_below().await?;
        let nature = Nature {
            conditional_copy: self.probe_copies(&old, &new).await?,
            conditional_removal: self.probe_removal(&old).await?,
            is_utf16: self.probe_order().await?,
            below,
            confuses_names: below == Below::Refused || self.probe_spellings().await?,
            clock_ahead_ms,
        };
        if self.service.is_exact() && !(nature.conditional_copy && nature.conditional_removal) {
            return Err(refused("it does what it was told not to do under a condition: it is not what its kind says"));
        }
        for name in IN_ORDER {
            self.remove_any("removing a probe", &self.probe_spot(name)).await?;
        }
        Ok(nature)
    }

    fn probe_spot(&self, name: &str) -> Spot {
        Spot::new(self.home.clone(), self.names.probe(name))
    }

    pub(super) fn probe_target(&self, name: &str, write: u64) -> Target {
        let mark = Mark { write: probe_write(write), modified_ms: Some(1), key: None, label: None };
        Target::new(self.probe_spot(name), mark.metadata())
    }

    async fn put_probe(&self, name: &str, write: u64, text: &'static str) -> Result<Told> {
        let target = self.probe_target(name, write);
        self.put_held(&target, Bytes::from_static(text.as_bytes())).await?;
        Ok(self.look(&target.spot).await?)
    }

    /// Whether a copy onto other bytes than were seen is refused.
    async fn probe_copies(&self, old: &Told, new: &Told) -> Result<bool> {
        let from = self.probe_spot("a-b");
        let copy = async |write, only| {
            let target = self.probe_target("a/b", write);
            self.long("trying out a copy", 0, self.service.copy(&from, new, &target, only)).await?;
            Ok::<_, super::Fault>(target.spot)
        };
        let copied = self.look(&copy(4, Only::Any).await?).await?;
        if copied.binding != binding_of(probe_write(4)) || copied.size != new.size {
            return Err(refused("its copies are not what was asked for"));
        }
        Ok(is_refused(copy(5, Only::Nothing).await)? && is_refused(copy(6, Only::Seen(old)).await)?)
    }

    /// Whether a removal of other bytes than were seen is refused.
    async fn probe_removal(&self, old: &Told) -> Result<bool> {
        let spot = self.probe_spot("a-b");
        let stale = self.once("trying out a condition", self.service.remove(&spot, Only::Seen(old))).await;
        let is_spared = self.seen(&spot).await?.is_some();
        if !is_spared {
            self.put_probe("a-b", 7, "probe").await?;
        }
        Ok(is_refused(stale)? && is_spared)
    }

    /// Whether names are listed in the order of UTF-16, or in that of bytes.
    async fn probe_order(&self) -> Result<bool> {
        let mut wide = Vec::new();
        for name in WIDE.into_iter().filter(|name| !self.service.is_odd(&self.names.probe(name))) {
            self.put_probe(name, 8, "probe").await?;
            wide.push(name);
        }
        let mut names = self.probes().await?;
        // A start that ended half-way may have left that.
        names.retain(|name| name != BELOW);
        for name in &wide {
            self.remove_any("removing a probe", &self.probe_spot(name)).await?;
        }
        let in_order: Vec<_> = IN_ORDER.into_iter().chain(wide.iter().copied()).collect();
        let in_utf16: Vec<_> = IN_ORDER.into_iter().chain(wide.into_iter().rev()).collect();
        if names != in_order && names != in_utf16 {
            return Err(refused(&format!("it lists {names:?} where {in_order:?} are: that is not the byte order of names")));
        }
        Ok(names != in_order)
    }

    /// The names of all that is tried out, as they are listed.
    pub(super) async fn probes(&self) -> Result<Vec<String>> {
        let (prefix, mut from, mut names) = (self.names.probe_prefix(), Cursor::Start, Vec::new());
        for _ in 0..PROBE_PAGES_MAX {
            let call = || self.service.page(&self.home, &prefix, &from);
            let page = self.quick("trying out a listing", 0, || Box::pin(call())).await?;
            names.extend(page.listed.iter().filter_map(|listed| listed.name.strip_prefix(&prefix)).map(str::to_owned));
            let Some(next) = page.next else { break };
            from = Cursor::Next(next);
        }
        Ok(names)
    }

    pub(super) fn capabilities(&self) -> Capabilities {
        let line = |name, support, detail: &str| Capability { name, support, detail: detail.to_owned() };
        let tried = |name, is_native, else_: &str| match is_native {
            true => line(name, Support::Native, "tried"),
            false => line(name, Support::Refused, else_),
        };
        let mut properties = vec![
            line("durability", Support::Native, "as the service promises it"),
            line(
                "atomic publish",
                Support::Native,
                "each write has a name of its own; what is no version is copied to its key afterwards",
            ),
            tried("conditional delete", self.nature.conditional_removal, "looked at before: what others write in between may go"),
            tried(
                "exact copies",
                self.service.is_exact() && self.nature.conditional_copy,
                "after a copy of unknown outcome nothing else comes to that name for 15 minutes",
            ),
            line("conditional writes", Support::Emulated, "exact among this process's clients, by its key locks"),
            line("copy", Support::Native, "by the service, tried"),
            match self.nature.is_utf16 {
                false => line("byte order", Support::Native, "tried"),
                true => line(
                    "byte order",
                    Support::Emulated,
                    "of UTF-16: keys with characters from U+E000 on stay under names of ours",
                ),
            },
            match self.nature.below {
                Below::Listed => line("keys below keys", Support::Native, "tried"),
                Below::Refused => line("keys below keys", Support::Emulated, LATER_STAYS),
                Below::Hidden => line("keys below keys", Support::Emulated, &format!("it lists one of both: {LATER_STAYS}")),
            },
            match self.nature.confuses_names {
                false => line("distinct names", Support::Native, "tried"),
                true => line(
                    "distinct names",
                    Support::Emulated,
                    "some names lead to what has another: keys without a name of their own there are looked for in a listing",
                ),
            },
            clock(self.nature.clock_ahead_ms),
            match self.service.lists_versions() {
                true => line(
                    "existing versions",
                    Support::Native,
                    "taken over with their bucket, each by the id that the store gave it",
                ),
                false => line(
                    "existing versions",
                    Support::Refused,
                    "what is current is taken over; older ones stay where they are, unseen",
                ),
            },
            line("multipart", Support::Native, "parts go where the whole will be"),
        ];
        properties.extend(self.service.capabilities());
        properties.extend(self.buffering.as_ref().map(buffering));
        properties.extend(self.line.bytes_per_second_max().map(bandwidth));
        properties.push(line(
            "names",
            Support::Emulated,
            "keys with empty or dotted segments, control characters or segments over 180 bytes stay under names of ours",
        ));
        Capabilities { store: String::new(), kind: self.service.kind(), properties }
    }
}

fn clock(ahead_ms: i64) -> Capability {
    let (apart_ms, side) = (ahead_ms.unsigned_abs(), if ahead_ms > 0 { "ahead of" } else { "behind" });
    let detail = format!("it is {apart_ms} ms {side} this machine's, and dates what others store by that: set both right");
    match apart_ms <= CLOCKS_APART_MS_MAX {
        true => Capability { name: "clock", support: Support::Native, detail: "this machine's, tried".to_owned() },
        false => Capability { name: "clock", support: Support::Refused, detail },
    }
}

/// How far a clock is ahead that dated what was stored between two moments of ours: services tell seconds.
fn ahead_ms(before_ms: u64, stored: &Told, after_ms: u64) -> i64 {
    let Some(latest_ms) = stored.changed_ms else { return 0 };
    let earliest_ms = latest_ms / 1_000 * 1_000;
    earliest_ms.saturating_sub(after_ms) as i64 - before_ms.saturating_sub(latest_ms) as i64
}

fn buffering(settings: &Settings) -> Capability {
    let Settings { path, when, slow, bytes_max, .. } = settings;
    let what = match when {
        When::Down => format!("writes wait there while the store is down, or calls take more than {slow:?}"),
        When::Always => "every write is answered from there".to_owned(),
        When::Never => "no new writes; what waits there is carried to the store".to_owned(),
    };
    let detail = format!("{}: {what}; {bytes_max} bytes at the most", path.display());
    Capability { name: "buffered upload", support: Support::Emulated, detail }
}

fn bandwidth(bytes_per_second_max: u64) -> Capability {
    let detail = format!("bodies wait, so that no more than {bytes_per_second_max} bytes a second go there and come from there");
    Capability { name: "bandwidth limit", support: Support::Emulated, detail }
}

/// Whether a call was refused by its condition. A fault of another kind tells nothing, but that the service does not know such a call.
fn is_refused<T>(answer: Answer<T>) -> Answer<bool> {
    match answer {
        Ok(_) => Ok(false),
        Err(fault) if fault.is_refused_by_condition() => Ok(true),
        Err(fault) if fault.is_unknown_call() => Ok(false),
        Err(fault) => Err(fault),
    }
}

fn probe_write(n: u64) -> WriteId {
    WriteId::new(Incarnation(0), 0, n)
}

fn refused(reason: &str) -> Error {
    Error::Setup(format!("this service cannot be a store: {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::service::Late;

    #[test]
    fn clocks_are_apart_by_what_no_second_explains() {
        let stored = |seconds: u64| Told::new(None, None, Some(seconds * 1_000), 0);
        assert_eq!(ahead_ms(5_300, &stored(5), 5_400), 0);
        assert_eq!(ahead_ms(5_900, &stored(6), 6_100), 0, "a second began meanwhile");
        assert_eq!(ahead_ms(5_300, &stored(65), 5_400), 59_600);
        assert_eq!(ahead_ms(65_300, &stored(5), 65_400), -59_301);
        assert_eq!((clock(-2_000).support, clock(59_600).support), (Support::Native, Support::Refused));
        assert!(clock(-59_301).detail.contains("59301 ms behind"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_readme_has_a_row_for_every_property_of_a_service() {
        let found = Late::new(1, true).open().await.capabilities();
        let rows: Vec<_> = include_str!("../../../README.md").lines().filter_map(|line| line.strip_prefix("| ")).collect();
        let optional = ["checksums", "home without versions", "buffered upload", "bandwidth limit"];
        for name in found[0].properties.iter().map(|property| property.name).chain(optional) {
            let is_row = |row: &&str| row.strip_prefix(name).is_some_and(|rest| rest.starts_with(" |") || rest.starts_with(" ("));
            assert!(rows.iter().any(is_row), "{name}");
        }
    }

    #[test]
    fn the_order_of_utf16_is_that_of_bytes_but_for_what_is_misplaced() {
        let (bytes, utf16) = (Nature::default(), Nature { is_utf16: true, ..Nature::default() });
        assert!(WIDE[0] < WIDE[1] && bytes.order(WIDE[0], WIDE[1]).is_lt() && utf16.order(WIDE[0], WIDE[1]).is_gt());
        for name in WIDE {
            assert!(utf16.misplaces(name) && !bytes.misplaces(name));
        }
        for (a, b) in [("a-b", "a/b"), ("é", "\u{D7FF}"), ("a", "a/")] {
            assert!(utf16.order(a, b).is_lt() && a < b && !utf16.misplaces(b), "{a} {b}");
        }
    }
}
