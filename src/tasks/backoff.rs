//! How long to wait before trying again: twice as long each time, within bounds, never in step with others.

use std::time::Duration;

/// Growing pauses with jitter: each lies between half and the whole of a length that doubles up to a ceiling.
#[derive(Clone, Debug)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    /// Failures in a row.
    tries: u32,
    /// State of the jitter; chance comes from outside, so that a test can repeat it.
    random: u64,
}

impl Backoff {
    /// The first pause is at most `floor`, none is longer than `ceiling`.
    pub fn new(floor: Duration, ceiling: Duration, seed: u64) -> Self {
        Self { floor, ceiling, tries: 0, random: seed }
    }

    /// The pause before the next try.
    pub fn next_pause(&mut self) -> Duration {
        let doubled = self.floor.saturating_mul(2_u32.saturating_pow(self.tries.min(31)));
        let longest = doubled.min(self.ceiling);
        self.tries = self.tries.saturating_add(1);
        longest / 2 + (longest / 2).mul_f64(self.draw())
    }

    /// Failures since the last success.
    pub fn tries(&self) -> u32 {
        self.tries
    }

    /// It worked: the next failure waits as the first one did.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// A number in [0, 1), by splitmix64: <https://prng.di.unimi.it/splitmix64.c>.
    fn draw(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOR: Duration = Duration::from_secs(1);
    const CEILING: Duration = Duration::from_secs(60);

    #[test]
    fn pauses_double_and_stay_under_the_ceiling() {
        let mut backoff = Backoff::new(FLOOR, CEILING, 7);
        for longest in [1, 2, 4, 8, 16, 32, 60, 60] {
            let longest = Duration::from_secs(longest);
            let pause = backoff.next_pause();
            assert!(pause >= longest / 2 && pause <= longest, "{pause:?} of {longest:?}");
        }
        for _ in 0..1_000 {
            assert!(backoff.next_pause() <= CEILING);
        }
    }

    #[test]
    fn a_success_starts_over() {
        let mut backoff = Backoff::new(FLOOR, CEILING, 7);
        for _ in 0..5 {
            backoff.next_pause();
        }
        backoff.reset();
        assert!(backoff.next_pause() <= FLOOR);
        assert_eq!(backoff.tries(), 1);
    }

    #[test]
    fn two_seeds_do_not_wait_in_step() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(FLOOR, CEILING, seed);
            (0..4).map(|_| backoff.next_pause()).collect::<Vec<_>>()
        };
        assert_ne!(pauses(1), pauses(2));
        assert_eq!(pauses(1), pauses(1));
    }
}
