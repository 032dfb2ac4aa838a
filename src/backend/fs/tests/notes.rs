//! Notes on a file system that forgets: old or new, never half, and new once it was answered.

use super::*;
use crate::backend::Error;
use crate::backend::fs::shim::Shim;

/// Writes notes until something fails; how many were answered.
fn write_all(fs: &Fs) -> u8 {
    (1..=3).take_while(|n| fs.core.write_note("owner", &vec![*n; 5_000]).is_ok()).last().unwrap_or(0)
}

#[tokio::test]
async fn a_crash_leaves_a_note_as_it_was_or_as_it_is_to_be() {
    let shim = Shim::new();
    drop(Fs::on_shim(&shim).unwrap());
    let made = shim.crash(1);
    let calls = {
        let shim = made.crash(1);
        let fs = Fs::on_shim(&shim).unwrap();
        let before = shim.calls();
        assert_eq!(write_all(&fs), 3);
        shim.calls() - before
    };
    for cut in 0..=calls {
        for seed in 0..8 {
            let shim = made.crash(1);
            let fs = Fs::on_shim(&shim).unwrap();
            shim.crash_at(shim.calls() + cut);
            let answered = write_all(&fs);
            drop(fs);
            let fs = Fs::on_shim(&shim.crash(seed)).unwrap();
            match fs.core.read_note("owner") {
                Ok(bytes) => {
                    assert!(bytes.len() == 5_000 && bytes.iter().all(|byte| *byte == bytes[0]), "cut {cut}, seed {seed}");
                    assert!([answered, answered + 1].contains(&bytes[0]), "cut {cut}, seed {seed}: {} is there", bytes[0]);
                }
                Err(Error::NotFound) => assert_eq!(answered, 0, "cut {cut}, seed {seed}"),
                Err(err) => panic!("cut {cut}, seed {seed}: {err}"),
            }
            assert!(fs.core.list_notes().unwrap().len() <= 1);
        }
    }
}
