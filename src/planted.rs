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
    /// §12: graves leave by age.
    GraveByAge,
}

#[cfg(test)]
impl Fault {
    pub const ALL: [Self; 13] = [
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
        Self::GraveByAge,
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
