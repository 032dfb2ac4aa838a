//! Rules that tests switch off, one at a time, to see that what watches over them would notice.
//!
//! In a program that serves, `planted!(…)` is the word `false`, and `planted!(… => {…})` is nothing at all.

/// Whether a test planted this fault, or what happens if it did.
#[cfg(test)]
macro_rules! planted {
    ($fault:ident) => {
        $crate::planted::is_on($crate::planted::Fault::$fault)
    };
    ($fault:ident => $body:block) => {
        if $crate::planted::is_on($crate::planted::Fault::$fault) $body
    };
}

#[cfg(not(test))]
macro_rules! planted {
    ($fault:ident) => {
        false
    };
    ($fault:ident => $body:block) => {};
}

/// A rule of the protocol that is broken.
#[cfg(test)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// §1.1: a unit gets the vector that was told of it, whatever state was fetched.
    EventsOwnVector,
    /// §1.4: whatever arrives last wins.
    LastToArriveWins,
    /// §1.6: a delete leaves no grave.
    DeleteWithoutGrave,
    /// §1.6: a grave gives way to an older object.
    GraveLoses,
    /// §1.7: a receipt is written when the news comes.
    ReceiptOnDelivery,
    /// §1.7: bytes are taken whatever their checksum.
    BytesUnchecked,
    /// §7: a receipt ends what is owed, whatever state it speaks of.
    ReceiptNotCompared,
    /// §7: the mark of what is known moves before the work is written down.
    MarkBeforeWork,
    /// §4: a register write voids what was owed and owes nothing in its place.
    PendingVoid,
    /// §2: registers are taken over newer data.
    RegistersOverNewerData,
    /// §2: a stamp from the future is taken.
    FutureStamps,
    /// §2: the clock begins anew with each process.
    ClockForgotten,
    /// §4: bytes are removed from a name to which a copy of them is under way.
    RemovedBeforeItCame,
    /// §12: graves leave by age.
    GraveByAge,
    /// §12: a grave leaves while something is on its way to its unit.
    GraveInFlight,
    /// §12: what was told with the least stamp, not under the least seq, says how far everything is settled.
    SettledByStamp,
    /// §12: a mark counts although not all that was told before it is known.
    ServedBeforeThrough,
    /// §2, §4: tags get the stamp of the data.
    OneStampForAll,
    /// §2: a store that came back from a snapshot gives its seqs out again.
    SeqsReissued,
    /// §7: what comes over the bus moves the mark, past everything that did not.
    HoleNotAsked,
    /// §8: a site that is ahead is not asked for what is not here.
    BehindNotAsked,
    /// §8: a site that cannot be reached is not named.
    UnreachableUnnamed,
    /// §8: a site that gets its data back takes an absence for a fact.
    RestoringDenies,
    /// §8: a site that gets its data back lists what it has so far.
    RestoringLists,
    /// §8: a condition on a key that is not here is decided without asking anybody.
    ConditionUnasked,
    /// §8: a read does not wait for the stamp that it names.
    MinStampIgnored,
    /// §6: a purge destroys what a hold protects that it had not seen.
    PurgeBeatsHold,
    /// §6: of a purge and a hold that meet, the purge is forgotten.
    PurgeForgotten,
    /// §6: a grave keeps nothing of what protected the version.
    GraveWithoutRegisters,
    /// §6: when the current version is purged, the oldest of the others takes its place.
    OldestPromoted,
    /// §6: a delete marker is told to nobody.
    MarkerUntold,
    /// §6: a delete marker does not hide an older version.
    MarkerShowsThrough,
    /// §6: a write to a bucket whose versioning is suspended makes a version.
    SuspendedMakesVersion,
    /// §6: a write to a bucket with versions replaces the null version.
    EnabledWritesNull,
    /// §6: the later of two retentions counts, although the earlier was in COMPLIANCE mode.
    ComplianceShortened,
    /// §6: a write of the null version takes the place of whatever is current.
    NullOverVersion,
    /// §4: something else is done at a name while a call there may be under way.
    PendingUnheeded,
    /// §4: what a process before this one had begun at a name is not remembered.
    PendingForgotten,
}

#[cfg(test)]
impl Fault {
    /// Those that worlds of several sites find; `sim::late` finds the others.
    pub const ALL: [Self; 36] = [
        Self::EventsOwnVector,
        Self::LastToArriveWins,
        Self::DeleteWithoutGrave,
        Self::GraveLoses,
        Self::ReceiptOnDelivery,
        Self::BytesUnchecked,
        Self::ReceiptNotCompared,
        Self::MarkBeforeWork,
        Self::PendingVoid,
        Self::RegistersOverNewerData,
        Self::FutureStamps,
        Self::ClockForgotten,
        Self::RemovedBeforeItCame,
        Self::GraveByAge,
        Self::GraveInFlight,
        Self::SettledByStamp,
        Self::ServedBeforeThrough,
        Self::OneStampForAll,
        Self::SeqsReissued,
        Self::HoleNotAsked,
        Self::BehindNotAsked,
        Self::UnreachableUnnamed,
        Self::RestoringDenies,
        Self::RestoringLists,
        Self::ConditionUnasked,
        Self::MinStampIgnored,
        Self::PurgeBeatsHold,
        Self::PurgeForgotten,
        Self::GraveWithoutRegisters,
        Self::OldestPromoted,
        Self::MarkerUntold,
        Self::MarkerShowsThrough,
        Self::SuspendedMakesVersion,
        Self::EnabledWritesNull,
        Self::ComplianceShortened,
        Self::NullOverVersion,
    ];
}

#[cfg(test)]
thread_local! {
    static PLANTED: std::cell::Cell<Option<Fault>> = const { std::cell::Cell::new(None) };
}

/// Whether this thread runs with the fault.
#[cfg(test)]
pub fn is_on(fault: Fault) -> bool {
    PLANTED.get() == Some(fault)
}

/// Runs something on this thread with a fault planted, or with none.
#[cfg(test)]
pub fn with<T>(fault: Option<Fault>, run: impl FnOnce() -> T) -> T {
    let before = PLANTED.replace(fault);
    let outcome = run();
    PLANTED.set(before);
    outcome
}
