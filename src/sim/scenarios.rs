//! Scripted histories: each is short, and together they pass by every order of steps that a site has.

use super::world::Op::{self, *};

/// A history. What stands in one step happens at the same time.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub steps: Vec<Vec<Op>>,
    /// How much longer a look takes than at others: a sample takes fewer.
    pub weight: u64,
}

/// Bytes of a part that another may follow.
const PART: usize = 5 << 20;
/// More bytes than a staging file that is used again may have.
const LARGE: usize = 70_000;

/// A history of one operation after the other.
pub fn scenario(name: &'static str, ops: &[Op]) -> Scenario {
    let steps = ops.iter().map(|op| vec![*op]).collect();
    Scenario { name, steps, weight: 1 }
}

/// One that begins with a new bucket.
fn filled(name: &'static str, ops: &[Op]) -> Scenario {
    scenario(name, &[&[CreateBucket], ops].concat())
}

/// Every history.
pub fn all() -> Vec<Scenario> {
    let mut all = objects();
    all.extend(uploads());
    all.push(two_parts());
    all.push(together());
    all
}

fn objects() -> Vec<Scenario> {
    vec![
        filled(
            "overwrites",
            &[Put("a", 20), Settle, Put("a", 20), Put("a", 20), Settle, Put("a", 7), Put("b", 20), Settle, Put("c", 20)],
        ),
        filled(
            "deletes",
            &[Put("a", 20), Settle, Delete("a"), Put("b", 20), Put("a", 20), Delete("a"), Settle, Put("a", 20), Put("c", 20)],
        ),
        filled(
            "deleted before it settled",
            &[Put("a", 20), Settle, Put("a", 20), Put("a", 20), Delete("a"), Settle, Put("b", 20), Settle],
        ),
        filled(
            "a key and its prefix",
            &[Put("a", 20), Put("a/b", 20), Settle, Delete("a"), Settle, Put("a/c", 20), Put("a", 20), Delete("a/b"), Settle],
        ),
        filled(
            "a prefix and its key",
            &[Put("d/e/f", 20), Put("d/e", 20), Settle, Put("d", 20), Delete("d/e/f"), Put("d/e/g", 20), Settle, Delete("d/e")],
        ),
        filled(
            "copies",
            &[
                Put("a", 20),
                Copy("a", "b"),
                Settle,
                Put("a", 20),
                Copy("a", "b"),
                Copy("b", "c/d"),
                Delete("a"),
                Settle,
                Copy("c/d", "a"),
            ],
        ),
        filled("tags", &[Put("a", 20), Tag("a"), Settle, Tag("a"), Put("a", 20), Tag("a"), Copy("a", "b"), Settle]),
        filled(
            "large",
            &[
                Put("a", LARGE),
                Settle,
                Put("a", 20),
                Put("b", LARGE),
                Settle,
                Put("b", LARGE),
                Copy("b", "a"),
                Settle,
                Put("c", 20),
            ],
        ),
        filled(
            "buckets",
            &[
                Put("a", 20),
                Delete("a"),
                DeleteBucket,
                CreateBucket,
                Put("a", 20),
                Settle,
                Delete("a"),
                Settle,
                DeleteBucket,
                CreateBucket,
                Put("b", 20),
            ],
        ),
        filled(
            "empty",
            &[Put("a", 0), Settle, Put("a", 20), Settle, Put("a", 0), Put("b", 0), Settle, Delete("a"), Put("c", 0), Settle],
        ),
    ]
}

fn uploads() -> Vec<Scenario> {
    vec![
        filled(
            "an upload",
            &[
                Put("m", 20),
                Start(1, "m"),
                Part(1, 2, 20),
                Part(1, 2, 30),
                Complete(1),
                Settle,
                Put("n", 20),
                Put("m", 20),
                Settle,
            ],
        ),
        filled(
            "aborted",
            &[
                Start(1, "m"),
                Part(1, 1, 20),
                Start(2, "m"),
                Part(2, 4, 20),
                Abort(1),
                Put("a", 20),
                Complete(2),
                Delete("m"),
                Settle,
            ],
        ),
        filled(
            "uploads go with their bucket",
            &[Start(1, "m"), Part(1, 1, 20), Start(2, "n"), Part(2, 1, 20), DeleteBucket, CreateBucket, Put("a", 20), Settle],
        ),
        filled(
            "copied and replaced",
            &[Start(1, "m"), Part(1, 1, 20), Complete(1), Copy("m", "n"), Tag("n"), Settle, Put("m", 20), Copy("n", "m"), Settle],
        ),
    ]
}

fn two_parts() -> Scenario {
    let ops = [Start(1, "m"), Part(1, 3, PART), Part(1, 7, 20), Complete(1), Settle, Copy("m", "n"), Delete("m"), Settle];
    Scenario { weight: 5, ..filled("two parts", &ops) }
}

fn together() -> Scenario {
    let steps = [
        &[CreateBucket][..],
        &[Put("a", 20), Put("b", 20), Put("c/d", 20)],
        &[Settle, Put("a", 20), Delete("b")],
        &[Copy("a", "e"), Put("b", 20), Delete("c/d")],
        &[Settle, Put("c", 20), Tag("a")],
        &[Put("a", 20), Delete("e"), Put("c/d", 20)],
        &[Settle],
        &[Put("x", 20), Put("w", 20)],
    ];
    Scenario { name: "together", steps: steps.iter().map(|step| step.to_vec()).collect(), weight: 1 }
}
