//! Telling many tasks, once, to come to an end.

use tokio::sync::watch;

/// Keeps the right to stop; dropping it stops too, so that nothing outlives its owner.
#[derive(Debug)]
pub struct Trigger(watch::Sender<bool>);

/// Hears of the stop; clones hear the same.
#[derive(Clone, Debug)]
pub struct Shutdown(watch::Receiver<bool>);

impl Trigger {
    /// A trigger and what hears it.
    pub fn new() -> (Self, Shutdown) {
        let (sender, receiver) = watch::channel(false);
        (Self(sender), Shutdown(receiver))
    }

    /// Stops everyone who listens. Repeating it is harmless.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Shutdown {
    /// Whether the end was called for.
    pub fn is_stopping(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }

    /// Returns when the end is called for. May be dropped at any point.
    pub async fn stopping(&mut self) {
        // An error says that the trigger is gone, which means the same.
        let _ = self.0.wait_for(|stopping| *stopping).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_listener_hears_the_stop_however_late_it_asks() {
        let (trigger, shutdown) = Trigger::new();
        assert!(!shutdown.is_stopping());
        let waiting = tokio::spawn({
            let mut shutdown = shutdown.clone();
            async move { shutdown.stopping().await }
        });
        trigger.stop();
        waiting.await.unwrap();
        shutdown.clone().stopping().await;
        assert!(shutdown.is_stopping());
    }

    #[tokio::test]
    async fn a_dropped_trigger_stops() {
        let (trigger, mut shutdown) = Trigger::new();
        drop(trigger);
        shutdown.stopping().await;
        assert!(shutdown.is_stopping());
    }
}
