//! How archived rows lie in notes: what a note's name says, and the frames in it.
//!
//! A note holds rows of the commits after one revision up to another, perhaps one part of them; the last part ends the
//! set, which counts from then on. What begins after nothing holds every row there is: a snapshot.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, checksum};

use crate::model::Incarnation;
use crate::status::{RawRow, Revision};

/// Bytes of rows after which a note ends.
pub(super) const PART_BYTES: usize = 4 << 20;
/// Bytes of rows that share a checksum.
const FRAME_BYTES: usize = 64 << 10;
/// Begins every note of rows; its last byte is the version.
const MAGIC: [u8; 8] = *b"AB-ROWS\x01";

/// What the name of a note says of the rows in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    pub incarnation: Incarnation,
    pub upto: Revision,
    /// Everything committed after this and up to `upto` is in the set.
    pub after: Revision,
    pub number: u32,
    /// Whether it is the last of its set.
    pub ends: bool,
    pub bytes: u32,
}

impl Part {
    pub fn name(&self) -> String {
        let Self { incarnation, after, upto, number, bytes, .. } = self;
        let end = if self.ends { "end" } else { "more" };
        format!("rows-{:08x}-{:016x}-{:016x}-{number:06x}-{bytes:08x}-{end}", incarnation.0, after.0, upto.0)
    }

    pub fn parse(name: &str) -> Option<Self> {
        let mut fields = name.strip_prefix("rows-")?.split('-');
        let mut number = |digits: usize| {
            let field = fields.next().filter(|field| field.len() == digits)?;
            u64::from_str_radix(field, 16).ok()
        };
        let incarnation = Incarnation(u32::try_from(number(8)?).ok()?);
        let (after, upto) = (Revision(number(16)?), Revision(number(16)?));
        let (part, bytes) = (u32::try_from(number(6)?).ok()?, u32::try_from(number(8)?).ok()?);
        let ends = match fields.next()? {
            "end" => true,
            "more" => false,
            _ => return None,
        };
        fields.next().is_none().then_some(Self { incarnation, upto, after, number: part, ends, bytes })
    }

    /// Whether both belong to one set.
    pub fn is_beside(&self, other: &Self) -> bool {
        (self.incarnation, self.after, self.upto) == (other.incarnation, other.after, other.upto)
    }
}

/// The parts of complete sets, in the order in which their rows are to be read, and what crashes left of others.
pub(super) fn sort(names: &[String]) -> (Vec<Part>, Vec<Part>) {
    let mut parts: Vec<Part> = names.iter().filter_map(|name| Part::parse(name)).collect();
    parts.sort();
    let is_whole = |set: &[Part]| {
        let is_gapless = set.iter().zip(0..).all(|(part, number)| part.number == number);
        is_gapless && set.last().is_some_and(|last| last.ends)
    };
    let mut whole = Vec::new();
    let mut broken = Vec::new();
    let mut rest = &parts[..];
    while let Some(first) = rest.first() {
        let (set, others) = rest.split_at(rest.iter().take_while(|part| part.is_beside(first)).count());
        if is_whole(set) {
            whole.extend(set)
        } else {
            broken.extend(set)
        }
        rest = others;
    }
    (whole, broken)
}

/// Up to where a life is archived without a gap, beginning with a snapshot. Nothing: there is none.
pub(super) fn covered(parts: &[Part], life: Incarnation) -> Revision {
    let mut covered = Revision(0);
    for part in parts.iter().filter(|part| part.incarnation == life) {
        if part.after <= covered {
            covered = covered.max(part.upto);
        }
    }
    covered
}

/// Rows on their way into a note.
#[derive(Debug, Default)]
pub(super) struct Writing {
    bytes: Vec<u8>,
    frame: Vec<u8>,
}

impl Writing {
    pub fn push(&mut self, row: &RawRow) {
        RawRow::write(row.table, &row.key, &row.row, &mut self.frame);
        if self.frame.len() >= FRAME_BYTES {
            self.end_frame();
        }
    }

    fn end_frame(&mut self) {
        if self.bytes.is_empty() {
            self.bytes.extend_from_slice(&MAGIC);
        }
        let length = u32::try_from(self.frame.len()).expect("a frame is small");
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&sum_of(&self.frame).to_le_bytes());
        self.bytes.append(&mut self.frame);
    }

    pub fn is_full(&self) -> bool {
        self.bytes.len() + self.frame.len() >= PART_BYTES
    }

    /// The note. An empty frame ends it, so that what is cut off between frames shows.
    pub fn finish(mut self) -> Bytes {
        if !self.frame.is_empty() {
            self.end_frame();
        }
        self.end_frame();
        self.bytes.into()
    }
}

/// Of a frame. That of none is not zero, so that zeros are no frame.
fn sum_of(frame: &[u8]) -> u64 {
    !checksum(CrcAlgorithm::Crc64Nvme, frame)
}

/// Every row of a note up to where it is damaged, and whether it is.
pub(super) fn rows(mut note: &[u8]) -> (Vec<RawRow>, bool) {
    let mut rows = Vec::new();
    let is_sound = read_into(&mut note, &mut rows).is_some();
    (rows, !is_sound)
}

fn read_into(note: &mut &[u8], rows: &mut Vec<RawRow>) -> Option<()> {
    *note = note.strip_prefix(&MAGIC)?;
    loop {
        let (length, rest) = note.split_first_chunk::<4>()?;
        let (sum, rest) = rest.split_first_chunk::<8>()?;
        let (mut frame, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        if sum_of(frame) != u64::from_le_bytes(*sum) {
            return None;
        }
        if frame.is_empty() {
            return rest.is_empty().then_some(());
        }
        while !frame.is_empty() {
            rows.push(RawRow::read(&mut frame)?);
        }
        *note = rest;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(after: u64, upto: u64, number: u32, ends: bool) -> Part {
        Part { incarnation: Incarnation(7), after: Revision(after), upto: Revision(upto), number, ends, bytes: 10 }
    }

    fn row(n: usize) -> RawRow {
        RawRow { table: n % 4, key: n.to_be_bytes().into(), row: vec![n as u8; 1_000 + n % 7] }
    }

    fn note(rows: usize) -> Bytes {
        let mut writing = Writing::default();
        (0..rows).for_each(|n| writing.push(&row(n)));
        writing.finish()
    }

    #[test]
    fn a_name_says_what_is_in_the_note() {
        for part in [part(0, 17, 0, false), part(u64::MAX - 1, u64::MAX, 9, true)] {
            assert_eq!(Part::parse(&part.name()), Some(part));
        }
        for name in ["owner", "rows-", "rows-1-2-3-4-5-end", &(part(0, 1, 0, true).name() + "-x")] {
            assert_eq!(Part::parse(name), None, "{name}");
        }
    }

    #[test]
    fn rows_come_back_as_they_were() {
        for count in [0, 1, 500] {
            let (read, damaged) = rows(&note(count));
            assert!(!damaged);
            assert_eq!(read, (0..count).map(row).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_note_that_is_torn_or_damaged_anywhere_says_so_and_gives_what_was_before() {
        let (whole, expected) = (note(200), (0..200).map(row).collect::<Vec<_>>());
        for cut in (0..whole.len()).step_by(977).chain([whole.len() - 1]) {
            let (read, damaged) = rows(&whole[..cut]);
            assert!(damaged && expected.starts_with(&read), "cut at {cut}");
            let mut flipped = whole.to_vec();
            flipped[cut] ^= 1;
            let (read, damaged) = rows(&flipped);
            assert!(damaged && expected.starts_with(&read), "flipped at {cut}");
        }
        assert!(rows(&whole[..whole.len() / 2]).0.len() > 60);
    }

    #[test]
    fn a_set_counts_once_its_last_part_is_there() {
        let names = |parts: &[Part]| parts.iter().map(Part::name).collect::<Vec<_>>();
        let whole = [part(0, 10, 0, false), part(0, 10, 1, true), part(10, 12, 0, true)];
        assert_eq!(sort(&names(&whole)), (whole.to_vec(), vec![]));
        assert_eq!(covered(&whole, Incarnation(7)), Revision(12));
        assert_eq!(covered(&whole, Incarnation(8)), Revision(0));
        let (complete, broken) = sort(&names(&[whole[0], whole[2], part(12, 20, 1, true)]));
        assert_eq!((complete, broken), (vec![whole[2]], vec![whole[0], part(12, 20, 1, true)]));
        assert_eq!(covered(&[whole[2]], Incarnation(7)), Revision(0));
        assert_eq!(covered(&[whole[0], whole[1], part(11, 20, 0, true)], Incarnation(7)), Revision(10));
    }
}
