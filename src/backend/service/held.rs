//! Credentials, held for a while and read anew, so that new ones take effect without a restart.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

/// How long credentials are used before they are read again.
const AGE_MAX: Duration = Duration::from_secs(30);

/// Reads credentials from where they are kept; why they cannot be, for people.
pub type ReadKeys<K> = Arc<dyn Fn() -> Result<K, String> + Send + Sync>;

/// Holds credentials.
pub(in crate::backend) struct Held<K> {
    read: ReadKeys<K>,
    /// With when they were read; `None` is due again.
    held: Mutex<Option<(K, Option<Instant>)>>,
}

impl<K: Clone> Held<K> {
    pub fn new(read: ReadKeys<K>) -> Self {
        Self { read, held: Mutex::default() }
    }

    fn held(&self) -> MutexGuard<'_, Option<(K, Option<Instant>)>> {
        self.held.lock().expect("nothing panics while it holds the credentials")
    }

    pub fn current(&self) -> Result<K, String> {
        let mut held = self.held();
        if let Some((keys, _)) = held.as_ref().filter(|(_, read)| read.is_some_and(|read| read.elapsed() < AGE_MAX)) {
            return Ok(keys.clone());
        }
        let keys = match ((self.read)(), held.as_ref()) {
            (Ok(keys), _) => keys,
            // Those that were good until now may be good still.
            (Err(reason), Some((keys, _))) => {
                tracing::warn!(reason, "the credentials of the store cannot be read again: the old ones are used");
                keys.clone()
            }
            (Err(reason), None) => return Err(reason),
        };
        *held = Some((keys.clone(), Some(Instant::now())));
        Ok(keys)
    }

    /// The next call reads them again. Where they cannot be read it goes with those of before: that they are refused is what
    /// people can do something about.
    pub fn forget(&self) {
        if let Some((_, read)) = self.held().as_mut() {
            *read = None;
        }
    }
}

impl<K> fmt::Debug for Held<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn new_credentials_take_effect_without_a_restart() {
        let kept = Arc::new(Mutex::new(Ok("one".to_owned())));
        let read: ReadKeys<String> = Arc::new({
            let kept = kept.clone();
            move || kept.lock().unwrap().clone()
        });
        let held = Held::new(read);
        assert_eq!(held.current(), Ok("one".to_owned()));
        *kept.lock().unwrap() = Ok("two".to_owned());
        assert_eq!(held.current(), Ok("one".to_owned()));
        tokio::time::advance(AGE_MAX).await;
        assert_eq!(held.current(), Ok("two".to_owned()));
        *kept.lock().unwrap() = Err("gone".to_owned());
        tokio::time::advance(AGE_MAX).await;
        assert_eq!(held.current(), Ok("two".to_owned()));
        held.forget();
        assert_eq!(held.current(), Ok("two".to_owned()), "a key that is refused tells more than none");
        held.forget();
        *kept.lock().unwrap() = Ok("three".to_owned());
        assert_eq!(held.current(), Ok("three".to_owned()));
    }
}
