//! What happens in a history: drawn from its seed before it begins, so that it can be printed, cut down and written
//! down as a test.

use super::life::Gait;
use super::network::Weather;
use super::world::Settings;
use crate::model::SiteNumber;

/// Most client operations of a history.
const OPS_MAX: usize = 40;

/// What a client asks for. Buckets and keys are numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Put {
        key: u8,
        size: usize,
    },
    /// Only if nothing is there.
    PutNew {
        key: u8,
    },
    /// Only over what was read just before.
    PutOver {
        key: u8,
    },
    Delete {
        key: u8,
    },
    Tag {
        key: u8,
    },
    Copy {
        from: u8,
        to: u8,
    },
    Multipart {
        key: u8,
    },
    Get {
        key: u8,
    },
    /// Whatever it is, but only over something.
    PutMatch {
        key: u8,
    },
    /// Not less than the last write that anybody was told of.
    GetAtLeast {
        key: u8,
    },
    Head {
        key: u8,
    },
    List,
    CreateBucket,
    DeleteBucket,
    Versions(VersionsOp),
}

/// What a client asks for that knows of versions. Of those of a key, newest first, it means the `nth`, counted around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionsOp {
    Switch {
        enabled: bool,
    },
    Purge {
        key: u8,
        nth: u8,
        bypass: bool,
    },
    PurgeNull {
        key: u8,
    },
    Hold {
        key: u8,
        nth: u8,
        on: bool,
    },
    /// For so many seconds; 0 ends it.
    Retain {
        key: u8,
        nth: u8,
        compliance: bool,
        for_s: u64,
        bypass: bool,
    },
    /// A new object that is held or retained from the beginning.
    PutLocked {
        key: u8,
        hold: bool,
        compliance: bool,
        for_s: u64,
    },
    Get {
        key: u8,
        nth: u8,
    },
    List,
}

/// Something that happens at a moment.
#[derive(Clone, Copy, Debug)]
pub enum Act {
    /// A client calls a site, and hangs up after so many milliseconds.
    Client {
        site: SiteNumber,
        op: Op,
        patience_ms: Option<u64>,
    },
    /// A site dies after so many more steps.
    Kill {
        site: SiteNumber,
        steps: u64,
    },
    Start {
        site: SiteNumber,
    },
    /// No message gets from one site to the other, or again.
    Cut {
        from: SiteNumber,
        to: SiteNumber,
        cut: bool,
    },
    /// A site's clock is off by so much from now on, milliseconds.
    Skew {
        site: SiteNumber,
        ms: i64,
    },
    /// Every clock goes forward by so many hours.
    Advance {
        hours: u64,
    },
    /// A site looks for rows that have served, such as old graves.
    Expire {
        site: SiteNumber,
    },
    /// A site compares itself with every other, and with its store.
    Reconcile {
        site: SiteNumber,
        deep: bool,
        dry_run: bool,
    },
    /// A person has a site tell another again what a key is.
    TellAgain {
        site: SiteNumber,
        to: SiteNumber,
        key: u8,
    },
    /// What a site published is lost, or all of it is heard again.
    Stream {
        site: SiteNumber,
        again: bool,
    },
    /// The bus answers nobody, or again.
    Bus {
        down: bool,
    },
    /// The bytes of a key go bad at a site, if another one has them.
    Rot {
        site: SiteNumber,
        key: u8,
        how: Rot,
    },
    /// A site loses everything, if others have all of it; it starts again empty.
    Wipe {
        site: SiteNumber,
    },
    /// A copy is kept of what a site knows.
    KeepCopy {
        site: SiteNumber,
    },
    /// A site gets the copy back in place of what it knows, if others have all of it.
    RollBack {
        site: SiteNumber,
    },
}

/// How bytes go bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rot {
    /// They change, and nothing else does.
    Silent,
    /// Somebody puts others in their place.
    Replaced,
    Gone,
}

/// A whole history.
#[derive(Clone, Debug)]
pub struct Plan {
    pub settings: Settings,
    pub weather: Weather,
    pub gaits: Vec<Gait>,
    /// Milliseconds from the beginning, ascending.
    pub acts: Vec<(u64, Act)>,
}

/// Draws acts.
struct Draw {
    chance: fastrand::Rng,
    sites: u16,
    keys: u8,
    buckets_change: bool,
    /// Draws what concerns versions, in histories that have any: the others stay what they were.
    versions: Option<fastrand::Rng>,
    /// The one site whose store or knowledge may be damaged: what no other holds is not lost then.
    frail: SiteNumber,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed ^ 0x5EED);
        let sites = [2, 2, 3, 3, 3, 4][chance.usize(..6)];
        let keys = chance.u8(1..=4);
        let buckets_change = chance.u8(..4) == 0;
        let bus = [None, None, Some(0), Some(100), Some(400)][chance.usize(..5)];
        let (conflicts, cached_rows_max) = (chance.u8(..4) > 0, [0, 1_000][chance.usize(..2)]);
        let settings = Settings { seed, sites, conflicts, cached_rows_max, bus, naming: naming(seed) };
        let weather = weather(&mut chance);
        let gaits = (0..sites).map(|_| gait(&mut chance)).collect();
        let frail = SiteNumber(chance.u16(1..=sites));
        let mut of_versions = fastrand::Rng::with_seed(seed ^ 0x7E51);
        let versions = of_versions.bool().then_some(of_versions);
        let mut draw = Draw { chance, sites, keys, buckets_change, versions, frail };
        let acts = draw.acts();
        Self { settings, weather, gaits, acts }
    }
}

/// In every other history some of the stores are of that kind. Drawn apart, so that the rest of a history stays what it was.
fn naming(seed: u64) -> u16 {
    let mut chance = fastrand::Rng::with_seed(seed ^ 0x0B1E);
    if chance.bool() { chance.u16(..) } else { 0 }
}

fn weather(chance: &mut fastrand::Rng) -> Weather {
    let mut some = |most: u16| if chance.bool() { chance.u16(..=most) } else { 0 };
    let (lost, twice, late, broken) = (some(80), some(100), some(60), some(60));
    Weather { lost, twice, late, broken, delay_ms_max: [0, 3, 30, 300][chance.usize(..4)] }
}

fn gait(chance: &mut fastrand::Rng) -> Gait {
    let fails = |chance: &mut fastrand::Rng| if chance.u8(..4) == 0 { chance.u16(..60) } else { 0 };
    Gait { pause_ms_max: [1, 5, 20, 200][chance.usize(..4)], store_fails: fails(chance), store_lies: fails(chance) }
}

impl Draw {
    fn site(&mut self) -> SiteNumber {
        SiteNumber(self.chance.u16(1..=self.sites))
    }

    fn key(&mut self) -> u8 {
        self.chance.u8(..self.keys)
    }

    fn acts(&mut self) -> Vec<(u64, Act)> {
        let mut acts = Vec::new();
        let mut at_ms = 0;
        let ops = self.chance.usize(8..OPS_MAX);
        // How long histories pause between operations.
        let pause_ms = [2, 20, 300, 3_000][self.chance.usize(..4)];
        let fault_in = [3, 6, 12, 1_000][self.chance.usize(..4)];
        if self.chance.u8(..8) == 0 {
            self.away(&mut acts, pause_ms * ops as u64);
        }
        if let Some(op) = self.first_switch() {
            acts.push((0, Act::Client { site: SiteNumber(1), op, patience_ms: None }));
        }
        for _ in 0..ops {
            at_ms += if self.chance.u8(..3) == 0 { 0 } else { self.chance.u64(..=pause_ms) };
            let patience_ms = (self.chance.u8(..12) == 0).then(|| self.chance.u64(..=pause_ms));
            let (site, op) = (self.site(), self.op());
            acts.push((at_ms, Act::Client { site, op, patience_ms }));
            if self.chance.usize(..fault_in) == 0 {
                self.fault(&mut acts, at_ms, pause_ms);
            }
        }
        acts.sort_by_key(|(at_ms, _)| *at_ms);
        acts
    }

    fn op(&mut self) -> Op {
        let key = self.key();
        if let Some(op) = self.versions_op(key) {
            return Op::Versions(op);
        }
        match self.chance.u8(..100) {
            0..28 => Op::Put { key, size: [10, 100, 3_000, 0, 70_000][self.chance.usize(..5)] },
            28..34 => Op::PutNew { key },
            34..40 => Op::PutOver { key },
            40..55 => Op::Delete { key },
            55..66 => Op::Tag { key },
            66..71 => Op::Copy { from: key, to: self.key() },
            71..75 => Op::Multipart { key },
            75..77 => Op::PutMatch { key },
            77..80 => Op::GetAtLeast { key },
            80..90 => Op::Get { key },
            90..93 => Op::Head { key },
            93..96 => Op::List,
            _ if !self.buckets_change => Op::Get { key },
            96..98 => Op::CreateBucket,
            _ => Op::DeleteBucket,
        }
    }

    /// Most histories with versions have them from the beginning.
    fn first_switch(&mut self) -> Option<Op> {
        let chance = self.versions.as_mut()?;
        (chance.u8(..4) > 0).then_some(Op::Versions(VersionsOp::Switch { enabled: true }))
    }

    /// Every other operation of a history with versions is about them.
    fn versions_op(&mut self, key: u8) -> Option<VersionsOp> {
        let chance = self.versions.as_mut()?;
        if chance.bool() {
            return None;
        }
        let nth = chance.u8(..80);
        let for_s = [0, 3, 8, 30, 3_600, 100 * 3_600, 300 * 3_600][chance.usize(..7)];
        let (compliance, bypass) = (chance.u8(..3) == 0, chance.u8(..3) == 0);
        Some(match chance.u8(..100) {
            0..12 => VersionsOp::Switch { enabled: chance.u8(..5) < 3 },
            12..42 => VersionsOp::Purge { key, nth, bypass },
            42..47 => VersionsOp::PurgeNull { key },
            47..67 => VersionsOp::Hold { key, nth, on: chance.u8(..5) < 3 },
            67..79 => VersionsOp::Retain { key, nth, compliance, for_s, bypass },
            79..85 => VersionsOp::PutLocked { key, hold: chance.bool(), compliance, for_s },
            85..94 => VersionsOp::Get { key, nth },
            _ => VersionsOp::List,
        })
    }

    /// A fault, and its end after a while.
    fn fault(&mut self, acts: &mut Vec<(u64, Act)>, at_ms: u64, pause_ms: u64) {
        let until_ms = at_ms + self.chance.u64(..=pause_ms * 10);
        match self.chance.u8(..20) {
            0..6 => {
                let site = self.site();
                acts.push((at_ms, Act::Kill { site, steps: self.chance.u64(1..40) }));
                acts.push((until_ms + self.chance.u64(..3_000), Act::Start { site }));
            }
            6..10 => self.cut(acts, at_ms, until_ms),
            10..12 => self.skew(acts, at_ms, until_ms),
            12 => self.damage(acts, at_ms, until_ms),
            13 => self.bus(acts, at_ms, until_ms),
            14 | 15 => self.age(acts, at_ms),
            16 | 17 => {
                let (site, deep, dry_run) = (self.site(), self.chance.bool(), self.chance.u8(..4) == 0);
                acts.push((at_ms, Act::Reconcile { site, deep, dry_run }));
            }
            _ => {
                let (site, to, key) = (self.site(), self.site(), self.key());
                if site != to {
                    acts.push((at_ms, Act::TellAgain { site, to, key }));
                }
            }
        }
    }

    fn cut(&mut self, acts: &mut Vec<(u64, Act)>, at_ms: u64, until_ms: u64) {
        let (site, other, both) = (self.site(), self.site(), self.chance.bool());
        if site == other {
            return;
        }
        for (from, to) in [(site, other), (other, site)].into_iter().take(1 + usize::from(both)) {
            acts.push((at_ms, Act::Cut { from, to, cut: true }));
            acts.push((until_ms, Act::Cut { from, to, cut: false }));
        }
    }

    /// A clock goes wrong, and perhaps jumps back.
    fn skew(&mut self, acts: &mut Vec<(u64, Act)>, at_ms: u64, until_ms: u64) {
        let (site, far) = (self.site(), self.chance.u8(..6) == 0);
        let ms = if far { self.chance.i64(6_000..30_000) } else { self.chance.i64(-4_000..4_000) };
        acts.push((at_ms, Act::Skew { site, ms }));
        if self.chance.bool() {
            acts.push((until_ms, Act::Skew { site, ms: 0 }));
        }
    }

    /// Bytes rot, or a site loses what it knows. A little later than now, so that others may have it.
    fn damage(&mut self, acts: &mut Vec<(u64, Act)>, at_ms: u64, until_ms: u64) {
        let (site, key) = (self.frail, self.key());
        let how = [Rot::Silent, Rot::Replaced, Rot::Gone][self.chance.usize(..3)];
        match self.chance.u8(..8) {
            0..5 => acts.push((until_ms, Act::Rot { site, key, how })),
            5 | 6 => acts.push((until_ms, Act::Wipe { site })),
            _ => {
                acts.push((at_ms, Act::KeepCopy { site }));
                acts.push((until_ms, Act::RollBack { site }));
            }
        }
    }

    fn bus(&mut self, acts: &mut Vec<(u64, Act)>, at_ms: u64, until_ms: u64) {
        if self.chance.bool() {
            acts.push((at_ms, Act::Bus { down: true }));
            acts.push((until_ms, Act::Bus { down: false }));
        } else {
            let (site, again) = (self.site(), self.chance.bool());
            acts.push((at_ms, Act::Stream { site, again }));
        }
    }

    /// Time goes by for every clock, and graves are looked for.
    fn age(&mut self, acts: &mut Vec<(u64, Act)>, at_ms: u64) {
        let hours = [1, 20, 170, 400][self.chance.usize(..4)];
        acts.push((at_ms, Act::Advance { hours }));
        for site in (1..=self.sites).map(SiteNumber) {
            let soon = self.chance.u64(..500);
            acts.push((at_ms + soon, Act::Expire { site }));
        }
    }

    /// One site is cut off from all, for all the history and longer.
    fn away(&mut self, acts: &mut Vec<(u64, Act)>, length_ms: u64) {
        let site = self.site();
        for other in (1..=self.sites).map(SiteNumber).filter(|other| *other != site) {
            for (from, to) in [(site, other), (other, site)] {
                acts.push((0, Act::Cut { from, to, cut: true }));
            }
        }
        if self.chance.bool() {
            acts.push((length_ms / 2, Act::Kill { site, steps: 1 }));
        }
        if self.chance.bool() {
            self.age(acts, length_ms);
        }
    }
}
