//! Keys as paths, and back: pure, total and reversible. A plain key is a plain path.
//!
//! Escapes, only where a name needs them: `%` → `%25`, NUL → `%00`, a component `.` → `%2E` and `..` → `%2E%2E`, an
//! empty segment → `%e` (so `foo/` is `foo/%e`). A segment longer than [`COMPONENT_BYTES_MAX`] is cut: a component that
//! ends in `%+` goes on in the next one, without a slash between.
//!
//! A component has a second name, for when its own is taken by something of the other kind: `a%f` is the file `a` beside
//! a directory `a`, `a%d` the directory `a` beside a file `a`. No escape ends like that, so none of this is ambiguous.

use std::borrow::Cow;

/// Longest component before its suffixes, in bytes. File systems take 255.
const COMPONENT_BYTES_MAX: usize = 240;

/// Ends a component that goes on in the next.
const GOES_ON: &str = "%+";

/// The path of `key` in its bucket's directory when nothing is in the way.
pub(super) fn path(key: &str) -> Cow<'_, str> {
    if key.split('/').all(is_plain) {
        return Cow::Borrowed(key);
    }
    let mut path = String::with_capacity(key.len() + 16);
    for (n, segment) in key.split('/').enumerate() {
        if n > 0 {
            path.push('/');
        }
        push_segment(segment, &mut path);
    }
    Cow::Owned(path)
}

/// Whether a segment is its own name.
fn is_plain(segment: &str) -> bool {
    !segment.is_empty()
        && segment.len() <= COMPONENT_BYTES_MAX
        && !matches!(segment, "." | "..")
        && !segment.bytes().any(|byte| matches!(byte, b'%' | 0))
}

/// What lies between two slashes of a key, as one component or several.
fn push_segment(segment: &str, path: &mut String) {
    if segment.is_empty() {
        path.push_str("%e");
        return;
    }
    let mut component = String::new();
    for char in segment.chars() {
        let mut utf8 = [0; 4];
        let escaped = match char {
            '%' => "%25",
            '\0' => "%00",
            _ => char.encode_utf8(&mut utf8),
        };
        if component.len() + escaped.len() > COMPONENT_BYTES_MAX {
            path.push_str(&component);
            path.push_str(GOES_ON);
            path.push('/');
            component.clear();
        }
        component.push_str(escaped);
    }
    path.push_str(match component.as_str() {
        "." => "%2E",
        ".." => "%2E%2E",
        plain => plain,
    });
}

/// The name of a file beside a directory of its own name.
pub(super) fn beside_directory(component: &str) -> String {
    format!("{component}%f")
}

/// The name of a directory beside a file of its own name.
pub(super) fn beside_file(component: &str) -> String {
    format!("{component}%d")
}

/// A component as found in a directory, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Component {
    /// Its name without the suffix of second names.
    pub name: String,
    /// What it stands for in the key.
    pub text: String,
    /// Whether the segment goes on in the directory of this name.
    pub goes_on: bool,
    /// Whether it is a second name.
    pub second: bool,
}

/// Reads the name of a file; `None` if it is not one of ours.
pub(super) fn read_file(name: &str) -> Option<Component> {
    let (first, second) = without(name, "%f");
    let text = unescape(first)?;
    Some(Component { name: first.to_owned(), text, goes_on: false, second })
}

/// Reads the name of a directory; `None` if it is not one of ours.
pub(super) fn read_directory(name: &str) -> Option<Component> {
    let (first, second) = without(name, "%d");
    let (stem, goes_on) = without(first, GOES_ON);
    let text = unescape(stem)?;
    Some(Component { name: first.to_owned(), text, goes_on, second })
}

/// Whether these components, joined by slashes, are how this whole segment is written: names that merely could be read
/// as a key are not ours, else two paths would mean one key.
pub(super) fn is_canonical(segment: &str, components: &str) -> bool {
    let mut path = String::with_capacity(components.len());
    push_segment(segment, &mut path);
    path == components
}

fn without<'a>(name: &'a str, suffix: &str) -> (&'a str, bool) {
    name.strip_suffix(suffix).map_or((name, false), |rest| (rest, true))
}

fn unescape(component: &str) -> Option<String> {
    if component == "%e" {
        return Some(String::new());
    }
    let mut parts = component.split('%');
    let mut text = parts.next()?.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        text.push(match code {
            "25" => '%',
            "00" => '\0',
            "2E" => '.',
            _ => return None,
        });
        text.push_str(rest);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    /// The key that a path stands for, by reading its components one by one.
    fn key_of(path: &str) -> Option<String> {
        let components: Vec<_> = path.split('/').collect();
        let (file, directories) = components.split_last()?;
        let (mut key, mut segment, mut written) = (String::new(), String::new(), String::new());
        let read = directories.iter().map(|name| read_directory(name)).chain([read_file(file)]);
        for (n, component) in read.enumerate() {
            let component = component?;
            segment += &component.text;
            written += &component.name;
            if component.goes_on {
                written.push('/');
                continue;
            }
            if !is_canonical(&segment, &written) {
                return None;
            }
            key += &std::mem::take(&mut segment);
            written.clear();
            if n < directories.len() {
                key.push('/');
            }
        }
        Some(key)
    }

    fn is_well_formed(path: &str) -> bool {
        path.len() < 4_096
            && !path.contains('\0')
            && path.split('/').all(|name| !matches!(name, "" | "." | "..") && name.len() + "%d".len() <= 255)
    }

    #[test]
    fn plain_keys_are_plain_paths() {
        for key in ["a", "a/b/c.txt", "photos/2026/ü.jpg", ".hidden", "...", "a b", "-", "a\\b", &"x".repeat(240)] {
            assert_eq!(path(key), key);
        }
    }

    #[test]
    fn what_a_name_cannot_hold_is_escaped() {
        for (key, want) in [
            ("a//b", "a/%e/b"),
            ("foo/", "foo/%e"),
            ("/", "%e/%e"),
            ("/a", "%e/a"),
            (".", "%2E"),
            ("../x", "%2E%2E/x"),
            ("100%", "100%25"),
            ("a%f", "a%25f"),
            ("a\0b", "a%00b"),
            ("%2E", "%252E"),
        ] {
            assert_eq!(path(key), want);
        }
        let long = "x".repeat(241);
        assert_eq!(path(&long), format!("{}%+/x", "x".repeat(240)));
        assert_eq!(path(&format!("{}.", "x".repeat(240))), format!("{}%+/%2E", "x".repeat(240)));
    }

    #[test]
    fn every_short_key_of_awkward_characters_has_its_own_path_and_back() {
        let alphabet = ['a', '/', '.', '%', '\0', '2', '5', '0', 'E', 'e', 'f', 'd', '+'];
        let mut seen = HashMap::new();
        let mut keys = vec![String::new()];
        for _ in 0..4 {
            keys = keys.iter().flat_map(|key| alphabet.map(|char| format!("{key}{char}"))).collect();
            for key in &keys {
                let path = path(key).into_owned();
                assert!(is_well_formed(&path), "{key:?} is {path:?}");
                assert_eq!(key_of(&path).as_ref(), Some(key));
                assert_eq!(seen.insert(path, key.clone()), None, "{key:?}");
            }
        }
    }

    #[test]
    fn the_worst_keys_fit() {
        for unit in ["/", "%", "\0", ".", "./", "../", "\u{10FFFF}", "é", "a%", "x"] {
            let key = unit.repeat(1024 / unit.len());
            let path = path(&key);
            assert!(is_well_formed(&path), "{unit:?}");
            assert_eq!(key_of(&path), Some(key));
        }
    }

    #[test]
    fn second_names_mean_the_same_key() {
        let (file, directory) = (beside_directory("a"), beside_file("a"));
        assert_eq!(key_of(&file), Some("a".to_owned()));
        assert_eq!(key_of(&format!("{directory}/b")), Some("a/b".to_owned()));
        let long = "x".repeat(300);
        let path = path(&long).replace("%+/", "%+%d/");
        assert_eq!(key_of(&path), Some(long));
    }

    #[test]
    fn foreign_names_are_nobodys() {
        for name in ["100%", "%", "%zz", "a%2fb", "%2e", "%41", "a%2Eb", "%2E%2E%2E", "%e%e", "a%e", "%00%", "%é"] {
            assert_eq!(key_of(name), None, "{name}");
        }
        assert_eq!(key_of("short%+/x"), None);
        assert_eq!(key_of("a%f/b"), None, "a second name for files is no directory");
        assert_eq!(key_of(&"x".repeat(241)), None, "a long name that was not cut");
    }

    proptest! {
        #[test]
        fn any_key_round_trips(key in "(?s).{1,300}") {
            let path = path(&key);
            prop_assert!(is_well_formed(&path));
            prop_assert_eq!(key_of(&path), Some(key));
        }

        #[test]
        fn odd_keys_round_trip(key in "[./%\\x00ae+25fd\u{10000}]{1,255}") {
            let path = path(&key);
            prop_assert!(is_well_formed(&path));
            prop_assert_eq!(key_of(&path), Some(key));
        }

        /// Whatever is read as a key is written exactly so: no second path means the same key, but for second names.
        #[test]
        fn no_two_paths_mean_one_key(found in "[./%ae+25fd0E]{1,12}") {
            if let Some(key) = key_of(&found) {
                let first: Vec<_> = found.split('/').collect();
                let (file, directories) = first.split_last().expect("split gives at least one");
                let mut names: Vec<_> = directories.iter().map(|name| without(name, "%d").0).collect();
                names.push(without(file, "%f").0);
                prop_assert_eq!(path(&key), names.join("/"));
            }
        }
    }
}
