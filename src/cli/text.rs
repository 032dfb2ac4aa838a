//! Text for terminals: lengths of time, columns, names of what a command is about.

/// A length of time as people say it: the two units that matter.
pub fn lasted(seconds: f64) -> String {
    let whole = seconds.max(0.0) as u64;
    let (days, hours, minutes) = (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if whole < 10 => format!("{:.1} s", seconds.max(0.0)),
        (0, 0, 0) => format!("{whole} s"),
        (0, 0, minutes) => format!("{minutes} m {} s", whole % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} m"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// Rows in columns as wide as their widest cell; the last one is not padded.
pub fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell_width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(cell_width).collect();
    let mut text = String::new();
    for row in rows {
        let padded: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(padded.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// What could change a terminal's state is shown escaped: keys and reasons are others' text.
pub fn safe(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// `BUCKET`, `BUCKET/KEY` or `BUCKET/PREFIX*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub bucket: String,
    pub keys: Keys,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    All,
    One(String),
    Under(String),
}

/// Reads a target from the command line.
pub fn target(text: &str) -> Result<Target, String> {
    let (bucket, key) = text.split_once('/').unwrap_or((text, ""));
    if bucket.is_empty() {
        return Err("BUCKET, BUCKET/KEY or BUCKET/PREFIX* is expected".into());
    }
    let keys = match (key, key.strip_suffix('*')) {
        ("", _) => Keys::All,
        (_, Some(prefix)) => Keys::Under(prefix.into()),
        (key, None) => Keys::One(key.into()),
    };
    Ok(Target { bucket: bucket.into(), keys })
}

/// Progress on stderr, where somebody watches.
pub fn progress(text: impl std::fmt::Display) {
    use std::io::{IsTerminal, Write};
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r{text}\x1b[K").and_then(|()| stderr.flush());
    }
}

/// Ends the line of progress.
pub fn progress_done() {
    progress("");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_told_in_the_units_that_matter() {
        for (seconds, told) in
            [(0.25, "0.2 s"), (59.0, "59 s"), (61.0, "1 m 1 s"), (3_700.0, "1 h 1 m"), (200_000.0, "2 d 7 h"), (-1.0, "0.0 s")]
        {
            assert_eq!(lasted(seconds), told);
        }
    }

    #[test]
    fn columns_line_up_and_nothing_trails() {
        let rows = [vec!["SITE".into(), "LAG".into()], vec!["paris-long".into(), "0".into()], vec!["é".into(), String::new()]];
        assert_eq!(columns(&rows), "SITE        LAG\nparis-long  0\né\n");
    }

    #[test]
    fn a_target_is_a_bucket_a_key_or_a_prefix() {
        let keys = |text| target(text).unwrap().keys;
        assert_eq!(keys("photos"), Keys::All);
        assert_eq!(keys("photos/"), Keys::All);
        assert_eq!(keys("photos/2026/a.jpg"), Keys::One("2026/a.jpg".into()));
        assert_eq!(keys("photos/2026/*"), Keys::Under("2026/".into()));
        assert_eq!(keys("photos/*"), Keys::Under(String::new()));
        assert!(target("/a").is_err() && target("").is_err());
    }

    #[test]
    fn what_others_wrote_cannot_steer_the_terminal() {
        assert_eq!(safe("a\x1b[2Jb\nc ü"), "a\\u{1b}[2Jb\\nc ü");
    }
}
