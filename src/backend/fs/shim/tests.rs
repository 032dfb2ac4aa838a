//! That the shim forgets what it may, and nothing else.

use std::collections::BTreeSet;

use super::*;
use crate::backend::fs::io::{Access, Onto};

fn names(node: &Node) -> Vec<String> {
    let mut names = Vec::new();
    node.entries(&mut |name, _| {
        names.push(String::from_utf8(name.to_vec()).unwrap());
        Ok(())
    })
    .unwrap();
    names
}

#[test]
fn a_name_is_forgotten_until_its_directory_is_synced() {
    let shim = Shim::new();
    shim.root().create("a").unwrap();
    assert_eq!(names(&shim.crash(0).root()), [""; 0]);
    assert_eq!(names(&shim.crash(1).root()), ["a"]);
    shim.root().sync().unwrap();
    assert_eq!(names(&shim.crash(0).root()), ["a"]);
}

#[test]
fn bytes_and_mtime_are_forgotten_apart() {
    let shim = Shim::new();
    let file = shim.root().create("a").unwrap();
    shim.root().sync().unwrap();
    file.write_at(b"old", 0).unwrap();
    file.set_modified(1).unwrap();
    file.sync().unwrap();
    file.write_at(b"new", 0).unwrap();
    file.set_modified(2).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..64 {
        let file = shim.crash(seed).root().open_file("a", Access::Read).unwrap();
        let mut buf = [0; 3];
        file.read_at(&mut buf, 0).unwrap();
        seen.insert((buf, file.stat().unwrap().mtime_ns));
    }
    assert_eq!(seen, BTreeSet::from([(*b"old", 1), (*b"old", 2), (*b"new", 1), (*b"new", 2)]));
}

#[test]
fn a_rename_survives_whole_or_not_at_all_and_changes_of_one_name_in_order() {
    let shim = Shim::new();
    let root = shim.root();
    for name in ["1", "2", "a"] {
        root.create(name).unwrap();
    }
    root.make_dir("d").unwrap();
    root.sync().unwrap();
    let d = root.open_dir("d").unwrap();
    root.rename("a", &d, "a", Onto::Nothing).unwrap();
    root.rename("1", &d, "a", Onto::Exchange).unwrap();
    root.rename("2", &d, "a", Onto::Exchange).unwrap();
    let inodes = ["1", "2"].map(|name| root.stat_at(name).unwrap().inode);
    for seed in 0..64 {
        let after = shim.crash(seed).root();
        let d = after.open_dir("d").unwrap();
        assert_eq!(names(&after).len() + names(&d).len(), 4, "seed {seed}");
        let there = d.stat_at("a").map(|stat| stat.inode).ok();
        if there == Some(inodes[0]) {
            assert!(after.stat_at("a").is_err(), "seed {seed}");
        }
    }
    d.sync().unwrap();
    root.sync().unwrap();
    assert_eq!(shim.crash(0).root().stat_at("1").unwrap().inode, inodes[0]);
}

#[test]
fn after_the_crash_every_call_fails() {
    let shim = Shim::new();
    shim.root().create("a").unwrap();
    shim.crash_at(2);
    assert!(shim.root().stat_at("a").is_ok());
    assert!(shim.root().create("b").is_err());
    assert!(shim.root().stat_at("a").is_err());
    assert!(shim.crashed());
    assert_eq!(names(&shim.crash(1).root()), ["a"]);
}
